"""The report: one HTML file that needs no network and no JavaScript, on screen, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.domain.capacity import CellCapacity
from harness.domain.capacity_plan import CapacityPlan
from harness.domain.evidence import RunInfo
from harness.domain.tune import Tuning
from harness.domain.verdict import CellSummary, EndpointSummary, Report
from harness.present import numbers, view
from harness.present.binding_text import binding_lines, binding_rows
from harness.present.budget import budget_lines
from harness.present.capacity_plan import assumptions, cell_rows, measured_facts, next_facts, plan_text, situation_rows
from harness.present.capacity_text import capacity_text, left_out_text, step_rows
from harness.present.findings import findings, own_findings, reasons, reasons_of
from harness.present.gate_text import part_rows, rule_rows
from harness.present.holders import holder_rows, holder_texts, site_rows
from harness.present.notes import notes
from harness.present.phrases import PARTIAL, failures_text, logged_text, verdict_text
from harness.present.prediction_text import curve_texts, curve_title, size_rows
from harness.present.tune_text import paste_line, tune_lines, tune_text, tuned_rows

if TYPE_CHECKING:
    from jinja2 import Template

    from harness.present.figures import Picture

_IN_A_SECTION = ("outcomes", "holds", "prediction")
"""Figures that stand in the sections on errors and drops, holders and other sizes of the pool; all others come in one
sequence before them."""


def render_html(report: Report) -> bytes:
    """The whole report as one UTF-8 file."""
    pictures = _pictures(report)
    page = _template("report.html.j2").render(
        report=report,
        info=report.info,
        summary=report.summary,
        verdict=verdict_text(report),
        partial=PARTIAL,
        chosen=view.chosen_cell(report.summary),
        notes=notes(report),
        facts=view.facts(report),
        rules=[] if report.gate is None else rule_rows(report.gate),
        parts=[] if report.gate is None else part_rows(report.gate),
        binding=tuple(binding_lines(report)),
        binding_rows=binding_rows(report),
        pictures=[picture for name, picture in pictures.items() if name not in _IN_A_SECTION],
        prediction_picture=pictures["prediction"],
        curves=[(curve_title(curve), tuple(curve_texts(curve)), size_rows(curve)) for curve in report.curves],
        outcomes=pictures["outcomes"],
        holders=holder_texts(report),
        holders_picture=pictures["holds"],
        holder_rows=holder_rows(report),
        site_rows=site_rows(report),
        outcome_rows=tuple(_cell_rows(report, "outcomes")),
        exact_rows=tuple(_cell_rows(report, "exact")),
        promises=view.promises(report),
        endpoint_rows=tuple(_endpoint_rows(report)),
        applied=view.applied_rows(report),
        invalid=tuple(reasons(report, "instrument")),
        found=tuple(reasons(report, "finding")),
        meanings=tuple(findings(report)),
        fingerprint=view.fingerprint(report.info.environment),
        models={cell.load.model for cell in report.info.cells},
        started={cell.takes_settings for cell in report.info.cells},
    )
    return page.encode("utf-8")


def render_capacity(info: RunInfo, cells: Sequence[CellCapacity]) -> bytes:
    """The report of a search for a capacity, as one UTF-8 file."""
    from harness.present.figures.capacity import capacity_figure, shown_percentile

    experiment = info.experiment
    page = _template("capacity.html.j2").render(
        info=info,
        texts=[capacity_text(cell, experiment) for cell in cells],
        percentile=shown_percentile(experiment.slo),
        svg=capacity_figure(cells, experiment.slo),
        rows=step_rows(cells),
        **_certified(cells),
        fingerprint=view.fingerprint(info.environment),
    )
    return page.encode("utf-8")


def render_plan(info: RunInfo, plan: CapacityPlan) -> bytes:
    """A capacity plan, as one UTF-8 file."""
    from harness.present.figures.capacity import capacity_figure, connections_figure, shown_percentile

    experiment, fleet = info.experiment, plan.best
    page = _template("capacity_plan.html.j2").render(
        info=info,
        answer=plan_text(plan, experiment),
        peak=plan.wanted.peak_rps,
        limit=plan.wanted.limits.max_connections,
        pooler=fleet is not None and fleet.budget.clients is not None,
        situations=[] if fleet is None else situation_rows(fleet),
        cells=cell_rows(plan, experiment),
        budget=[] if fleet is None else list(budget_lines(fleet.budget)),
        binds=next_facts(plan, info),
        facts=measured_facts(plan, info),
        percentile=shown_percentile(experiment.slo),
        latency_svg=capacity_figure(plan.cells, experiment.slo),
        connections_svg=connections_figure(plan.cells),
        assumptions=assumptions(plan, info),
        rows=step_rows(plan.cells),
        **_certified(plan.cells),
        fingerprint=view.fingerprint(info.environment),
    )
    return page.encode("utf-8")


def render_tune(info: RunInfo, tuning: Tuning) -> bytes:
    """The report of a tune, as one UTF-8 file."""
    from harness.present.figures.tune import tune_figure

    labels = {cell.id: cell.label for cell in info.cells}
    invalid, found = (tuple(reasons_of(tuning.certificates, labels, kind)) for kind in ("instrument", "finding"))
    page = _template("tune.html.j2").render(
        info=info,
        answer=tune_text(tuning, info.experiment),
        line="" if tuning.recommended is None else paste_line(tuning.recommended),
        lines=list(tune_lines(tuning)),
        svg=tune_figure(tuning),
        rows=tuned_rows(tuning),
        launches=len(tuning.certificates),
        invalid=invalid,
        found=found,
        left_out="Blocks with these launches were no looks, since what measures failed.",
        fingerprint=view.fingerprint(info.environment),
    )
    return page.encode("utf-8")


def _certified(cells: Sequence[CellCapacity]) -> dict[str, Any]:
    """What the certificates of a search's launches say, for its templates."""
    certificates = {trial: own for cell in cells for trial, own in cell.certificates.items()}
    labels = {cell.cell.id: cell.cell.label for cell in cells}
    invalid, found = (tuple(reasons_of(certificates, labels, kind)) for kind in ("instrument", "finding"))
    return {"launches": len(certificates), "invalid": invalid, "found": found, "left_out": left_out_text(cells)}


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness.present", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=numbers.number,
        count=numbers.count,
        percent=numbers.percent,
        interval=numbers.interval,
        estimate=numbers.estimate_text,
        promise=numbers.promise_word,
        rank=view.rank_text,
        ties=view.ties_text,
        peak=view.peak_text,
        failures=failures_text,
        logged=logged_text,
        findings=own_findings,
    )
    return environment.get_template(name)


def _pictures(report: Report) -> dict[str, Picture]:
    from harness.present.figures import FIGURES, draw

    return {kind.series: draw(kind, report) for kind in FIGURES}


def _cell_rows(report: Report, series: str) -> Iterator[tuple[CellSummary, dict[str, Any]]]:
    """Each cell with its row of a series that has one row a cell, as far as the analysis counted anything."""
    frame = report.series.get(series)
    if frame is None or frame.empty:
        return
    counted = view.by_cell(frame)
    for cell in view.seen_cells(report, frame):
        yield cell, counted[cell.cell.id]


def _endpoint_rows(report: Report) -> Iterator[tuple[CellSummary, EndpointSummary]]:
    for cell in report.summary.cells:
        for endpoint in cell.endpoints:
            yield cell, endpoint
