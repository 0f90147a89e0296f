"""Settings overridden from outside, in every form in which public services make their engines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.deploy.launcher import OVERRIDES, PROBE
from harness.probe import override

FORMS = Path(__file__).with_name("engine_forms.py")
NAMED = {
    "pool_class": "queue",
    "pool_size": 3,
    "max_overflow": 4,
    "pool_timeout_s": 5.0,
    "pool_recycle_s": 600,
    "pool_pre_ping": True,
    "pool_use_lifo": True,
}
CACHES = {"prepared_statement_cache_size": 0, "statement_cache_size": 7, "prepare_threshold": -1}
DIALLED = {"asyncpg": {"prepared_statement_cache_size": 0, "statement_cache_size": 7}, "psycopg2": {}}
ASYNC = ["async_with_properties", "async_around_a_plain_one", "session_manager", "one_for_each_loop"]
SYNC = ["module_level", "in_a_class", "url_create", "from_config"]
OF_ANOTHER_KIND = ["null_pool_before_pgbouncer", "wrong_pool_of_an_async_engine", "a_null_pool_of_its_own"]


@cache
def made(settings: str) -> dict[str, dict[str, Any]]:
    """What the engines of each form have, all of them made in one process under these overrides."""
    done = subprocess.run(
        [sys.executable, str(FORMS), str(PROBE.parent)],
        env={**os.environ, OVERRIDES: settings},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def made_with(**settings: Any) -> dict[str, dict[str, Any]]:
    return made(json.dumps(settings))


def test_the_launcher_and_the_probe_mean_the_same_variable() -> None:
    assert override.VARIABLE == OVERRIDES


@pytest.mark.parametrize("form", [*ASYNC, *SYNC, *OF_ANOTHER_KIND, "creator", "a_pool_of_its_own", "async_psycopg"])
def test_every_form_of_engine_takes_what_is_named(form: str) -> None:
    found = made_with(**NAMED, **CACHES, expire_on_commit=False)[form]
    is_async = found["driver"] != "psycopg2" and form != "creator"
    assert found["pool_class"] == ("AsyncAdaptedQueuePool" if is_async else "QueuePool")
    assert {name: found[name] for name in NAMED if name != "pool_class"} == {
        name: value for name, value in NAMED.items() if name != "pool_class"
    }
    assert found["echo"] is False


@pytest.mark.parametrize("form", [*ASYNC, *SYNC])
def test_statement_caches_reach_the_driver_that_has_them(form: str) -> None:
    found = made_with(**NAMED, **CACHES, expire_on_commit=False)[form]
    assert found["dialled"] == DIALLED[found["driver"]]


def test_a_services_own_connect_arguments_stay_beside_them() -> None:
    found = made_with(**NAMED, **CACHES, expire_on_commit=False)["async_psycopg"]
    assert found["dialled"] == {"prepare_threshold": None, "connect_timeout": 7}


def test_echo_that_is_turned_off_is_noted() -> None:
    assert made_with(**NAMED, **CACHES, expire_on_commit=False)["seen"] == {"echo_off": True, "others": 0, "first": []}


def test_engines_that_are_not_the_one_that_is_meant_are_noted() -> None:
    noted = made_with(engine="no such", pool_size=3)["seen"]
    assert noted["echo_off"] is False
    assert noted["others"] > 1
    assert re.fullmatch(r"1 \(database \w+, \w+\)", noted["first"][0])
    assert made_with(engine="2", pool_size=3)["seen"]["others"] == 0


def test_migrations_keep_their_null_pool() -> None:
    found = made_with(**NAMED, **CACHES, expire_on_commit=False)["migrations"]
    assert (found["pool_class"], found["pool_pre_ping"]) == ("NullPool", False)


@pytest.mark.parametrize("expected", [True, False])
def test_sessions_of_every_maker_take_it(expected: bool) -> None:
    assert made_with(expire_on_commit=expected)["sessions"] == {"expire_on_commit": [expected] * 2}


def test_what_is_not_named_stays_as_the_service_has_it() -> None:
    found = made_with(pool_timeout_s=5.0)
    own = found["in_a_class"]
    assert (own["pool_size"], own["max_overflow"], own["pool_recycle_s"], own["pool_use_lifo"]) == (20, 40, 1800, True)
    assert own["pool_timeout_s"] == 5.0
    assert found["async_psycopg"]["dialled"] == {"connect_timeout": 7}
    assert found["sessions"] == {"expire_on_commit": [True] * 2}  # SQLAlchemy's own


@pytest.mark.parametrize("form", ["null_pool_before_pgbouncer", "a_null_pool_of_its_own"])
def test_a_null_pool_stays_one_unless_the_class_is_named(form: str) -> None:
    """Nothing fails: what took effect is read back, and said."""
    assert made_with(pool_size=3)[form]["pool_class"] == "NullPool"


@pytest.mark.parametrize("form", [*ASYNC, *SYNC, "creator", "a_pool_of_its_own"])
def test_a_queue_becomes_a_null_pool(form: str) -> None:
    found = made_with(pool_class="null", pool_size=3, pool_pre_ping=True)[form]
    assert (found["pool_class"], found["pool_size"]) == ("NullPool", None)
    assert found["pool_pre_ping"] is True


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"pool_size": 3, "threadpool_tokens": 7, "gc_freeze": True, "expire_on_commit": False},
            {"reader": [3, 0, False], "writer": [3, 1, False], "expire_on_commit": False, "threads": 7, "frozen": True},
        ),
        (
            {"engine": "2", "pool_size": 3, "max_overflow": 4},
            {"reader": [20, 0, True], "writer": [3, 4, False], "expire_on_commit": True, "threads": 100},
        ),
        ({"engine": "asyncpg", "max_overflow": 4}, {"reader": [20, 4, False], "writer": [10, 4, False]}),
        ({"engine": "postgres", "max_overflow": 4}, {"reader": [20, 4, False], "writer": [10, 4, False]}),
        ({"engine": "psycopg2", "max_overflow": 4}, {"reader": [20, 0, True], "writer": [10, 1, False]}),
    ],
)
def test_engines_made_as_the_service_starts_are_addressed(
    launcher: Any, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    """By order, driver or database; what the service's own start sets comes first, and is overridden after it."""
    with launcher.start("lifespan_app:app", **{OVERRIDES: json.dumps(settings)}) as served:
        found = served.get("/ping").json()
    assert {name: found[name] for name in expected} == expected
