"""Sittings: what is hot when, in which order, and for how long."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.domain.experiment import Cell, DatabaseSpec, Design, Experiment, Load, Pool, Session, Target
from harness.domain.load import Sitting
from harness.schedule import sittings, staircase_sitting, with_hosts
from harness.schedule.hosts import MAX_IN_FLIGHT
from harness.schedule.staircase import rungs_rps
from harness.schedule.timeline import split, stable_seed


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


@settings(deadline=None)  # the machine may be busy
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


@settings(deadline=None)  # the machine may be busy
@given(designs, loads, st.integers(1, 6))
def test_segments_follow_each_other_with_their_guard_and_warm_up_comes_first(
    design: dict[str, Any], load: dict[str, Any], count: int
) -> None:
    for sitting in sittings(make_experiment(**design), make_cells(count, **load), 100.0):
        assert [s.index for s in sitting.segments] == list(range(len(sitting.segments)))
        assert sitting.segments[0].start_s == 0
        for one, following in itertools.pairwise(sitting.segments):
            assert following.start_s == pytest.approx(one.start_s + one.duration_s + one.guard_s, abs=1e-9)
            assert not (one.phase == "measure" and following.phase == "warmup")
        for segment in sitting.segments:
            assert segment.duration_s > 0
            assert segment.guard_s == pytest.approx(design["guard_s"], abs=1e-6)
        assert sitting.segments[-1].phase == "measure"


@settings(deadline=None)  # the machine may be busy
@given(designs, loads, st.integers(1, 6))
def test_a_round_visits_each_launch_once_with_the_same_draw(
    design: dict[str, Any], load: dict[str, Any], count: int
) -> None:
    for sitting in sittings(make_experiment(**design), make_cells(count, **load), 100.0):
        rounds = [(key, list(group)) for key, group in itertools.groupby(sitting.segments, key=lambda s: s.round)]
        assert [key for key, _ in rounds] == list(range(len(rounds)))
        for _, turns in rounds:
            assert sorted(s.launch_id for s in turns) == sorted(launch.id for launch in sitting.launches)
            assert len({s.seed for s in turns}) == len({s.phase for s in turns}) == 1
        assert len({turns[0].seed for _, turns in rounds}) == len(rounds)


@settings(deadline=None)  # the machine may be busy
@given(designs, st.integers(1, 6))
def test_the_same_seed_gives_the_same_plan(design: dict[str, Any], count: int) -> None:
    experiment, cells = make_experiment(**design), make_cells(count)
    assert sittings(experiment, cells, None) == sittings(experiment, cells, None)


@pytest.mark.parametrize("kind", ["blocked", "interleaved"])
def test_seeds_and_blocks_change_the_order(kind: str) -> None:
    def order(seed: int) -> list[str]:
        planned = sittings(make_experiment(kind=kind, launches=6, seed=seed), make_cells(6), None)
        return [launch.cell.id for sitting in planned for launch in sitting.launches]

    orders = {tuple(order(seed)) for seed in range(20)}
    assert len(orders) == 20
    blocks = [tuple(order(1)[start : start + 6]) for start in range(0, 36, 6)]
    assert len(set(blocks)) > 1


def test_turns_are_drawn_anew_each_round() -> None:
    (sitting,) = sittings(make_experiment(launches=1), make_cells(6), None)
    turns = {tuple(s.launch_id for s in group) for _, group in itertools.groupby(sitting.segments, lambda s: s.round)}
    assert len(turns) > 20


def test_blocks_of_a_blocked_design_share_their_draws_and_differ_from_each_other() -> None:
    planned = sittings(make_experiment(kind="blocked", launches=2), make_cells(3), None)
    assert all(len(sitting.launches) == 1 for sitting in planned)
    assert all([s.phase for s in sitting.segments] == ["warmup", "measure"] for sitting in planned)
    seeds = [
        {sitting.segments[1].seed for sitting in planned if sitting.launches[0].block == block} for block in (1, 2)
    ]
    assert [len(found) for found in seeds] == [1, 1]
    assert seeds[0] != seeds[1]


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
    code = "from harness.schedule.timeline import stable_seed; print(stable_seed(1, 'load', 2, 3))"
    root = Path(__file__).resolve().parents[3]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert int(printed) == stable_seed(1, "load", 2, 3)
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


def test_pilots_are_the_lowest_ceilings_of_each_kind_of_target() -> None:
    (base,) = make_cells(1, rate="60%")
    cells = [
        varied(base, cell_id="c1", pool=Pool(pool_class="null")),
        varied(base, cell_id="c2", pool=Pool(pool_size=20)),
        varied(base, cell_id="c3", pool=Pool(pool_size=5)),
        varied(base, cell_id="c4", driver="psycopg", pool=Pool(pool_class="null")),
        varied(base, cell_id="c5", scenario="read_heavy"),
    ]
    sitting = staircase_sitting(make_experiment(), cells)
    assert sitting is not None
    assert [launch.id for launch in sitting.launches] == ["b0-c3", "b0-c4", "b0-c5"]
    assert (sitting.index, sitting.purpose) == (0, "staircase")


def test_a_pilot_warms_up_and_climbs_before_the_next_one_begins() -> None:
    sitting = staircase_sitting(
        make_experiment(guard_s=0.1),
        [
            varied(make_cells(1, rate="60%")[0], cell_id=cell_id, driver=driver)
            for cell_id, driver in (("c1", "asyncpg"), ("c2", "psycopg"))
        ],
    )
    assert sitting is not None
    groups = [(key, list(group)) for key, group in itertools.groupby(sitting.segments, key=lambda s: s.launch_id)]
    assert [key for key, _ in groups] == ["b0-c1", "b0-c2"]
    for _, (warmup, *rungs) in groups:
        assert warmup.phase == "warmup"
        assert {rung.phase for rung in rungs} == {"staircase"}
        assert tuple(rung.rate_rps for rung in rungs) == rungs_rps()
    for one, following in itertools.pairwise(sitting.segments):
        assert following.start_s == pytest.approx(one.start_s + one.duration_s + 0.1)


def test_rungs_rise_by_half_from_100_to_20_000() -> None:
    rungs = rungs_rps()
    assert rungs[0] == 100
    assert 20_000 / 1.5 < rungs[-1] <= 20_000
    assert all(high / low == pytest.approx(1.5, rel=0.001) for low, high in itertools.pairwise(rungs))


@pytest.mark.parametrize("load", [{"rate_rps": 5.0}, {"model": "closed", "users": 2}])
def test_without_a_share_there_is_no_staircase(load: dict[str, Any]) -> None:
    assert staircase_sitting(make_experiment(), make_cells(2, **load)) is None


def plan_of(sitting: Sitting) -> dict[str, int]:
    hosts = {launch.id: f"http://127.0.0.1:{port}" for port, launch in enumerate(sitting.launches, start=8000)}
    plan = with_hosts(sitting, hosts, {"mixed": Path("/s/mixed.py")}, Path("/out"))
    assert plan.segments == sitting.segments
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
