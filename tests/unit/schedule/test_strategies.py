"""What is measured next follows from what is done: the same strategy, given other outcomes, takes other steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from harness.domain.experiment import Experiment
from harness.domain.load import Sitting
from harness.domain.rate import chosen_rate, rate_share
from harness.domain.strategy import Outcome
from harness.errors import MeasurementError
from harness.plan import expand, parse_experiment
from harness.schedule import FixedDesign

TEXT = """
schema_version = 1
name = "x"
[matrix]
pool.pool_size = [1, 4]
target.driver = ["asyncpg", "psycopg"]
[load]
{rate}
[design]
kind = "{kind}"
launches = 2
"""
SHARE, GIVEN = 'rate = "60%"', "rate_rps = 10"


def experiment(rate: str = GIVEN, kind: str = "interleaved") -> Experiment:
    return parse_experiment(TEXT.format(rate=rate, kind=kind), source="x.toml")


def design(rate: str = GIVEN, kind: str = "interleaved") -> FixedDesign:
    wanted = experiment(rate, kind)
    return FixedDesign(wanted, expand(wanted))


def outcomes(
    sitting: Sitting, *, sustained: Mapping[str, float] | None = None, broken: Mapping[str, Sequence[str]] | None = None
) -> list[Outcome]:
    """Of every launch of a sitting: what a pilot sustained, or what failed, by label of its cell."""
    return [
        Outcome(
            launch=launch,
            sitting=sitting.index,
            broken=tuple((broken or {}).get(launch.id, ())),
            sustained_rps=None if sustained is None else sustained[launch.cell.label],
        )
        for launch in sitting.launches
    ]


def test_a_given_rate_needs_no_staircase() -> None:
    steps = tuple(design().foreseen(()))
    assert [(step.purpose, step.index) for step in steps] == [("measure", 1), ("measure", 2)]
    assert {segment.rate_rps for step in steps for segment in step.segments} == {10.0}


def test_a_share_is_climbed_for_and_the_rate_follows_from_what_the_pilots_sustained() -> None:
    strategy = design(SHARE)
    first = strategy.next_step([])
    assert first is not None
    assert (first.purpose, [launch.cell.label for launch in first.launches]) == (
        "staircase",
        ["pool_size 4, asyncpg", "pool_size 4, psycopg"],
    )
    for best, rate_rps in ((500.0, 300.0), (50.0, 30.0)):
        done = outcomes(first, sustained={"pool_size 4, asyncpg": best, "pool_size 4, psycopg": best / 2})
        second = strategy.next_step(done)
        assert second is not None
        assert {segment.rate_rps for segment in second.segments} == {rate_rps}
        assert {launch.cell.load.rate_rps for launch in second.launches} == {rate_rps}


def test_what_a_staircase_will_find_is_not_foreseen() -> None:
    steps = tuple(design(SHARE).foreseen(()))
    assert [step.index for step in steps] == [0, 1, 2]
    assert {segment.rate_rps for step in steps[1:] for segment in step.segments} == {None}


def test_pilots_without_an_answer_end_the_run() -> None:
    strategy = design(SHARE)
    first = strategy.next_step([])
    assert first is not None
    with pytest.raises(MeasurementError, match=r"pool_size 4, \w+ gave no good answer.*load\.rate_rps"):
        strategy.next_step(
            outcomes(first, sustained=dict.fromkeys(("pool_size 4, asyncpg", "pool_size 4, psycopg"), 0))
        )


@pytest.mark.parametrize("kind", ["interleaved", "blocked"])
def test_a_broken_launch_is_replaced_at_once_and_once_with_all_that_were_hot_beside_it(kind: str) -> None:
    strategy = design(kind=kind)
    first, *others = strategy.foreseen(())
    spoilt = first.launches[0].id
    done = outcomes(first, broken={spoilt: ["sampler_gap"]})
    fresh = strategy.next_step(done)
    assert fresh is not None
    assert fresh.index == len(others) + 2
    assert [(own.cell, own.block, own.again) for own in fresh.launches] == [
        (own.cell, own.block, True) for own in first.launches
    ]
    assert {own.id for own in fresh.launches} == {f"{own.id}-again" for own in first.launches}
    assert [own.seed for own in fresh.segments] == [own.seed for own in first.segments]
    done += outcomes(fresh, broken={f"{spoilt}-again": ["sampler_gap"]})
    assert strategy.next_step(done) == others[0]
    assert tuple(strategy.foreseen(done)) == tuple(others)


def test_what_a_fresh_launch_would_meet_again_is_not_measured_again() -> None:
    strategy = design()
    first, second = strategy.foreseen(())
    done = outcomes(first, broken={own.id: ["ceiling"] for own in first.launches})
    assert strategy.next_step(done) == second


def test_the_order_in_which_outcomes_are_told_does_not_matter() -> None:
    strategy = design(kind="blocked")
    steps = tuple(strategy.foreseen(()))
    done = [outcome for step in steps[:3] for outcome in outcomes(step)]
    assert strategy.next_step(done[::-1]) == strategy.next_step(done) == steps[3]
    assert strategy.next_step([outcome for step in steps for outcome in outcomes(step)]) is None


@pytest.mark.parametrize(
    ("sustained", "share", "rate_rps"), [((437.0, 900.0), 60, 540.0), ((10.4, 4.0), 50, 5.2), ((0.5, 0.1), 50, 0.25)]
)
def test_the_rate_is_a_share_of_the_strongest_in_two_digits(
    sustained: tuple[float, float], share: int, rate_rps: float
) -> None:
    wanted = experiment(f'rate = "{share}%"')
    cells = expand(wanted)
    first = FixedDesign(wanted, cells).next_step([])
    assert first is not None
    pilots = [launch.cell.label for launch in first.launches]
    chosen = chosen_rate(wanted, cells, outcomes(first, sustained=dict(zip(pilots, sustained, strict=True))))
    assert chosen is not None
    assert (chosen.rate_rps, chosen.capacity_rps, chosen.share) == (rate_rps, max(sustained), share / 100)
    assert (chosen.label, chosen.pilots) == (pilots[sustained.index(max(sustained))], 2)


@pytest.mark.parametrize(
    ("text", "share"), [("60%", 0.6), (" 12.5 % ", 0.125), ("0%", None), ("1001%", None), ("1000%", 10.0), ("60", None)]
)
def test_shares(text: str, share: float | None) -> None:
    assert rate_share(text) == share
