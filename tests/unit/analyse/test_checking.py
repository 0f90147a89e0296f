"""What a check finds in the evidence of tasks that were each sent once."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from harness.analyse.checking import checked
from harness.domain.checked import Problem, SentTask
from harness.domain.evidence import Context, TrialEvidence
from harness.domain.experiment import Target
from harness.domain.load import SETUP_SEGMENT
from harness.domain.observed import AppliedPool, AppliedProcess, Death
from harness.domain.tables import ACTIVITY_COLUMNS, COUNT_COLUMNS, PROBE_COLUMNS, PROBE_USER_COLUMNS

NULL_POOL = AppliedPool(
    launch_id="b1-c1",
    pid=7,
    driver="asyncpg",
    pool_class="NullPool",
    pool_size=None,
    max_overflow=None,
    pool_timeout_s=None,
    pool_recycle_s=None,
    pool_pre_ping=None,
    pool_use_lifo=None,
)


def evidence(build: ModuleType, *requests: dict[str, Any], **changes: Any) -> TrialEvidence:
    return build.trial(build.cell(1), 1, build.request_rows(requests or [{}]), **changes)


def problems(found: TrialEvidence, *tasks: str) -> list[Problem]:
    return list(checked(found, tasks or ("get",)).problems)


def transactions(count: float) -> pd.DataFrame:
    return pd.DataFrame({"t_ns": [1], "key": pd.Categorical(["transactions"]), "value": [count]})


def test_each_task_has_its_requests_and_what_they_took_of_the_database(build: ModuleType) -> None:
    counts = build.table(COUNT_COLUMNS, segment=[0, 1], statements=[3, 2], checkouts=[1, 2], requests=[2, 1])
    found = replace(
        evidence(
            build,
            {"segment": SETUP_SEGMENT, "endpoint": "POST /login"},
            {"segment": 0, "arrival": 0, "endpoint": "GET /a", "pool_ms": 0.5},
            {"segment": 0, "arrival": 0, "sequence": 1, "endpoint": "GET /b"},
            {"segment": 1, "endpoint": "GET /c", "started_ns": 0, "finished_ns": 2_000_000},
        ),
        counts=counts,
    )
    login, first, second = checked(found, ("first", "second")).tasks
    assert (login.name, [request.endpoint for request in login.requests]) == ("on_start", ["POST /login"])
    assert [request.endpoint for request in first.requests] == ["GET /a", "GET /b"]
    assert [request.pool_ms for request in first.requests] == [0.5, None]
    assert (first.statements, first.checkouts) == (3, 1)
    assert (second.statements, second.checkouts, second.requests[0].latency_ms) == (2, 2, 2.0)


def test_tasks_of_users_are_named_as_they_came(build: ModuleType) -> None:
    found = evidence(build, {"task": "browse"}, {"task": "buy"}, {"task": "browse"})
    sent = checked(found, ()).tasks
    assert [(task.name, len(task.requests)) for task in sent] == [("browse", 2), ("buy", 1)]
    assert isinstance(sent[0], SentTask)


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        ({}, []),
        (
            {"outcome": "error", "status": 401, "error": "401"},
            [Problem(kind="failed", about="get, GET /heroes/{id}", status=401, detail="401")],
        ),
        (
            {"outcome": "error", "status": 500, "error": "500"},
            [Problem(kind="failed", about="get, GET /heroes/{id}", status=500, detail="KeyError: 'x'")],
        ),
        (
            {"outcome": "error", "status": 0, "endpoint": "", "error": "ValueError: empty"},
            [Problem(kind="failed", about="get", detail="ValueError: empty")],
        ),
        ({"outcome": "unfinished"}, [Problem(kind="unfinished", about="get, GET /heroes/{id}")]),
        ({"endpoint": ""}, [Problem(kind="silent", about="get")]),
    ],
)
def test_what_a_request_that_failed_says(build: ModuleType, request_: dict[str, Any], problem: list[Problem]) -> None:
    log = b"Traceback (most recent call last):\n  File ...\nKeyError: 'x'\n"
    assert problems(replace(evidence(build, request_), target_log=log)) == problem


def test_the_same_failure_of_a_task_is_said_once(build: ModuleType) -> None:
    failed = {"outcome": "error", "status": 404, "error": "404"}
    assert len(problems(evidence(build, failed, failed | {"arrival": 1}))) == 1


def test_a_task_that_left_no_row_was_not_sent(build: ModuleType) -> None:
    assert problems(evidence(build, {}), "get", "put") == [Problem(kind="not_sent", about="put")]


def test_what_the_probe_user_was_answered_has_a_row_of_its_own(build: ModuleType) -> None:
    answers = build.table(PROBE_USER_COLUMNS, started_ns=[0], finished_ns=[2_000_000], outcome="error", status=503)
    found = replace(evidence(build, {}), probe_user=answers)
    asked = checked(found, ("get",), asked="GET /ready")
    assert [(task.name, len(task.requests)) for task in asked.tasks] == [("get", 1), ("probe user", 1)]
    assert asked.tasks[-1].requests[0].latency_ms == 2.0
    assert [(each.about, each.status) for each in asked.problems] == [("probe user, GET /ready", 503)]
    silent = checked(evidence(build, {}), ("get",), asked="GET /ready")
    assert silent.problems == (Problem(kind="not_sent", about="probe user"),)


@pytest.mark.parametrize(("count", "kinds"), [(0, ["no_connection"]), (3, [])])
def test_a_database_that_nothing_used(build: ModuleType, count: int, kinds: list[str]) -> None:
    assert [problem.kind for problem in problems(evidence(build, server=transactions(count)))] == kinds


@pytest.mark.parametrize(("opened", "strangers"), [([3, 3, 5], 0), ([5, 5, 3], 2)])
def test_connections_beyond_what_the_engines_held(build: ModuleType, opened: list[int], strangers: int) -> None:
    # two processes, of which each holds its most at a time of its own
    held: dict[str, Any] = {
        "pid": [1, 2, 1, 2],
        "connection_count_used": [1, 0, 0, 1],
        "connection_count_idle": [1, 0, 0, 0],
    }
    found = evidence(
        build,
        probe=build.table(PROBE_COLUMNS, **held),
        activity=build.table(ACTIVITY_COLUMNS, t_ns=[1, 2, 3], state="idle", connections=opened),
    )
    expected = [Problem(kind="unaccounted", count=strangers)] if strangers else []
    assert problems(found) == expected


def test_a_pool_of_the_drivers_own_explains_them(build: ModuleType) -> None:
    pool = "asyncpg.Pool of 4 to 4, made in db.py:7"
    process = AppliedProcess(
        launch_id="b1-c1",
        pid=7,
        serving=True,
        threadpool_tokens=40,
        gc_frozen=True,
        expire_on_commit=(),
        driver_pools=(pool,),
    )
    found = evidence(
        build,
        probe=build.table(PROBE_COLUMNS, pid=[7]),
        activity=build.table(ACTIVITY_COLUMNS, t_ns=[1], state="idle", connections=[4]),
    )
    made = replace(found.trial, processes=(process,))
    own = replace(made.launch, cell=replace(made.launch.cell, target=Target(app="shop:app")))
    said = checked(replace(found, trial=replace(made, launch=own)), ("get",))
    assert (said.driver_pools, said.problems) == ((pool,), ())
    assert checked(replace(found, trial=made), ("get",)).driver_pools == ()  # the reference app's take the settings


def test_what_the_service_itself_shows(build: ModuleType) -> None:
    found = evidence(build, context=Context(scenario_notes=("wait_time does not apply.",)))
    death = Death(role="worker", launch_id="b1-c1", pid=7, t_ns=1, code=-9)
    said = checked(replace(found, trial=replace(found.trial, applied=(NULL_POOL,), deaths=(death,))), ("get",))
    assert said.problems == (
        Problem(kind="ended", about="worker", detail="exit code -9"),
        Problem(kind="not_applied", about="pool.pool_class", detail="NullPool, not queue"),
        Problem(kind="not_applied", about="pool.pool_size", detail="none (NullPool), not 5"),
    )
    assert (said.target, said.engines, said.notes) == (
        "target_app.main:create_app",
        (NULL_POOL,),
        ("wait_time does not apply.",),
    )
