"""What `poolbench run --check` shows, sentence by sentence."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from harness.domain.checked import Checked, Problem, SentRequest, SentTask
from harness.domain.observed import AppliedPool
from harness.present.check_text import check_dict, check_table, problem_text

ENGINE = AppliedPool(
    launch_id="b1-c1",
    pid=7,
    driver="asyncpg",
    pool_class="AsyncAdaptedQueuePool",
    pool_size=5,
    max_overflow=10,
    pool_timeout_s=30.0,
    pool_recycle_s=-1,
    pool_pre_ping=False,
    pool_use_lifo=False,
)


def request(**changes: Any) -> SentRequest:
    usual: dict[str, Any] = {
        "endpoint": "GET /a",
        "outcome": "ok",
        "status": 200,
        "error": "",
        "latency_ms": 12.34,
        "pool_ms": 0.5,
    }
    return SentRequest(**usual | changes)


def checked(**changes: Any) -> Checked:
    tasks = (
        SentTask(name="look", requests=(request(), request(endpoint="GET /b")), statements=3, checkouts=1),
        SentTask(name="rest", requests=(request(endpoint="", latency_ms=0.0, pool_ms=None),)),
    )
    usual: dict[str, Any] = {"target": "shop:app", "tasks": tasks, "engines": (ENGINE, ENGINE), "problems": ()}
    return Checked(**usual | changes)


def shown(*checks: Checked) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(check_table(checks))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_a_request_and_once_what_a_task_took() -> None:
    text = shown(checked(notes=("wait_time does not apply.",)))
    rows = [line.split() for line in text.splitlines()]
    assert ["look", "GET", "/a", "200", "12.3", "0.500", "3", "1"] in rows
    assert ["GET", "/b", "200", "12.3", "0.500"] in rows
    assert ["rest", "nothing", "\u2013", "\u2013"] in rows
    assert text.count("asyncpg, AsyncAdaptedQueuePool 5 + 10") == 1
    assert "wait_time does not apply." in text
    assert "Each task was sent once, and nothing went wrong." in text


def test_a_pool_of_the_drivers_own_is_a_note() -> None:
    found = checked(driver_pools=("asyncpg.Pool of 4 to 4, made in db.py:7",))
    assert "asyncpg.Pool of 4 to 4, made in db.py:7" in shown(found)
    (note,) = check_dict([found])["targets"][0]["notes"]
    assert note.startswith("A pool of the driver's own")
    assert check_dict([found])["well"] is True


def test_with_a_problem_it_is_said_and_nothing_is_called_well() -> None:
    found = checked(problems=(Problem(kind="silent", about="rest"),))
    assert "nothing went wrong" not in shown(found)
    assert "would go wrong: rest sent nothing" in shown(found)
    assert check_dict([found])["well"] is False
    assert check_dict([checked()])["well"] is True
    assert check_dict([found])["targets"][0]["problems"][0]["kind"] == "silent"


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (400, "it was not understood, or a trusted-host check does not know 127.0.0.1: allow that host."),
        (401, "it wants a login: log in as the scenario begins (test_start, or on_start)."),
        (
            403,
            "it may not be asked so: log in as the scenario begins (test_start, or on_start), or as somebody who may.",
        ),
        (404, "nothing is there: the path is another, or the database lacks it, which [database] prepare fills."),
        (405, "the path does not take this method: correct the scenario."),
        (422, "path, query or body are not as the service wants them: correct the scenario."),
        (429, "a limiter refuses it, and under load nearly all others: raise its limit through [target] env."),
        (418, "which the scenario takes for a failure: teapot."),
    ],
)
def test_a_status_has_its_cause(status: int, cause: str) -> None:
    problem = Problem(kind="failed", about="look, GET /a", status=status, detail="teapot")
    assert problem_text(problem) == f"look, GET /a: {status}, {cause}"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem(kind="failed", about="look", status=500, detail="KeyError: 'x'"),
            (
                "look: the service answered 500: KeyError: 'x'. If a table or a row is missing, [database] prepare "
                "makes it."
            ),
        ),
        (
            Problem(kind="failed", about="look", status=503),
            (
                "look: the service answered 503: its log says nothing of it. If a table or a row is missing, "
                "[database] prepare makes it."
            ),
        ),
        (Problem(kind="failed", about="look", detail="ValueError: x"), "look: ValueError: x."),
        (Problem(kind="failed", about="look"), "look: no answer came in time."),
        (
            Problem(kind="unfinished", about="look"),
            "look: it had not ended when its time was over (load.request_timeout_s).",
        ),
        (Problem(kind="silent", about="look"), "look sent nothing: it may need what another task leaves behind."),
        (Problem(kind="not_sent", about="look"), "look was not begun: the load ended before its turn."),
        (
            Problem(kind="ended", about="worker", detail="exit code -9"),
            "A process ended meanwhile: worker, exit code -9.",
        ),
        (
            Problem(kind="no_connection"),
            (
                "The service opened no connection to the database it was given: nothing that was sent needs it, or it "
                'finds its database elsewhere; then say so in [target] env, as { DB_HOST = "{db_host}" }.'
            ),
        ),
        (
            Problem(kind="not_applied", about="pool.pool_size", detail="20, not 5"),
            "pool.pool_size would not take effect: the service has 20, not 5.",
        ),
        (
            Problem(kind="unaccounted", count=2),
            (
                "Connections that belong to none of its engines: 2. No pool setting reaches them; the driver's own "
                "pool may have made them."
            ),
        ),
    ],
)
def test_a_problem_has_its_sentence(problem: Problem, text: str) -> None:
    assert problem_text(problem) == text
