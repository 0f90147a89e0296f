"""Sittings: what is hot when, in which order, and for how long."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Design, Experiment, Load, Pool, Session, Target
from harness.domain.load import LoadPlan, Sitting
from harness.schedule import with_hosts
from harness.schedule.hosts import MAX_IN_FLIGHT, SEED_VARIABLE
from harness.schedule.order import balanced_orders
from harness.schedule.sittings import sittings
from harness.schedule.staircase import rungs_rps, staircase_sitting
from harness.schedule.timeline import split, stable_seed

T = TypeVar("T")


def batched(things: Iterable[T], size: int) -> list[tuple[T, ...]]:
    """All things in groups of `size`, the last maybe smaller."""
    rest = iter(things)
    return list(iter(lambda: tuple(itertools.islice(rest, size)), ()))


def make_cells(count: int, **load: Any) -> tuple[Cell, ...]:
    load = load or {"rate_rps": 100.0}
    return tuple(
        Cell(
            id=f"c{number}",
            label=f"pool_size {number}",
            factors=(("pool.pool_size", number),),
            pool=Pool(pool_size=number, max_overflow=0),
            session=Session(),
            target=Target(),
            database=DatabaseSpec(),
            load=Load(**load),
        )
        for number in range(1, count + 1)
    )


def make_experiment(**design: Any) -> Experiment:
    return Experiment(schema_version=1, name="x", design=Design(**design))


designs = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["blocked", "interleaved"]),
        "launches": st.integers(1, 4),
        "segment_s": st.floats(0.05, 3.0),
        "guard_s": st.floats(0.0, 0.5),
        "seed": st.integers(),
    }
)
loads = st.fixed_dictionaries(
    {"rate_rps": st.floats(1, 1000), "warmup_s": st.floats(0, 3), "measure_s": st.floats(0.01, 5)}
)


@given(designs, loads, st.integers(1, 6))
def test_every_cell_is_launched_once_a_block_and_loaded_for_its_time(
    design: dict[str, Any], load: dict[str, Any], count: int
) -> None:
    planned = sittings(make_experiment(**design), make_cells(count, **load), None)
    launches = [launch for sitting in planned for launch in sitting.launches]
    assert len({launch.id for launch in launches}) == len(launches)
    assert Counter((launch.block, launch.cell.id) for launch in launches) == {
        (block, f"c{number}"): 1 for block in range(1, design["launches"] + 1) for number in range(1, count + 1)
    }
    assert [sitting.index for sitting in planned] == list(range(1, len(planned) + 1))
    for launch in launches:
        for phase, total_s in (("warmup", load["warmup_s"]), ("measure", load["measure_s"])):
            loaded = sum(
                s.duration_s for t in planned for s in t.segments if (s.launch_id, s.phase) == (launch.id, phase)
            )
            assert loaded == pytest.approx(total_s, abs=1e-4)


@given(designs, loads, st.integers(1, 6))
def test_a_launch_has_one_load_clock_with_its_warm_up_and_its_measurement_in_one_piece(
    design: dict[str, Any], load: dict[str, Any], count: int
) -> None:
    for sitting in sittings(make_experiment(**design), make_cells(count, **load), 100.0):
        assert [s.index for s in sitting.segments] == list(range(len(sitting.segments)))
        for launch in sitting.launches:
            own = [s for s in sitting.segments if s.launch_id == launch.id]
            assert [s.phase for s in own] == (["warmup", "measure"] if load["warmup_s"] > 0 else ["measure"])
            assert own[0].start_s == 0
            for one, following in itertools.pairwise(own):
                assert following.start_s == pytest.approx(one.end_s, abs=1e-9)
            assert all(s.duration_s > 0 for s in own)


@given(designs, loads, st.integers(1, 6))
def test_turns_are_all_of_the_load_of_their_launch_and_a_round_visits_each_once(
    design: dict[str, Any], load: dict[str, Any], count: int
) -> None:
    for sitting in sittings(make_experiment(**design), make_cells(count, **load), 100.0):
        ids = sorted(launch.id for launch in sitting.launches)
        for launch_id in ids:
            own = [turn.duration_s for turn in sitting.turns if turn.launch_id == launch_id]
            assert sum(own) == pytest.approx(sitting.segments[-1].end_s, abs=1e-4)
            assert len(ids) == 1 or all(duration_s <= design["segment_s"] + 1e-5 for duration_s in own)
        rounds = batched(sitting.turns, len(ids))
        assert all(sorted(turn.launch_id for turn in turns) == ids for turns in rounds)
        assert sitting.pause_s == pytest.approx(design["guard_s"], abs=1e-6)
        assert sitting.duration_s == pytest.approx(sum(turn.duration_s + sitting.pause_s for turn in sitting.turns))


def test_a_launch_that_is_alone_is_not_interrupted() -> None:
    for kind in ("blocked", "interleaved"):
        for sitting in sittings(make_experiment(kind=kind, segment_s=0.1), make_cells(1), None):
            (turn,) = sitting.turns
            assert turn.duration_s == sitting.segments[-1].end_s


def test_cells_of_a_block_have_the_same_draw_and_blocks_another() -> None:
    for kind in ("blocked", "interleaved"):
        planned = sittings(make_experiment(kind=kind, launches=3), make_cells(3), None)
        drawn = {
            (launch.block, segment.phase, segment.seed)
            for sitting in planned
            for launch in sitting.launches
            for segment in sitting.segments
            if segment.launch_id == launch.id
        }
        assert len(drawn) == len({seed for *_, seed in drawn}) == 3 * 2, "one a block and phase"


def test_cells_whose_loads_differ_in_length_leave_the_round_when_theirs_is_over() -> None:
    short, long = (make_cells(1, rate_rps=10.0, warmup_s=1.0, measure_s=measure_s)[0] for measure_s in (1.0, 3.0))
    (sitting,) = sittings(make_experiment(launches=1, segment_s=1.0), [short, replace(long, id="c2")], None)
    counts = Counter(turn.launch_id for turn in sitting.turns)
    assert counts == {"b1-c1": 2, "b1-c2": 4}
    assert [turn.launch_id for turn in sitting.turns[-2:]] == ["b1-c2", "b1-c2"]


@given(designs, st.integers(1, 6))
def test_the_same_seed_gives_the_same_plan(design: dict[str, Any], count: int) -> None:
    experiment, cells = make_experiment(**design), make_cells(count)
    assert sittings(experiment, cells, None) == sittings(experiment, cells, None)


@pytest.mark.parametrize("kind", ["blocked", "interleaved"])
def test_seeds_and_blocks_change_the_order(kind: str) -> None:
    def order(seed: int) -> list[str]:
        planned = sittings(make_experiment(kind=kind, launches=6, seed=seed), make_cells(6), None)
        return [launch.cell.id for sitting in planned for launch in sitting.launches]

    assert len({tuple(order(seed)) for seed in range(20)}) == 20
    blocks = [tuple(order(1)[start : start + 6]) for start in range(0, 36, 6)]
    assert len(set(blocks)) > 1


@pytest.mark.parametrize("count", range(2, 8))
@pytest.mark.parametrize("seed", range(5))
def test_in_whole_squares_each_follows_each_other_equally_often(count: int, seed: int) -> None:
    """E. J. Williams, 1949: n orders for an even n, 2 n for an odd one."""
    square = count if count % 2 == 0 else 2 * count
    orders = balanced_orders(range(count), random.Random(seed))
    for _ in range(3):
        rows = list(itertools.islice(orders, square))
        assert all(sorted(row) == list(range(count)) for row in rows)
        follow = Counter(pair for row in rows for pair in itertools.pairwise(row))
        assert set(follow) == set(itertools.permutations(range(count), 2))
        assert set(follow.values()) == {square // count}
        places = Counter((place, thing) for row in rows for place, thing in enumerate(row))
        assert set(places.values()) == {square // count}


def test_orders_are_drawn_and_come_again_for_the_same_draw() -> None:
    def first(seed: int) -> list[tuple[int, ...]]:
        return list(itertools.islice(balanced_orders(range(6), random.Random(seed)), 12))

    assert first(1) == first(1)
    assert len({tuple(first(seed)) for seed in range(20)}) == 20
    assert list(balanced_orders([], random.Random(1))) == []
    assert list(itertools.islice(balanced_orders(["a"], random.Random(1)), 3)) == [("a",)] * 3


def test_turns_and_blocks_are_balanced() -> None:
    (sitting,) = sittings(make_experiment(launches=1, segment_s=0.5), make_cells(4, rate_rps=1.0, measure_s=14.0), None)
    rounds = [tuple(turn.launch_id for turn in turns) for turns in batched(sitting.turns, 4)]
    for square in batched(rounds[: len(rounds) // 4 * 4], 4):
        follow = Counter(pair for row in square for pair in itertools.pairwise(row))
        assert set(follow.values()) == {1}
    planned = sittings(make_experiment(kind="blocked", launches=4), make_cells(4), None)
    blocks = batched((sitting.launches[0].cell.id for sitting in planned), 4)
    assert set(Counter(pair for row in blocks for pair in itertools.pairwise(row)).values()) == {1}


def test_the_share_of_a_capacity_takes_the_rate_that_was_found() -> None:
    for rate, expected in ((240.0, 240.0), (None, None)):
        (sitting,) = sittings(make_experiment(launches=1), make_cells(2, rate="60%"), rate)
        assert {s.rate_rps for s in sitting.segments} == {expected}
    (sitting,) = sittings(make_experiment(launches=1), make_cells(2, rate_rps=50.0), 240.0)
    assert {s.rate_rps for s in sitting.segments} == {50.0}


def test_a_closed_load_has_users_and_no_rate() -> None:
    (sitting,) = sittings(make_experiment(launches=1), make_cells(2, model="closed", users=7), 240.0)
    assert {(s.model, s.users, s.rate_rps) for s in sitting.segments} == {("closed", 7, None)}


@pytest.mark.parametrize(
    ("total_s", "part_s", "pieces"),
    [(0, 1, ()), (1, 2, (1,)), (2, 1, (1, 1)), (2.5, 1, (1, 1, 0.5)), (2.0, 0.1, (0.1,) * 20), (0.3, 0.1, (0.1,) * 3)],
)
def test_split(total_s: float, part_s: float, pieces: tuple[float, ...]) -> None:
    assert split(total_s, part_s) == pytest.approx(pieces)


def test_seeds_are_the_same_in_every_process() -> None:
    """And in every version: a run that is resumed has the schedule that it began with."""
    assert stable_seed(1, "load", 2, 3) == 82574922235363
    assert stable_seed(1, 23) != stable_seed(12, 3)


def varied(
    cell: Cell, *, cell_id: str, pool: Pool | None = None, driver: str = "asyncpg", scenario: str = "mixed"
) -> Cell:
    return replace(
        cell,
        id=cell_id,
        pool=pool or cell.pool,
        target=replace(cell.target, driver=driver),
        load=replace(cell.load, scenario=scenario),
    )


def test_pilots_are_the_strongest_of_each_kind_of_target() -> None:
    (base,) = make_cells(1, rate="60%")
    cells = [
        varied(base, cell_id="c1", pool=Pool(pool_size=5)),
        varied(base, cell_id="c2", pool=Pool(pool_size=20)),
        varied(base, cell_id="c3", pool=Pool(pool_class="null")),
        varied(base, cell_id="c4", driver="psycopg", pool=Pool(pool_class="null")),
        varied(base, cell_id="c5", scenario="read_heavy"),
    ]
    sitting = staircase_sitting(make_experiment(), cells)
    assert sitting is not None
    assert [launch.id for launch in sitting.launches] == ["b0-c3", "b0-c4", "b0-c5"]
    assert (sitting.index, sitting.purpose) == (0, "staircase")


def test_a_pilot_warms_up_and_climbs_before_the_next_one_begins() -> None:
    sitting = staircase_sitting(
        make_experiment(),
        [
            varied(make_cells(1, rate="60%")[0], cell_id=cell_id, driver=driver)
            for cell_id, driver in (("c1", "asyncpg"), ("c2", "psycopg"))
        ],
    )
    assert sitting is not None
    assert [turn.launch_id for turn in sitting.turns] == ["b0-c1", "b0-c2"]
    for turn in sitting.turns:
        warmup, *rungs = own = [s for s in sitting.segments if s.launch_id == turn.launch_id]
        assert warmup.phase == "warmup"
        assert warmup.start_s == 0.0
        assert {rung.phase for rung in rungs} == {"staircase"}
        assert tuple(rung.rate_rps for rung in rungs) == rungs_rps()
        for one, following in itertools.pairwise(own):
            assert following.start_s == pytest.approx(one.end_s + sitting.pause_s), "each is judged after a pause"
        assert turn.duration_s == pytest.approx(own[-1].end_s + sitting.pause_s)


def test_rungs_rise_by_half_from_100_to_20_000() -> None:
    rungs = rungs_rps()
    assert rungs[0] == 100
    assert 20_000 / 1.5 < rungs[-1] <= 20_000
    assert all(high / low == pytest.approx(1.5, rel=0.001) for low, high in itertools.pairwise(rungs))


@pytest.mark.parametrize("load", [{"rate_rps": 5.0}, {"model": "closed", "users": 2}])
def test_without_a_share_there_is_no_staircase(load: dict[str, Any]) -> None:
    assert staircase_sitting(make_experiment(), make_cells(2, **load)) is None


def hosted(sitting: Sitting, gauges: Mapping[str, Path] | None = None) -> LoadPlan:
    hosts = {launch.id: f"http://127.0.0.1:{port}" for port, launch in enumerate(sitting.launches, start=8000)}
    return with_hosts(sitting, hosts, {"mixed": Path("/s/mixed.py")}, Path("/out"), gauges)


def plan_of(sitting: Sitting) -> dict[str, int]:
    hosts = {launch.id: f"http://127.0.0.1:{port}" for port, launch in enumerate(sitting.launches, start=8000)}
    plan = hosted(sitting)
    assert (plan.segments, plan.turns, plan.pause_s) == (sitting.segments, sitting.turns, sitting.pause_s)
    assert plan.output_dir == Path("/out")
    assert {load.launch_id: load.host for load in plan.launches} == hosts
    assert {load.scenario for load in plan.launches} == {Path("/s/mixed.py")}
    return {load.launch_id: load.max_in_flight for load in plan.launches}


@pytest.mark.parametrize(
    ("load", "cap"),
    [
        ({"rate_rps": 33.3, "request_timeout_s": 2.0}, 67),
        ({"rate_rps": 1000.0, "request_timeout_s": 2.0}, MAX_IN_FLIGHT),
        ({"rate_rps": 0.01, "request_timeout_s": 2.0}, 1),
        ({"model": "closed", "users": 12}, 12),
    ],
)
def test_as_many_in_flight_as_can_wait_before_the_oldest_times_out(load: dict[str, Any], cap: int) -> None:
    (sitting,) = sittings(make_experiment(launches=1), make_cells(2, **load), None)
    assert set(plan_of(sitting).values()) == {cap}


def test_a_staircase_stays_below_the_threads_of_its_workers() -> None:
    sitting = staircase_sitting(make_experiment(), make_cells(1, rate="60%"))
    assert sitting is not None
    (cap,) = plan_of(sitting).values()
    assert 16 <= cap < sitting.launches[0].cell.target.threadpool_tokens


def test_a_plan_without_its_rate_cannot_be_executed() -> None:
    (sitting,) = sittings(make_experiment(launches=1), make_cells(1, rate="60%"), None)
    with pytest.raises(ValueError, match="without a rate"):
        plan_of(sitting)


def test_a_plan_says_how_many_connections_serve_a_launch_and_where_its_gauges_are() -> None:
    cells = [
        replace(cell, pool=pool, target=target)
        for cell, (pool, target) in zip(
            make_cells(4),
            [
                (Pool(pool_size=5, max_overflow=3), Target()),
                (Pool(pool_size=5, max_overflow=3), Target(workers=2)),
                (Pool(pool_size=50, max_overflow=0), Target(driver="psycopg2", workers=2, threadpool_tokens=40)),
                (Pool(pool_class="null"), Target()),
            ],
            strict=True,
        )
    ]
    (sitting,) = sittings(make_experiment(launches=1), cells, None)
    plan = hosted(sitting, {"b1-c1": Path("/probe")})
    by_id = {load.launch_id: load for load in plan.launches}
    assert [by_id[f"b1-c{n}"].connections for n in range(1, 5)] == [8, 8, 40, None], "of one process of the target"
    assert [by_id[f"b1-c{n}"].gauges for n in range(1, 5)] == [Path("/probe"), None, None, None]


@pytest.mark.parametrize("kind", ["blocked", "interleaved"])
def test_what_scenarios_draw_from_is_a_blocks_own_and_the_same_for_its_cells(kind: str) -> None:
    """Also where one cell has no warm-up."""
    one, other = make_cells(2, rate_rps=5.0)
    other = replace(other, load=replace(other.load, warmup_s=0.0))
    seeds = {
        (launch.block, hosted(sitting).environment[SEED_VARIABLE])
        for sitting in sittings(make_experiment(kind=kind, launches=3), [one, other], None)
        for launch in sitting.launches
    }
    assert len(seeds) == len({seed for _, seed in seeds}) == 3


def test_a_check_is_sent_by_one_generator_each_task_once() -> None:
    sitting = sittings(make_experiment(), make_cells(1, rate_rps=10.0, processes=4), None)[0]
    asked = hosted(sitting)
    assert (asked.processes, asked.once) == (4, False)
    asked = hosted(replace(sitting, purpose="check"))
    assert (asked.processes, asked.workers, asked.once) == (1, None, True)
