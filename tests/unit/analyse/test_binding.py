"""Which resource is named, and what is not mistaken for it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analyse.binding import binding_of
from harness.analyse.waits import Waits

CPU_FULL = {"worker_cpu": 0.97, "machine_cpu": 0.7, "postgres_cpu": 0.1, "pool": 1.0}
MACHINE_FULL = {"worker_cpu": 0.8, "machine_cpu": 0.99, "postgres_cpu": 0.2, "pool": 1.0}


def named(*launches: Waits, **load: Any) -> tuple[str, str | None]:
    """The resource, and where one queues for it."""
    found = binding_of(launches, **load)
    return found.resource, found.queue


@pytest.mark.parametrize(
    ("resource", "queue", "launch"),
    [
        ("load", None, Waits(slow={"pool": 0.19, "worker_cpu": 0.15}, used={"pool": 0.6})),
        ("load", None, Waits()),
        ("generator", None, Waits(slow={"generator": 0.3, "pool": 0.2})),
        ("pool", None, Waits(slow={"pool": 0.6, "worker_cpu": 0.1}, holding={"worker_cpu": 0.3, "locks": 0.1})),
        # holders wait, but for less than half of their time: without it they would still need most of the connections
        ("pool", None, Waits(slow={"pool": 0.6}, holding={"locks": 0.25, "postgres_cpu": 0.24})),
        ("locks", "pool", Waits(slow={"pool": 0.6, "locks": 0.3}, holding={"locks": 0.8})),
        ("locks", "pool", Waits(slow={"pool": 0.6}, holding={"locks": 0.4, "postgres_cpu": 0.2})),
        ("locks", None, Waits(slow={"locks": 0.5, "pool": 0.05}, holding={"locks": 0.8})),
        ("postgres_cpu", "pool", Waits(slow={"pool": 0.5, "postgres_cpu": 0.3}, holding={"postgres_cpu": 0.7})),
        ("postgres_io", None, Waits(slow={"postgres_io": 0.5})),
        # case 15: they stand before the pool, whose connections are out for so long because the loop is late
        (
            "worker_cpu",
            "pool",
            Waits(slow={"pool": 0.6, "worker_cpu": 0.3}, holding={"worker_cpu": 0.8}, used=CPU_FULL),
        ),
        ("worker_cpu", None, Waits(slow={"pool": 0.2, "worker_cpu": 0.3}, used=CPU_FULL)),
        # more connections would put it to use
        (
            "pool",
            None,
            Waits(
                slow={"pool": 0.6, "worker_cpu": 0.3},
                holding={"worker_cpu": 0.8},
                used=CPU_FULL | {"worker_cpu": 0.89},
            ),
        ),
        # half of it is free: it is busy when several requests come together, which passes
        ("load", None, Waits(slow={"worker_cpu": 0.3}, used={"worker_cpu": 0.45})),
        ("load", None, Waits(slow={"machine_cpu": 0.3}, used={"machine_cpu": 0.45})),
        ("event_loop", None, Waits(slow={"event_loop": 0.7, "worker_cpu": 0.1})),
        ("event_loop", "pool", Waits(slow={"pool": 0.5}, holding={"event_loop": 0.6})),
        ("gc", None, Waits(slow={"gc": 0.4, "worker_cpu": 0.2})),
        ("dial", None, Waits(slow={"dial": 0.5, "pool": 0.1})),
        ("threads", None, Waits(slow={"threads": 0.7, "pool": 0.1}, in_thread={"pool": 0.2})),
        ("pool", "threads", Waits(slow={"threads": 0.5, "pool": 0.3}, in_thread={"pool": 0.8})),
        # a thread waits for a connection, which waits for a lock
        (
            "locks",
            "threads",
            Waits(slow={"threads": 0.5, "pool": 0.3}, in_thread={"pool": 0.8}, holding={"locks": 0.9}),
        ),
        ("limiter", None, Waits(slow={"limiter": 0.5, "pool": 0.2})),
        ("max_connections", None, Waits(slow={"max_connections": 0.5, "failures": 0.2})),
    ],
)
def test_what_is_waited_for_most_binds(resource: str, queue: str | None, launch: Waits) -> None:
    assert named(launch) == (resource, queue)


@pytest.mark.parametrize(
    ("resource", "queue", "used", "own_cpu"),
    [
        ("worker_cpu", "pool", CPU_FULL, 0.7),
        ("machine_cpu", "pool", MACHINE_FULL, 0.95),
        ("postgres_cpu", "pool", MACHINE_FULL | {"worker_cpu": 0.3, "postgres_cpu": 0.6}, 0.95),
        # a quarter more could be carried
        ("pool", None, CPU_FULL | {"worker_cpu": 0.8}, 0.7),
        # others use the machine: they would get less
        ("pool", None, MACHINE_FULL, 0.5),
    ],
)
def test_no_pool_carries_more_than_a_processor(
    resource: str, queue: str | None, used: dict[str, float], own_cpu: float
) -> None:
    waits = Waits(slow={"pool": 0.7}, holding={"worker_cpu": 0.3}, used=used, own_cpu=own_cpu)
    assert named(waits, short=True) == (resource, queue)
    assert named(waits, closed=True) == (resource, queue)
    # where all is carried that is offered, a larger pool may still lower the latency
    assert named(waits) == ("pool", None)


def test_one_user_who_keeps_a_processor_busy_waits_for_nothing() -> None:
    assert named(Waits(slow={"worker_cpu": 0.1}, used=CPU_FULL), closed=True) == ("worker_cpu", None)
    assert named(Waits(slow={}, used=CPU_FULL | {"worker_cpu": 0.5}), closed=True) == ("load", None)


def test_what_would_bind_next_is_what_is_used_most() -> None:
    found = binding_of([Waits(used={"worker_cpu": 0.3, "pool": 0.5}), Waits(used={"worker_cpu": 0.5, "pool": 0.6})])
    assert (found.resource, found.next) == ("load", "pool")
    assert found.used == pytest.approx({"worker_cpu": 0.4, "pool": 0.55})
    assert binding_of([Waits()]).next is None


def test_launches_decide_together() -> None:
    """One launch in three met a lock: it is no more than a part of what is waited for."""
    alone, others = Waits(slow={"locks": 0.5}), Waits(slow={"pool": 0.36})
    assert named(alone) == ("locks", None)
    assert named(alone, others, others) == ("pool", None)
    found = binding_of([alone, others, others])
    assert found.share == pytest.approx(0.24)
    assert found.waits == pytest.approx({"locks": 0.5 / 3, "pool": 0.24})


@pytest.mark.parametrize(
    ("why", "launch", "load"),
    [
        ("unseen", Waits(slow={"unseen": 0.6, "pool": 0.2}), {}),
        ("no_probe", Waits(slow={"unseen": 0.6}, probed=False), {}),
        ("failures", Waits(slow={"failures": 0.5, "pool": 0.3}), {}),
        ("no_wait", Waits(slow={"pool": 0.1}, used={"worker_cpu": 0.5}), {"short": True}),
    ],
)
def test_what_cannot_be_told_is_said(why: str, launch: Waits, load: dict[str, bool]) -> None:
    found = binding_of([launch], **load)
    assert (found.resource, found.why, found.next) == ("unknown", why, None)


@pytest.mark.parametrize(
    ("resource", "why", "excluded"),
    [
        ("unknown", "not_measured", []),
        ("generator", "", ["generator_cpu", "schedule"]),
        ("unknown", "instrument", ["generator_cpu", "ledger"]),
    ],
)
def test_without_a_launch_that_counts(resource: str, why: str, excluded: list[str]) -> None:
    found = binding_of([], excluded=excluded)
    assert (found.resource, found.why) == (resource, why)
