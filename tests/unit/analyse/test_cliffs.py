"""From how many requests at once on a process may stand still, by what its requests do with their connections."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from harness.analyse.cliffs import OneProcess, foresee, process_of
from harness.domain.holds import PARTS, EndpointHolds
from harness.domain.observed import AppliedPool, AppliedProcess

SYNC = OneProcess(pool=15, waits_in_threads=True, threads=40, used=9)
ASYNC = replace(SYNC, waits_in_threads=False)
PLAIN = EndpointHolds(
    endpoint="GET /a",
    requests=10,
    connections=1,
    left=0,
    holds=10,
    on_loop=0,
    threads=0,
    statements=10,
    seconds=dict.fromkeys(PARTS, 1.0),
    in_use=1.0,
)
AGAIN = replace(PLAIN, endpoint="GET /again", threads=7)
TWO = replace(PLAIN, endpoint="GET /two", connections=2, holds=20)
THREE = replace(PLAIN, endpoint="GET /three", connections=3, holds=30)
LOOP = replace(PLAIN, endpoint="GET /loop", on_loop=10)


@pytest.mark.parametrize(
    ("process", "holds", "expected"),
    [
        (SYNC, [PLAIN], []),
        (SYNC, [], []),
        (SYNC, [PLAIN, AGAIN], [("threads", 55, ("GET /again",))]),
        (replace(SYNC, threads=10, pool=3), [AGAIN], [("threads", 13, ("GET /again",))]),
        (replace(SYNC, threads=None), [AGAIN], []),
        (ASYNC, [AGAIN], []),
        (ASYNC, [TWO, PLAIN], [("connections", 15, ("GET /two",))]),
        (ASYNC, [TWO, THREE], [("connections", 8, ("GET /two", "GET /three"))]),
        (replace(ASYNC, pool=16), [THREE], [("connections", 8, ("GET /three",))]),
        (SYNC, [LOOP, replace(AGAIN, on_loop=10)], [("loop", 16, ("GET /loop", "GET /again"))]),
        (replace(SYNC, used=1), [LOOP], []),
        (SYNC, [AGAIN, TWO], [("connections", 15, ("GET /two",)), ("threads", 55, ("GET /again",))]),
    ],
)
def test_the_cliff_lies_where_everybody_waits_for_somebody(
    process: OneProcess, holds: list[EndpointHolds], expected: list[tuple[str, int, tuple[str, ...]]]
) -> None:
    assert [(cliff.kind, cliff.requests, cliff.endpoints) for cliff in foresee(process, holds)] == expected


@pytest.mark.parametrize("pool", range(1, 13))
@pytest.mark.parametrize("each", [2, 3, 4])
def test_the_count_for_several_connections_is_that_of_all_ways_to_hand_them_out(pool: int, each: int) -> None:
    """Requests that want `each` take them one by one, in any order: with how many can none of them be finished?"""
    users = next(users for users in range(1, 99) if users * (each - 1) >= pool)
    (cliff,) = foresee(replace(ASYNC, pool=pool), [replace(TWO, connections=each)])
    assert cliff.requests == users
    assert not _can_stand_still(pool, each, users - 1)
    assert _can_stand_still(pool, each, users)


def _can_stand_still(pool: int, each: int, users: int) -> bool:
    """Whether some state of hands, none of which is full, leaves nothing in the pool."""
    reachable = {0}
    for _ in range(users):
        reachable = {taken + own for taken in reachable for own in range(each)}
    return pool in reachable


def test_what_the_processes_said(build: ModuleType) -> None:
    pool = AppliedPool(
        launch_id="b1-c1",
        pid=1,
        driver="psycopg2",
        pool_class="QueuePool",
        pool_size=5,
        max_overflow=10,
        pool_timeout_s=30.0,
        pool_recycle_s=-1,
        pool_pre_ping=False,
        pool_use_lifo=False,
        is_async=False,
    )
    process = AppliedProcess(
        launch_id="b1-c1", pid=1, serving=True, threadpool_tokens=40, gc_frozen=None, expire_on_commit=()
    )
    trial = replace(build.trial(build.cell(), 0, build.rows([1.0])).trial, applied=(pool,), processes=(process,))
    assert process_of(trial, 9) == SYNC
    supervisor = replace(process, pid=2, serving=False)
    assert process_of(replace(trial, processes=(supervisor, process)), 9) == SYNC
    assert process_of(replace(trial, processes=(replace(process, threadpool_tokens=-1),)), 9) == replace(
        SYNC, threads=None
    )
    for unknown in (
        {"applied": ()},
        {"applied": (pool, pool)},
        {"applied": (replace(pool, pool_size=None),)},
        {"applied": (replace(pool, max_overflow=-1),)},
        {"applied": (pool, replace(pool, pid=2, pool_size=6)), "processes": (process, replace(process, pid=2))},
    ):
        assert process_of(replace(trial, **unknown), 9) is None
