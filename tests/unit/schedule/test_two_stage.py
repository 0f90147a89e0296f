"""A comparison measures as many blocks as its judge asks for, and never more than a stage has time for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.domain.experiment import Experiment
from harness.domain.gate import BASE, BASE_AGAIN, HEAD
from harness.domain.strategy import Outcome
from harness.errors import UsageError
from harness.outline import outline
from harness.plan import expand, parse_experiment
from harness.schedule import TwoStage, most_blocks
from harness.schedule.two_stage import BlocksWanted
from harness.strategies import comparison, foreseen, head_alone

TEXT = """
schema_version = 1
name = "x"
{arms}
[load]
{load}
measure_s = {measure_s}
[gate]
stage_limit_s = 300
"""
ARMS = "[arms.base]\n[arms.head]\nsession.refresh_after_write = true"


def experiment(*, arms: str = ARMS, load: str = "rate_rps = 10", measure_s: float = 10) -> Experiment:
    return parse_experiment(TEXT.format(arms=arms, load=load, measure_s=measure_s), source="x.toml")


def strategy(blocks_wanted: BlocksWanted, *, load: str = "rate_rps = 10") -> TwoStage:
    sides = comparison(experiment(load=load))
    return TwoStage(sides, expand(sides), blocks_wanted)


def always(blocks: int) -> BlocksWanted:
    return lambda _done, _most: blocks


def blocks(steps: Sequence[object]) -> list[int]:
    return [step.launches[0].block for step in steps]  # type: ignore[attr-defined]


def test_the_base_is_measured_twice_and_all_sides_of_a_block_hot_together() -> None:
    first = strategy(always(5)).next_step(())
    assert first is not None
    assert sorted(launch.cell.arm for launch in first.launches) == sorted([BASE, BASE_AGAIN, HEAD])
    seeds = {(segment.phase, segment.seed) for segment in first.segments}
    assert len(seeds) == 2, "warm-up and measurement: the same arrivals for every side"


def test_as_many_blocks_as_are_wanted_and_the_judge_is_told_what_is_done() -> None:
    told: list[tuple[int, int]] = []

    def wanted(done: Sequence[Outcome], most: int) -> int:
        told.append((len(done), most))
        return 2 if len(done) < 6 else 3

    design = strategy(wanted)
    done: list[Outcome] = []
    assert blocks(list(design.foreseen(done))) == [1, 2]
    while (step := design.next_step(done)) is not None:
        done += [Outcome(launch=launch, sitting=step.index) for launch in step.launches]
    assert [own.launch.block for own in done] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert told[-1] == (9, design.most)


def test_a_sitting_whose_instrument_failed_is_measured_again_within_its_stage() -> None:
    design = strategy(always(1))
    first = design.next_step(())
    assert first is not None
    broken = [Outcome(launch=launch, sitting=first.index, broken=("sampler_gap",)) for launch in first.launches]
    again = design.next_step(broken)
    assert again is not None
    assert [(launch.block, launch.again) for launch in again.launches] == [(1, True)] * 3


def test_the_pilots_of_a_staircase_are_none_of_the_judges_business() -> None:
    told: list[int] = []

    def counting(done: Sequence[Outcome], _most: int) -> int:
        told.append(len(done))
        return 1

    design = strategy(counting, load='rate = "40%"')
    pilot = design.next_step(())
    assert pilot is not None
    assert pilot.purpose == "staircase"
    sustained = [Outcome(launch=launch, sitting=0, sustained_rps=300.0) for launch in pilot.launches]
    first = design.next_step(sustained)
    assert first is not None
    assert (first.purpose, told) == ("measure", [0, 0])
    assert {segment.rate_rps for segment in first.segments} == {120.0}


@pytest.mark.parametrize(("measure_s", "expected"), [(10, 7), (100, 1), (1000, 1)])
def test_a_stage_has_time_for_so_many_blocks(measure_s: float, expected: int) -> None:
    sides = comparison(experiment(measure_s=measure_s))
    assert most_blocks(sides, expand(sides)) == sides.design.launches == expected


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"arms": ""}, "x has no two sides to compare: it has no arms"),
        ({"arms": "[arms.base]\n[arms.new]"}, "its arms are base, new"),
        ({"load": 'model = "closed"\nusers = 4'}, "Two sides are compared under open load"),
        ({"arms": ARMS + "\n[matrix]\npool.pool_size = [1, 2]"}, r"\[matrix\] varies pool.pool_size"),
    ],
)
def test_what_has_no_two_sides_is_refused(changed: dict[str, str], cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        comparison(experiment(**changed))  # type: ignore[arg-type]


def test_both_sides_freeze_their_heap_unless_it_is_unwanted_and_that_is_said() -> None:
    def sides(target: str) -> Experiment:
        return comparison(experiment(arms=f"{ARMS}\n[target]\n{target}"))

    for text, frozen in (('app = "theirs:app"', True), ('app = "theirs:app"\ngc_freeze = false', False)):
        wanted = sides(text)
        assert {cell.has_say("target.gc_freeze") for cell in expand(wanted)} == {True}
        said = list(foreseen(wanted, None))
        freezing = (
            "Both sides run with gc.freeze() after their start, which makes p95 steadier; "
            "target.gc_freeze = false leaves it out."
        )
        assert said[1:] == [freezing] * frozen
        assert "at most 7 launches of each side" in said[0]


def test_a_plan_says_what_a_comparison_would_find() -> None:
    two = outline(experiment()).notes
    assert two[0] == (
        "`poolbench run` ranks the sides like any cells; "
        "`poolbench compare` judges the head, and measures the base twice:"
    )
    assert "at most 7 launches of each side" in two[1]
    assert not any("poolbench compare" in note for note in outline(experiment(arms="[arms.one]\n[arms.two]")).notes)
    varied = outline(experiment(arms=ARMS + "\n[matrix]\npool.pool_size = [1, 2]")).notes
    assert any("[matrix] varies pool.pool_size" in note for note in varied)


def baseline(rate: str, rate_rps: float) -> SimpleNamespace:
    """A run of one cell, as far as it is looked at: the share that was asked for, and the rate of its launch."""
    asked = experiment(load=f'rate = "{rate}"')
    cells = expand(asked)[:1]
    ran = replace(cells[0], load=replace(cells[0].load, rate_rps=rate_rps))
    trial = SimpleNamespace(trial=SimpleNamespace(launch=SimpleNamespace(cell=ran)))
    return SimpleNamespace(info=SimpleNamespace(experiment=asked, cells=cells), trials=(trial,))


def test_beside_a_baseline_the_head_is_measured_alone_as_that_was() -> None:
    head = head_alone(experiment(load='rate = "40%"'), baseline("40%", 123.0))
    (cell,) = expand(head)
    assert (cell.arm, cell.session.refresh_after_write, cell.load.rate, cell.rate_rps) == ("head", True, None, 123.0)
    assert "target.gc_freeze" not in cell.named
    beside_comparison = baseline("40%", 123.0)
    beside_comparison.info.cells = expand(comparison(experiment(load='rate = "40%"')))
    assert "target.gc_freeze" in expand(head_alone(experiment(), beside_comparison))[0].named
    other = head_alone(experiment(load='rate = "50%"'), baseline("40%", 123.0))
    assert (other.load.rate, other.load.rate_rps) == ("50%", None), "another share is another load"
    assert head.design.launches == 5, "fewer would show no change of a clock"
    said = parse_experiment(
        TEXT.format(arms=ARMS, load="rate_rps = 10", measure_s=10), source="x", overrides=["design.launches=2"]
    )
    assert head_alone(said, baseline("40%", 123.0)).design.launches == 2
    given = head_alone(experiment(arms=""), baseline("40%", 123.0))
    assert [(own.arm, own.rate_rps) for own in expand(given)] == [("", 10.0)]
