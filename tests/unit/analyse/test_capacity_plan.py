"""A fleet for a peak: sums worked by hand, and what holds of every plan."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.capacity import replica_of
from harness.analyse.capacity_plan import plan_capacity, replicas_needed
from harness.domain.budget import SERVICE, Fleet, PgBouncer, Service
from harness.domain.capacity import CellCapacity, Found
from harness.domain.capacity_plan import CapacityPlan, FleetPlan, Wanted
from harness.domain.cell import Cell
from harness.domain.experiment import Pool, Target
from harness.domain.observed import AppliedPool, AppliedProcess

BRACKET = Found(highest_pass_rps=100.0, lowest_fail_rps=110.0, stop="bracketed")
REPLICA = Service(replicas=1, workers=1, pool_size=5, max_overflow=5)


def wanted(peak_rps: float | None = 300.0, headroom: float = 0.3, **given_keys: Any) -> Wanted:
    """Given are a service's keys, those of the limits, and `pgbouncer`."""
    own = {key: given_keys[key] for key in given_keys if key in Service.__dataclass_fields__ and key != "pgbouncer"}
    limits = {key: given_keys[key] for key in ("max_connections", "reserved", "pgbouncer") if key in given_keys}
    service = Service(**({"replicas": 1} | own), pgbouncer="pgbouncer" in given_keys)
    return Wanted(
        limits=Fleet(services={SERVICE: service}, **limits),
        named=frozenset(given_keys),
        headroom=headroom,
        peak_rps=peak_rps,
    )


@pytest.fixture
def cell(build: ModuleType) -> Cell:
    made: Cell = build.cell(1)
    return made


def planned(cell: Cell, asked: Wanted, replica: Service = REPLICA, found: Found | None = BRACKET) -> FleetPlan:
    (fleet,) = plan_capacity([CellCapacity(cell=cell, steps=(), found=found, replica=replica)], asked).fleets
    return fleet


@pytest.mark.parametrize(
    ("peak_rps", "replica_rps", "headroom", "needed"),
    [
        pytest.param(300, 100, 0.3, 5, id="300 / 70 = 4.3 for the headroom, 300 / 100 + 1 = 4 for one lost"),
        pytest.param(300, 100, 0.0, 4, id="without headroom, the one that may be lost"),
        pytest.param(310, 100, 0.0, 5, id="3.1, so 4, and one to lose"),
        pytest.param(90, 100, 0.1, 2, id="90 / 90 is one replica, and another when that is lost"),
        pytest.param(180, 100, 0.1, 3, id="180 / 90 is two, not three by what a float is off"),
        pytest.param(1000, 100, 0.5, 20, id="half of what it carries stays free"),
        pytest.param(1, 100, 0.3, 2, id="never less than two: one of one that is lost leaves nothing"),
    ],
)
def test_replicas_that_a_peak_takes(peak_rps: float, replica_rps: float, headroom: float, needed: int) -> None:
    assert replicas_needed(peak_rps, replica_rps, headroom) == needed


def test_a_fleet_with_its_connections_by_hand(cell: Cell) -> None:
    """300/s at 100/s a replica, 30 % free: 5 replicas; 25 % surge of 5 is 2 more; 10 connections each."""
    fleet = planned(cell, wanted(max_connections=80, jobs=2))
    assert (fleet.needed, fleet.service.replicas, fleet.worker_rps) == (5, 5, 100)
    assert [(own.name, own.replicas, own.carries_rps, own.used_share, own.connections) for own in fleet.situations] == [
        ("steady", 5, 500, 0.6, 5 * 10 + 5),
        ("lost", 4, 400, 0.75, 4 * 10 + 5),
        ("rolling", 5, 500, 0.6, 7 * 10 + 5),
    ]
    assert fleet.peak_at_most_rps(5) == pytest.approx(350)
    server = fleet.budget.server
    assert (server.steady, server.rolling, server.lost, server.limit) == (5 * 10 + 5, 7 * 10 + 5, 4 * 10 + 5, 80)
    assert (server.left, fleet.holds) == (5, True)
    assert fleet.most == 5  # 6 and their surge of 2 would take 80 beside the 5


def test_the_most_replicas_fit_and_one_more_does_not(cell: Cell) -> None:
    """Of 100 connections 97 are left for replicas of 10: 7 and a surge of 2 are 90, 8 and 2 are 100."""
    fleet = planned(cell, wanted(peak_rps=None))
    assert (fleet.most, fleet.service.replicas, fleet.needed, fleet.holds) == (7, 7, None, True)
    none = planned(cell, wanted(peak_rps=None, max_connections=12))
    assert (none.most, none.service.replicas, none.holds) == (0, 1, False)


def test_what_a_peak_takes_may_not_fit(cell: Cell) -> None:
    """900/s take 13 replicas (900 / 70), 17 in a deploy: 170 + 3 of 100."""
    fleet = planned(cell, wanted(900))
    assert (fleet.needed, fleet.budget.server.rolling, fleet.suffices, fleet.holds) == (13, 173, True, False)
    assert fleet.budget.shares[0].largest_pool == 97 // 17


def test_replicas_that_are_given_are_held_against_the_peak(cell: Cell) -> None:
    too_few = planned(cell, wanted(300, replicas=4))
    assert (too_few.service.replicas, too_few.needed, too_few.suffices, too_few.holds) == (4, 5, False, False)
    assert planned(cell, wanted(300, replicas=5)).holds


def test_workers_carry_in_proportion_and_have_pools_of_their_own(cell: Cell) -> None:
    """Measured with two workers: 100/s, 50/s each. Four of them are planned a replica: 200/s, 40 connections."""
    two = replace(REPLICA, workers=2)
    assert planned(cell, wanted(), two).worker_rps == 50
    fleet = planned(cell, wanted(workers=4), two)
    assert (fleet.replica_rps, fleet.worker_rps, fleet.service.workers, fleet.measured.workers) == (200, 50, 4, 2)
    assert fleet.needed == 3  # 300 / 140
    assert fleet.budget.shares[0].steady == 3 * 4 * 10


def test_without_a_surge_one_ends_before_the_next_begins(cell: Cell) -> None:
    fleet = planned(cell, wanted(surge="0"))
    steady, _, rolling = fleet.situations
    assert (steady.replicas, rolling.replicas, rolling.carries_rps, rolling.connections) == (5, 4, 400, 53)
    alone = planned(cell, wanted(surge="0", replicas=1)).situations
    assert [(own.replicas, own.used_share) for own in alone] == [(1, 3.0), (0, math.inf), (0, math.inf)]
    assert {own.used_share for own in planned(cell, wanted(peak_rps=None)).situations} == {None}


def test_behind_pgbouncer_the_fleet_is_clients_and_postgres_has_its_pool(cell: Cell) -> None:
    asked = wanted(900, pgbouncer=PgBouncer(default_pool_size=20, max_client_conn=200))
    fleet = planned(cell, asked)
    assert fleet.budget.clients is not None
    assert (fleet.budget.clients.rolling, fleet.budget.server.rolling, fleet.holds) == (170, 23, True)
    assert [(own.connections, own.clients) for own in fleet.situations] == [(23, 130), (23, 120), (23, 170)]


def test_what_was_measured_behind_pgbouncer_is_planned_behind_one_of_its_size(cell: Cell) -> None:
    behind = replace(cell, target=replace(cell.target, pgbouncer=True, pgbouncer_pool_size=7))
    fleet = planned(behind, wanted(50), replace(REPLICA, pgbouncer=True))
    assert fleet.budget.server.steady == 7 + 3
    other = planned(behind, wanted(50, pgbouncer=PgBouncer(default_pool_size=9)), replace(REPLICA, pgbouncer=True))
    assert other.budget.server.steady == 9 + 3


@pytest.mark.parametrize(
    ("found", "replica"),
    [
        (Found(highest_pass_rps=2000.0, lowest_fail_rps=None, stop="ceiling"), REPLICA),
        (Found(highest_pass_rps=None, lowest_fail_rps=0.5, stop="nothing_meets"), REPLICA),
        (Found(highest_pass_rps=50.0, lowest_fail_rps=None, stop="instrument"), REPLICA),
        (None, REPLICA),
        (BRACKET, None),
    ],
)
def test_without_a_capacity_or_pools_no_fleet_is_planned(cell: Cell, found: Found | None, replica: Service) -> None:
    made = plan_capacity([CellCapacity(cell=cell, steps=(), found=found, replica=replica)], wanted())
    assert (made.fleets, made.best) == ((), None)


def of_two(build: ModuleType, first: float, second: float, asked: Wanted) -> CapacityPlan:
    """The first with 5 connections a replica, the second with 50."""
    cells = [
        CellCapacity(
            cell=build.cell(number),
            steps=(),
            found=replace(BRACKET, highest_pass_rps=carried, lowest_fail_rps=carried * 1.1),
            replica=replace(REPLICA, pool_size=size, max_overflow=0),
        )
        for number, carried, size in ((1, first, 5), (2, second, 50))
    ]
    return plan_capacity(cells, asked)


@pytest.mark.parametrize(
    ("first", "second", "max_connections", "best"),
    [
        pytest.param(50, 100, 500, "c2", id="fewer processes, and it fits"),
        pytest.param(50, 100, 100, "c1", id="fewer processes, but they do not fit"),
        pytest.param(100, 100, 900, "c1", id="as many processes, fewer connections"),
    ],
)
def test_the_one_to_run(build: ModuleType, first: float, second: float, max_connections: int, best: str) -> None:
    fleet = of_two(build, first, second, wanted(300, max_connections=max_connections)).best
    assert fleet is not None
    assert (fleet.capacity.cell.id, fleet.holds) == (best, True)


@given(st.floats(0.5, 5000), st.floats(0.5, 500), st.floats(0, 0.95))
def test_what_is_needed_carries_the_peak_and_one_less_does_not(peak_rps: float, rps: float, headroom: float) -> None:
    needed = replicas_needed(peak_rps, rps, headroom)

    def carries(replicas: int, slack: float) -> bool:
        return replicas * rps * (1 - headroom) >= peak_rps * slack and (replicas - 1) * rps >= peak_rps * slack

    assert carries(needed, 1 - 1e-6)
    assert not carries(needed - 1, 1 + 1e-6)


def engine(pid: int = 1, **changes: Any) -> AppliedPool:
    settings: dict[str, Any] = {
        "launch_id": "b1-c1",
        "pid": pid,
        "driver": "asyncpg",
        "pool_class": "AsyncAdaptedQueuePool",
        "pool_size": 8,
        "max_overflow": 2,
        "pool_timeout_s": 30.0,
        "pool_recycle_s": -1,
        "pool_pre_ping": False,
        "pool_use_lifo": False,
    }
    return AppliedPool(**(settings | changes))


def serving(pid: int) -> AppliedProcess:
    return AppliedProcess(
        launch_id="b1-c1", pid=pid, serving=True, threadpool_tokens=40, gc_frozen=None, expire_on_commit=()
    )


@pytest.mark.parametrize(
    ("engines", "processes", "pool", "expected"),
    [
        pytest.param([], [], Pool(pool_size=5, max_overflow=0), (1, 1, 5, 0), id="nobody saw them: as the cell has it"),
        pytest.param([engine()], [1], Pool(), (1, 1, 8, 2), id="as the process said, not as the cell has it"),
        pytest.param(
            [engine(1), engine(2), engine(2), engine(1)], [1, 2], Pool(), (2, 2, 8, 2), id="two engines in two workers"
        ),
        pytest.param([engine(), engine(pool_size=3)], [1], Pool(), None, id="pools of two sizes"),
        pytest.param([engine(max_overflow=-1)], [1], Pool(), None, id="no limit"),
        pytest.param([engine(pool_size=None, max_overflow=None)], [1], Pool(), None, id="a null pool"),
        pytest.param([], [], Pool(pool_class="null"), None, id="a null pool that nobody saw"),
        pytest.param(
            [engine(pool_size=None, max_overflow=None)],
            [1],
            Pool(pool_class="psycopg_pool", pool_size=4, max_overflow=1),
            (1, 1, 4, 1),
            id="the driver's own pool, before which a null pool stands",
        ),
    ],
)
def test_a_replica_is_what_its_processes_said(
    build: ModuleType,
    engines: list[AppliedPool],
    processes: list[int],
    pool: Pool,
    expected: tuple[int, int, int, int] | None,
) -> None:
    made = build.trial(build.cell(1, pool=pool), 1, build.rows([5.0])).trial
    found = replica_of(replace(made, applied=tuple(engines), processes=tuple(map(serving, processes))))
    assert expected == (None if found is None else (found.workers, found.engines, found.pool_size, found.max_overflow))


def test_pools_of_an_own_app_that_nobody_saw_are_not_known(build: ModuleType) -> None:
    own = build.cell(1, target=Target(app="shop.main:app"))
    assert replica_of(build.trial(own, 1, build.rows([5.0])).trial) is None
