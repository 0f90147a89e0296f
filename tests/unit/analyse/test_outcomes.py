"""What a strategy may know of a launch, and how launches that were measured afresh take the place of spoilt ones."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pandas as pd
import pytest

from harness.analyse import analyse, outcome_of
from harness.domain.evidence import TrialEvidence
from harness.domain.experiment import Load, Slo
from harness.domain.load import PILOT_BLOCK, launch_of
from harness.domain.observed import SamplerGap
from harness.present.notes import notes

GAP = SamplerGap(sampler="postgres", t_ns=0, length_s=0.0)
"""It counts wherever it lies."""


def launched(evidence: TrialEvidence, block: int, *, again: bool = False, gap: bool = False) -> TrialEvidence:
    launch = launch_of(evidence.trial.launch.cell, block, again=again)
    trial = replace(evidence.trial, id=launch.id, launch=launch, gaps=(GAP,) if gap else ())
    return replace(evidence, trial=trial)


def test_of_a_launch_that_measures_only_its_instrument_is_known(build: ModuleType) -> None:
    slow, fast = (build.trial(build.cell(1), 1, build.rows([latency_ms] * 50)) for latency_ms in (900.0, 1.0))
    for evidence in (slow, fast):
        sound, spoilt = (outcome_of(launched(evidence, 1, gap=gap), Slo(p95_ms=10.0)) for gap in (False, True))
        assert (sound.broken, sound.sustained_rps) == ((), None)
        assert spoilt.broken == ("sampler_gap",)


def test_of_a_pilot_it_is_what_it_sustained(build: ModuleType) -> None:
    segments = [build.segment(0, phase="staircase", rate_rps=400.0)]
    pilot = build.trial(build.cell(1), PILOT_BLOCK, build.rows([1.0] * 80), segments=segments)
    outcome = outcome_of(launched(pilot, PILOT_BLOCK), Slo())
    assert outcome.sustained_rps == pytest.approx(80 / segments[0].duration_s)


def test_the_rate_and_its_source_come_from_the_pilots(build: ModuleType) -> None:
    asked = build.cell(1, load=Load(rate="60%"))
    ran = replace(asked, load=replace(asked.load, rate_rps=60.0))
    segments = [build.segment(0, phase="staircase", rate_rps=100.0)]
    pilot = launched(build.trial(asked, 0, build.rows([1.0] * 100), segments=segments), PILOT_BLOCK)
    run = build.run([build.trial(ran, 1, build.rows([1.0] * 60))], [asked], pilots=[pilot])
    run = replace(run, info=replace(run.info, experiment=replace(run.info.experiment, load=asked.load)))
    report = analyse(run)
    assert report.chosen_rate is not None
    assert (report.chosen_rate.rate_rps, report.chosen_rate.pilots) == (60.0, 1)
    assert [cell.rate_rps for cell in report.info.cells] == [60.0]
    assert report.summary.coverage.measured == 1


def rows_of(build: ModuleType, latency_ms: float) -> pd.DataFrame:
    return build.rows([latency_ms] * 50)


@pytest.mark.parametrize("spoilt", [0, 1])
def test_fresh_launches_stand_in_the_places_of_a_whole_sitting(build: ModuleType, spoilt: int) -> None:
    cells = [build.cell(1), build.cell(2)]
    first = [
        launched(build.trial(cell, 1, rows_of(build, 50.0)), 1, gap=place == spoilt) for place, cell in enumerate(cells)
    ]
    fresh = [launched(build.trial(cell, 1, rows_of(build, 5.0)), 1, again=True) for cell in cells]
    report = analyse(build.run([*first, *fresh], cells, launches=1))
    assert [cell.all.p95_ms.value for cell in report.summary.cells] == pytest.approx([5.0, 5.0])
    assert [cell.invalid_launches for cell in report.summary.cells] == [0, 0]
    coverage = report.summary.coverage
    assert (coverage.measured, coverage.planned, coverage.replaced) == (2, 2, 2)
    assert coverage.replaced_for == ("sampler_gap",)
    assert report.complete
    assert set(report.summary.certificates) == {"b1-c1", "b1-c2", "b1-c1-again", "b1-c2-again"}
    (note,) = [note for note in notes(report) if "measured again" in note]
    assert note.startswith("2 launches were measured again, since an instrument failed beside them (sampler_gap)")


def test_a_fresh_launch_that_is_spoilt_too_feeds_no_figure(build: ModuleType) -> None:
    evidence = build.trial(build.cell(1), 1, rows_of(build, 50.0))
    trials = [launched(evidence, 1, gap=True), launched(evidence, 1, again=True, gap=True)]
    (cell,) = analyse(build.run(trials, launches=1)).summary.cells
    assert (cell.valid, cell.invalid_launches, cell.findings) == (False, 1, ("sampler_gap",))
