"""What a tune launches, block by block, on services that are made up."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from harness import analyse
from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.domain.strategy import Outcome
from harness.domain.tune import Carried
from harness.errors import AnswerIsNo, PoolbenchError, UsageError
from harness.plan import expand, parse_experiment
from harness.schedule import TuneSearch
from harness.strategies import strategy_of, tunable

TEXT = """
schema_version = 1
name = "x"
[matrix]
pool.pool_size = [1, 2, 4, 8]
[pool]
max_overflow = 0
[load]
rate_rps = 50
"""
Service = Callable[[Cell], float]


def experiment(*edits: tuple[str, str]) -> Experiment:
    text = TEXT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return parse_experiment(text, source="x.toml")


def enough(size: int) -> Service:
    return lambda cell: 10.0 if cell.pool.pool_size >= size else math.inf


def launched(wanted: Experiment, service: Service) -> list[Outcome]:
    """All that is launched until all is answered."""
    strategy = strategy_of("tune", wanted, expand(wanted), None)
    done: list[Outcome] = []
    while (sitting := strategy.next_step(done)) is not None:
        assert len(done) < 500
        assert list(strategy.foreseen(done)) == [sitting]
        done += [
            Outcome(
                launch=launch,
                sitting=sitting.index,
                carried=Carried(log_ms=math.log(service(launch.cell)), in_use=math.nan),
            )
            for launch in sitting.launches
        ]
    return done


def test_sizes_of_a_look_take_turns_and_their_launches_have_names_of_their_own() -> None:
    done = launched(experiment(), enough(4))
    assert len({own.launch.id for own in done}) == len(done)
    assert {own.launch.cell.pool.pool_size for own in done if own.launch.block == 1} == {1, 2, 8}
    by_sitting = {own.sitting: own.launch.block for own in done}
    assert list(by_sitting.values()) == list(range(1, len(by_sitting) + 1))
    assert {own.launch.cell.pool.pool_size for own in done[-12:]} == {4, 8}


def test_a_blocked_design_launches_a_look_one_after_the_other() -> None:
    done = launched(experiment(("[load]", '[design]\nkind = "blocked"\n[load]')), enough(4))
    assert [own.sitting for own in done] == list(range(1, len(done) + 1))
    assert {own.launch.cell.pool.pool_size for own in done[:3]} == {1, 2, 8}
    assert {own.launch.block for own in done[:3]} == {1}


def test_a_look_in_which_an_instrument_failed_is_repeated_and_two_in_a_row_end_it() -> None:
    wanted = experiment()
    cells = expand(wanted)
    strategy = TuneSearch(wanted, cells, lambda done: analyse.next_launches(wanted, cells, None, done))
    done: list[Outcome] = []
    sizes = []
    while (sitting := strategy.next_step(done)) is not None:
        sizes.append({launch.cell.pool.pool_size for launch in sitting.launches})
        done += [
            Outcome(
                launch=launch,
                sitting=sitting.index,
                broken=("sampler_gap",) if number == 0 else (),
                carried=Carried(log_ms=1.0, in_use=math.nan),
            )
            for number, launch in enumerate(sitting.launches)
        ]
    assert sizes == [{1, 2, 8}] * 2


def test_several_keys_are_tuned_in_the_files_order() -> None:
    wanted = experiment(("pool.pool_size", "target.workers = [1, 2]\npool.pool_size"))

    def service(cell: Cell) -> float:
        return 10.0 if cell.target.workers == 2 and cell.pool.pool_size >= 2 else math.inf

    done = launched(wanted, service)
    blocks = {own.launch.block: own.launch.cell for own in done}
    first = [
        own.launch.cell for own in done if own.launch.cell.pool.pool_size == 8 and own.launch.cell.target.workers == 1
    ]
    assert first, "fewer workers are tried with the largest pool"
    assert {own.launch.cell.target.workers for own in done if own.launch.cell.pool.pool_size < 8} == {2}
    assert blocks[max(blocks)].target.workers == 2


def test_a_size_whose_fleet_does_not_fit_is_never_launched() -> None:
    wanted = experiment(("[load]", "[tune]\nreplicas = 10\nmax_connections = 60\n[load]"))
    assert [analyse.fits(wanted, cell) for cell in expand(wanted)] == [True, True, True, False]  # 13 x 4 + 3 = 55
    done = launched(wanted, enough(2))
    assert {own.launch.cell.pool.pool_size for own in done} <= {1, 2, 4}


@pytest.mark.parametrize(
    ("edit", "kind", "said"),
    [
        (("[load]", "[arms.base]\n[arms.head]\n[load]"), UsageError, "has arms"),
        (("pool.pool_size = [1, 2, 4, 8]", "pool.pool_pre_ping = [true, false]"), UsageError, "is no size"),
        (("[load]", '[tune]\nmargin = "much"\n[load]'), UsageError, "no percentage"),
        (("[load]", '[tune]\ngood_enough = "slo"\n[load]'), UsageError, "nothing is promised"),
        (("rate_rps = 50", 'model = "closed"\nusers = 4'), UsageError, "closed model"),
        (("max_overflow = 0", 'max_overflow = 0\npool_class = "null"'), UsageError, "has no size"),
        (("[load]", '[tune]\nreplicas = 2\nsurge = "x"\n[load]'), UsageError, "surge"),
        (("[load]", "[tune]\nreplicas = 200\n[load]"), AnswerIsNo, "No size fits: 200 replicas of pool_size 1"),
    ],
)
def test_what_cannot_be_tuned_is_refused_by_name(edit: tuple[str, str], kind: type[PoolbenchError], said: str) -> None:
    with pytest.raises(kind, match=said) as refused:
        tunable(experiment(edit))
    assert refused.value.next_step
