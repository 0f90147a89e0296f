"""From what a run recorded to what it says: pure functions, tables in, values out."""

from __future__ import annotations

from harness.analyse.capacity import choose_rate, staircase_capacity_rps
from harness.analyse.certificate import certify
from harness.analyse.launches import measure_launches
from harness.analyse.notes import doubts
from harness.analyse.ranking import ranked
from harness.analyse.series import figure_tables
from harness.analyse.summary import summarise_cell
from harness.analyse.tables import summary_rows
from harness.analyse.verdict import conclude
from harness.domain.evidence import Run
from harness.domain.verdict import Report, Summary

__all__ = ["analyse", "certify", "choose_rate", "staircase_capacity_rps", "summary_rows"]


def analyse(run: Run) -> Report:
    """The report of a run, complete or not: every cell ranked, the verdict, the doubts and the figures' data."""
    measured = measure_launches(run)
    slo = run.info.experiment.slo
    unranked = [
        summarise_cell(cell, measured.of(cell.id), measured.excluded_of(cell.id), slo) for cell in run.info.cells
    ]
    cells = ranked(unranked, measured.counted)
    summary = Summary(
        cells=cells,
        verdict=conclude(cells, measured, run.info),
        notes=doubts(run, cells, measured),
        certificates={evidence.trial.id: evidence.trial.certificate for evidence in run.trials} | measured.certificates,
    )
    complete = len(run.trials) >= run.planned_trials
    return Report(info=run.info, summary=summary, series=figure_tables(cells, measured), complete=complete)
