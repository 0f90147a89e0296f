"""From what a run recorded to what it says: pure functions, tables in, values out."""

from __future__ import annotations

from harness.analyse.capacity import choose_rate, staircase_capacity_rps
from harness.analyse.certificate import certify
from harness.analyse.coverage import coverage_of
from harness.analyse.launches import ALL, measure_launches
from harness.analyse.metrics import METRICS, compare_by
from harness.analyse.power import smallest_findable
from harness.analyse.priors import prior_of
from harness.analyse.ranking import Kind, kind_of, ranked
from harness.analyse.series import figure_tables
from harness.analyse.summary import P95, compare_percentiles, summarise_cell
from harness.analyse.tables import summary_rows
from harness.analyse.verdict import conclude
from harness.domain.evidence import Run
from harness.domain.verdict import Report, Summary

__all__ = ["analyse", "certify", "choose_rate", "smallest_findable", "staircase_capacity_rps", "summary_rows"]


def analyse(run: Run) -> Report:
    """The report of a run, complete or not: every cell ranked, the verdict, the doubts and the figures' data."""
    measured = measure_launches(run)
    profile = run.info.profile
    slo = run.info.experiment.slo
    percentiles = compare_percentiles(measured.counted, lambda share: prior_of(profile, share))
    unranked = [
        summarise_cell(cell, measured.of(cell.id), measured.excluded_of(cell.id), slo, percentiles)
        for cell in run.info.cells
    ]
    kinds = {summary.cell.id: kind_of(summary) for summary in unranked}
    sound = [launch for launch in measured.counted if kinds[launch.cell_id] == Kind.SOUND]
    others = [launch for launch in measured.counted if kinds[launch.cell_id] != Kind.SOUND]
    by_p95 = compare_by(METRICS["p95_ms"], sound, ALL, prior_of(profile, P95))
    cells, pairs = ranked(unranked, by_p95, compare_by(METRICS["carried_rps"], others))
    summary = Summary(
        cells=cells,
        pairs=pairs,
        verdict=conclude(cells, by_p95, run.info),
        coverage=coverage_of(run, measured),
        certificates=measured.certificates,
    )
    complete = len(run.trials) >= run.planned_trials
    return Report(info=run.info, summary=summary, series=figure_tables(cells, measured), complete=complete)
