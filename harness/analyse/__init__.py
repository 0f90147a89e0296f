"""From what a run recorded to what it says: pure functions, tables in, values out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.analyse.budget import weigh
from harness.analyse.capacity import capacities
from harness.analyse.capacity_plan import plan_capacity
from harness.analyse.certificate import certify
from harness.analyse.claims import agreed, check_claim, recorded, settle
from harness.analyse.coverage import coverage_of
from harness.analyse.gate import blocks_wanted, judge, smallest_visible_before
from harness.analyse.judges import judges_of
from harness.analyse.launch_rows import launch_rows
from harness.analyse.launches import Launches, measure_launches
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS, compare_by
from harness.analyse.outcome import outcome_of
from harness.analyse.parts import parts_of
from harness.analyse.power import smallest_findable
from harness.analyse.priors import prior_of
from harness.analyse.probe_user import with_probe_user
from harness.analyse.ranking import Kind, kind_of, ranked
from harness.analyse.runs import (
    as_measured,
    compare_runs,
    outcomes_of,
    refuse_unlike,
    sides_are_alike,
    unknown_endpoints,
)
from harness.analyse.series import figure_tables
from harness.analyse.statistical_rule import FIRST_BLOCKS
from harness.analyse.summary import P95, compare_percentiles, summarise_cell
from harness.analyse.tables import summary_rows
from harness.analyse.tuning import fits, next_launches, tuned, tuned_keys
from harness.analyse.verdict import conclude
from harness.analyse.whatif_run import curves
from harness.domain.evidence import Run
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, GateVerdict
from harness.domain.prediction import Asked, Curve
from harness.domain.rate import chosen_rate
from harness.domain.verdict import CellSummary, Report, Summary

__all__ = [
    "FIRST_BLOCKS",
    "agreed",
    "analyse",
    "as_measured",
    "blocks_wanted",
    "capacities",
    "certify",
    "check_claim",
    "compare_runs",
    "fits",
    "judge",
    "judges_of",
    "launch_rows",
    "next_launches",
    "outcome_of",
    "plan_capacity",
    "predict_run",
    "recorded",
    "refuse_unlike",
    "settle",
    "smallest_findable",
    "smallest_visible_before",
    "summary_rows",
    "tuned",
    "tuned_keys",
    "weigh",
]


def analyse(run: Run) -> Report:
    """The report of a run, complete or not: every cell ranked, the verdict, the doubts and the figures' data."""
    measured = measure_launches(run)
    info = replace(run.info, cells=as_measured(run))
    profile = run.info.profile
    slo = run.info.experiment.slo
    judged = _gate(run, measured) if run.info.strategy == "two_stage" else None
    percentiles = compare_percentiles(measured.counted, lambda share: prior_of(profile, share))
    unranked = [
        with_probe_user(
            summarise_cell(cell, measured.of(cell.id), measured.excluded_of(cell.id), slo, percentiles),
            run.info.experiment.probe_user,
            measured.of(cell.id),
        )
        for cell in info.cells
    ]
    kinds = {summary.cell.id: kind_of(summary) for summary in unranked}
    sound = [launch for launch in measured.counted if kinds[launch.cell_id] == Kind.SOUND]
    others = [launch for launch in measured.counted if kinds[launch.cell_id] != Kind.SOUND]
    by_p95 = compare_by(METRICS["p95_ms"], sound, ALL, prior_of(profile, P95))
    cells, pairs = ranked(unranked, by_p95, compare_by(METRICS["carried_rps"], others))
    summary = Summary(
        cells=cells,
        pairs=pairs,
        verdict=conclude(cells, by_p95, info),
        coverage=coverage_of(run, measured, run.planned_trials if judged is None else _planned(run, judged)),
        certificates=measured.certificates,
    )
    predicted = () if judged is not None else curves(run, measured)
    return Report(
        info=info,
        summary=summary,
        series=figure_tables(cells, measured, predicted),
        curves=predicted,
        complete=summary.coverage.measured >= summary.coverage.planned,
        gate=None if judged is None else replace(judged, saturated=_saturated(cells)),
        chosen_rate=chosen_rate(run.info.experiment, info.cells, [outcome_of(pilot, slo) for pilot in run.pilots]),
    )


def predict_run(run: Run, asked: Asked) -> tuple[Curve, ...]:
    """What the cells of a run would come to in other settings."""
    return curves(run, measure_launches(run), asked)


def _gate(run: Run, measured: Launches) -> GateVerdict:
    """What the two sides of a comparison come to."""
    experiment = run.info.experiment
    verdict = judge(
        experiment.gate,
        outcomes_of(measured.counted, experiment.gate),
        most=experiment.design.launches,
        identical=sides_are_alike(run),
    )
    return replace(
        verdict,
        parts=parts_of(measured.counted),
        unknown_endpoints=unknown_endpoints(experiment.gate, measured.counted),
    )


def _saturated(cells: Sequence[CellSummary]) -> tuple[str, ...]:
    """Sides of which a cell is; the base's second measurement is the base."""
    saturated = {cell.cell.arm for cell in cells if cell.saturated}
    return tuple(side for side, arms in ((BASE, {BASE, BASE_AGAIN}), (HEAD, {HEAD})) if arms & saturated)


def _planned(run: Run, judged: GateVerdict) -> int:
    """Launches of a comparison: as many as its first stage turned out to need, and as many again after an alarm."""
    return len(run.info.cells) * judged.planned_blocks
