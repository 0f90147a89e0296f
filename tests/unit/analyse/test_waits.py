"""What slow requests waited for, from tables whose figures are known: 100/s for ten seconds, all of them 100 ms long.

So one thing that is in some state all the time is 10 ms of each request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analyse import analyse
from harness.domain.binding import Binding
from harness.domain.experiment import Pool
from harness.domain.tables import ACTIVITY_COLUMNS, LOG_COLUMNS, PROBE_COLUMNS, PROCESS_COLUMNS, SERVER_COLUMNS

SECOND = 1_000_000_000
ENDS_S = (0.0, 10.0)
near = partial(pytest.approx, rel=0.02)
"""The last of the requests end after the measurement."""
TIMES = {"pool_ms": 60.0, "db_ms": 20.0, "app_ms": 10.0, "pid": 7}


def bound(build: ModuleType, *, rows: Mapping[str, Any] | None = None, took: Any = 100.0, **tables: Any) -> Binding:
    """What binds a cell whose only launch left these tables."""
    latency_ms = np.broadcast_to(took, 1000)
    requests = build.rows(latency_ms, **(TIMES if rows is None else rows))
    cell = build.cell(pool=Pool(pool_size=5, max_overflow=0, pool_timeout_s=0.05))
    (summary,) = analyse(build.run([build.trial(cell, 1, requests, **tables)])).summary.cells
    assert summary.valid
    return summary.binding


def probe_lines(build: ModuleType, **grown: float) -> pd.DataFrame:
    """A line every 100 ms of one process; counters end at these values, gauges have them all the time."""
    share = np.linspace(0, 1, 101)
    gauges = (
        "threadpool_tokens_borrowed",
        "threadpool_tokens_total",
        "threadpool_tasks_waiting",
        "loop_lag_max_ms",
        "gc_pause_max_ms",
    )
    return build.table(
        PROBE_COLUMNS,
        t_ns=[build.START_NS + int(10 * SECOND * part) for part in share],
        pid=7,
        connection_max=5,
        **{name: [value] * 101 if name in gauges else list(value * share) for name, value in grown.items()},
    )


def backends(build: ModuleType, *states: tuple[str, str, int]) -> pd.DataFrame:
    """The same backends at ten readings: state, what they wait for, how many."""
    read = [(build.START_NS + SECOND * second, *state) for second in range(10) for state in states]
    t_ns, state, kind, number = zip(*read, strict=True)
    return build.table(
        ACTIVITY_COLUMNS, t_ns=list(t_ns), state=list(state), wait_event_type=list(kind), connections=list(number)
    )


def cores(build: ModuleType, **used: float) -> pd.DataFrame:
    """Cores that processes used all the time, by role."""
    return build.table(
        PROCESS_COLUMNS,
        t_ns=[build.START_NS + int(SECOND * end) for end in ENDS_S for _ in used],
        role=[role for _ in ENDS_S for role in used],
        pid=[7 if role == "target" else 8 for _ in ENDS_S for role in used],
        cpu_s=[end * share for end in ENDS_S for share in used.values()],
    )


def machine(build: ModuleType, *, cores: float, busy: float) -> pd.DataFrame:
    """A machine of so many cores, this share of whose time was in use."""
    return build.table(
        SERVER_COLUMNS,
        t_ns=[build.START_NS + int(SECOND * end) for end in ENDS_S * 2],
        key=["host_cpu_s"] * 2 + ["host_idle_s"] * 2,
        value=[cores * end for end in ENDS_S] + [cores * (1 - busy) * end for end in ENDS_S],
    )


def test_pool_time_is_queueing_and_dialling_as_the_counters_say(build: ModuleType) -> None:
    found = bound(build, probe=probe_lines(build, connection_wait_time_s=40.0, connection_create_time_s=20.0))
    assert found.waits["pool"] == near(0.4)
    assert found.waits["dial"] == near(0.2)
    assert found.resource == "pool"
    pinged = probe_lines(build, connection_wait_time_s=10.0, connection_ping_time_s=50.0)
    assert bound(build, probe=pinged).waits["pool"] == near(0.1)


def test_database_time_is_divided_by_what_backends_wait_for(build: ModuleType) -> None:
    """Two backends at work are the 20 ms of database time; half of it waits for a lock."""
    activity = backends(build, ("active", "Lock", 1), ("active", "", 1), ("idle", "Client", 9))
    found = bound(
        build, activity=activity, process=cores(build, postgres=0.9), server=machine(build, cores=2, busy=0.5)
    )
    assert found.waits["locks"] == near(0.1)
    assert found.waits["postgres_cpu"] == near(0.01)
    reading = backends(build, ("active", "IO", 1), ("active", "LWLock", 1))
    assert bound(build, activity=reading).waits["postgres_io"] == near(0.2)


def test_backends_without_a_core_wait_for_one_if_it_is_known_what_postgres_used(build: ModuleType) -> None:
    activity = backends(build, ("active", "", 2))
    assert bound(
        build, activity=activity, process=cores(build, postgres=0.5), server=machine(build, cores=2, busy=0.5)
    ).waits["postgres_cpu"] == near(0.15)
    assert "postgres_cpu" not in bound(build, activity=activity).waits


OUT = {"connection_used_integral_s": 50.0, "connection_use_time_s": 50.0}
"""Five connections, all the time."""


def test_what_holders_wait_for_names_the_queue_before_the_pool(build: ModuleType) -> None:
    """Five connections are out: 50 ms of each request, 40 of them for a lock."""
    lines = probe_lines(build, connection_wait_time_s=60.0, **OUT)
    activity = backends(build, ("active", "Lock", 4), ("active", "", 1))
    found = bound(build, probe=lines, activity=activity)
    assert (found.resource, found.queue) == ("locks", "pool")
    assert found.used["pool"] == near(1.0)
    free = backends(build, ("active", "Lock", 2), ("active", "", 3))
    assert bound(build, probe=lines, activity=free).resource == "pool"


def test_a_late_loop_stretches_holds(build: ModuleType) -> None:
    """Each request takes 9.8 ms of CPU, and its connection 50 ms, of which Postgres has 10."""
    lines = probe_lines(build, connection_wait_time_s=60.0, **OUT)
    tables = {"probe": lines, "activity": backends(build, ("active", "", 1))}
    found = bound(build, **tables, process=cores(build, target=0.98))
    assert (found.resource, found.queue) == ("worker_cpu", "pool")
    # the same holds with an idle processor: the service waits for something else while it has a connection
    found = bound(build, **tables, process=cores(build, target=0.2))
    assert (found.resource, found.queue) == ("pool", None)


def test_threads_are_waited_for_by_littles_law(build: ModuleType) -> None:
    """Six requests wait for one all the time: 60 ms of each, which was in the application for 70."""
    times = {"pool_ms": 0.0, "db_ms": 20.0, "app_ms": 70.0, "pid": 7}
    gauges = {"threadpool_tokens_borrowed": 3, "threadpool_tokens_total": 3}
    full = probe_lines(build, threadpool_tasks_waiting=6, **gauges)
    found = bound(build, rows=times, probe=full)
    assert found.waits["threads"] == near(0.6)
    assert (found.resource, found.used["threads"]) == ("threads", near(1.0))
    assert bound(build, rows=times, probe=probe_lines(build, **gauges)).waits["threads"] == 0.0


OWN = {"pool_ms": 0.0, "db_ms": 10.0, "app_ms": 80.0, "pid": 7}


@pytest.mark.parametrize(
    ("resource", "host"), [("worker_cpu", {"cores": 4, "busy": 0.5}), ("machine_cpu", {"cores": 4, "busy": 0.99})]
)
def test_a_process_waits_for_its_processor_or_for_one_of_the_machines(
    build: ModuleType, resource: str, host: dict[str, float]
) -> None:
    """Without a backend seen, 100 ms are its own, 9 of them computing: at 90 % all the rest can be a queue."""
    found = bound(build, rows=OWN, process=cores(build, target=0.9), server=machine(build, **host))
    assert (found.resource, found.queue) == (resource, None)
    assert found.waits[resource] == near(0.91)


def test_no_more_is_put_down_to_the_processor_than_a_queue_makes(build: ModuleType) -> None:
    """At a half a request waits as long as it computes, three times that at the 95th percentile."""
    found = bound(build, rows=OWN, process=cores(build, target=0.5))
    assert found.waits["worker_cpu"] == near(3 * 0.05)


def test_a_processor_that_collects_garbage_is_waited_for_on_its_account(build: ModuleType) -> None:
    """For 4 of the 5 s for which it computes."""
    found = bound(build, rows=OWN, process=cores(build, target=0.5), probe=probe_lines(build, gc_pause_s=4.0))
    assert found.waits["gc"] == near(0.8 * 3 * 0.05)
    assert found.waits["worker_cpu"] == near(0.2 * 3 * 0.05)


@pytest.mark.parametrize(("column", "resource"), [("gc_pause_max_ms", "gc"), ("loop_lag_max_ms", "event_loop")])
def test_pauses_and_a_blocked_loop_are_those_of_the_time_and_process(
    build: ModuleType, column: str, resource: str
) -> None:
    rounds = 2 if resource == "event_loop" else 1
    found = bound(build, rows=OWN, probe=probe_lines(build, **{column: 30.0}))
    assert found.resource == resource
    assert found.waits[resource] == near(0.3 * rounds)
    other = bound(build, rows=OWN | {"pid": 9}, probe=probe_lines(build, **{column: 30.0}))
    assert other.waits[resource] == 0.0


@pytest.mark.parametrize(("busy", "lag_ms", "resource"), [(0.99, 20.0, "machine_cpu"), (0.5, 20.0, "event_loop")])
def test_a_loop_is_a_little_late_where_no_core_is_free(
    build: ModuleType, busy: float, lag_ms: float, resource: str
) -> None:
    tables = {"process": cores(build, target=0.01), "server": machine(build, cores=2, busy=busy)}
    found = bound(build, rows=OWN, probe=probe_lines(build, loop_lag_max_ms=lag_ms), **tables)
    assert (found.resource, found.waits[resource]) == (resource, near(0.4))


def test_a_loop_is_very_late_only_if_something_blocks_it(build: ModuleType) -> None:
    """However busy the machine is: a process that hardly computes is given a core soon."""
    rows, took = OWN | {"app_ms": 1000.0 - 20}, 1000.0
    tables = {"process": cores(build, target=0.1), "server": machine(build, cores=2, busy=0.99)}
    found = bound(build, took=took, rows=rows, probe=probe_lines(build, loop_lag_max_ms=400.0), **tables)
    assert found.resource == "event_loop"
    assert found.waits["machine_cpu"] == near(0.1, rel=0.1)


def test_a_loop_that_is_late_since_it_computes_is_not_blocked(build: ModuleType) -> None:
    """A request computes for 4 ms and waits for that: three times as late is nothing that blocks it."""
    found = bound(build, rows=OWN, process=cores(build, target=0.4), probe=probe_lines(build, loop_lag_max_ms=10.0))
    assert found.waits["event_loop"] == 0.0
    assert found.resource == "load"


def test_what_the_quickest_take_too_is_work(build: ModuleType) -> None:
    """All wait 80 ms for another service: that is what it takes. Where some wait much longer, nobody knows for what."""
    assert bound(build, rows=OWN).resource == "load"
    took_ms = np.where(np.arange(1000) % 5, 100.0, 300.0)
    found = bound(build, took=took_ms, rows=OWN | {"app_ms": took_ms - 20})
    assert (found.resource, found.why) == ("unknown", "unseen")
    assert found.waits["unseen"] == near(2 / 3)


def test_without_the_probe_a_pool_is_not_known_but_locks_are(build: ModuleType) -> None:
    took_ms = np.where(np.arange(1000) % 5, 100.0, 300.0)
    found = bound(build, took=took_ms, rows={})
    assert (found.resource, found.why) == ("unknown", "no_probe")
    locked = bound(build, rows={}, activity=backends(build, ("active", "Lock", 8), ("active", "", 1)))
    assert locked.resource == "locks"
    assert locked.waits["locks"] == near(0.8)


def test_who_was_handed_over_late_waited_for_the_generator(build: ModuleType) -> None:
    latency = build.rows([100.0] * 1000)
    late_ns = latency["intended_ns"].to_numpy() + 30_000_000
    found = bound(build, rows=OWN | {"handed_ns": late_ns, "started_ns": late_ns, "app_ms": 50.0})
    assert (found.resource, found.waits["generator"]) == ("generator", near(0.3))


@pytest.mark.parametrize(
    ("resource", "failure"),
    [
        ("limiter", {"status": 429}),
        ("pool", {"status": 503, "finished_after_ms": 60}),
        ("unknown", {"status": 500}),
    ],
)
def test_what_was_refused_is_slowest(build: ModuleType, resource: str, failure: dict[str, int]) -> None:
    took_ms = np.where(np.arange(1000) % 10, 10.0, np.inf)
    requests = build.rows(took_ms)
    failed = np.isinf(took_ms)
    ends_ns = requests["intended_ns"].to_numpy() + failure.pop("finished_after_ms", 1) * 1_000_000
    rows = {
        "status": np.where(failed, failure["status"], 200),
        "finished_ns": np.where(failed, ends_ns, requests["finished_ns"]),
        "pid": 7,
    }
    found = bound(build, took=took_ms, rows=rows, probe=probe_lines(build, connection_timeouts=100.0))
    assert found.resource == resource
    assert found.share == near(1.0)
    if resource == "unknown":
        assert found.why == "failures"


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        ("max_connections", b"ERROR:app:asyncpg.exceptions.TooManyConnectionsError: sorry, too many clients already\n"),
        ("max_connections", b"ERROR:app:FATAL: remaining connection slots are reserved for roles with SUPERUSER\n"),
        ("unknown", b"ERROR:app:KeyError: 'stock'\n"),
    ],
)
def test_what_the_service_logged_says_that_no_slot_was_left(build: ModuleType, resource: str, said: bytes) -> None:
    took_ms = np.where(np.arange(1000) % 10, 10.0, np.inf)
    trial = build.trial(build.cell(), 1, build.rows(took_ms, status=np.where(np.isinf(took_ms), 503, 200)))
    lengths = build.table(
        LOG_COLUMNS,
        since_ns=[build.START_NS - SECOND, build.START_NS],
        t_ns=[build.START_NS, build.START_NS + 10 * SECOND],
        bytes=[0, len(said)],
    )
    (summary,) = analyse(build.run([replace(trial, target_log=said, log=lengths)])).summary.cells
    assert summary.binding.resource == resource
    assert summary.binding.share == near(1.0)
