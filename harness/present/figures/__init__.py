"""The report's figures: each draws one frame of `Report.series`, and is left out where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.domain.verdict import Report
from harness.present.figures.holders import holders
from harness.present.figures.latency import latency_cdf, latency_over_time, latency_percentiles
from harness.present.figures.load import breakdown, connections, outcomes
from harness.present.figures.prediction import prediction
from harness.present.figures.style import house_style, to_svg
from harness.present.prediction_text import WHY_DECLINED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureKind:
    """A figure of the report: the series it draws, its title, and the sentence below it."""

    series: str
    title: str
    caption: str
    draw: Callable[[Report, pd.DataFrame], Figure | None]
    missing: Callable[[Report], str]
    """what is said instead when there is nothing to draw"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawn figure, or the sentence that stands in its place when `svg` is empty."""

    kind: FigureKind
    svg: str
    missing: str


def _nothing_counts(report: Report) -> str:
    """Why no launch feeds any figure, as the end of a sentence; "" where one does."""
    if any(cell.valid for cell in report.summary.cells):
        return ""
    return "no launch is valid." if report.summary.certificates else "no launch is complete."


def _no_latency(report: Report) -> str:
    return f"There is no latency to show: {_nothing_counts(report) or 'no arrival was measured.'}"


def _no_connections(report: Report) -> str:
    if why := _nothing_counts(report):
        return f"There are no connections to show: {why}"
    if not any(cell.takes_settings for cell in report.info.cells):
        return "Connections could not be seen: the service ran already, and its database is its own."
    return "Connections could not be seen: pg_stat_activity gave nothing."


def _no_breakdown(report: Report) -> str:
    if why := _nothing_counts(report):
        return f"There is no latency to divide: {why}"
    if not any(cell.takes_settings for cell in report.info.cells):
        return "Pool wait could not be seen: the service ran already, without the probe."
    if not report.info.experiment.observe.probe:
        return "Pool wait could not be seen: the target ran without the probe."
    return "Pool wait could not be seen: no good answer carried the probe's figures."


def _no_holds(report: Report) -> str:
    if why := _nothing_counts(report):
        return f"Nobody is known to have held a connection: {why}"
    if not any(cell.takes_settings for cell in report.info.cells):
        return "Who held connections could not be seen: the service ran already, without the probe."
    if not report.info.experiment.observe.probe:
        return "Who held connections could not be seen: the target ran without the probe."
    return "No request had a connection of a pool that the probe can see."


def _no_prediction(report: Report) -> str:
    if why := _nothing_counts(report):
        return f"Nothing can be predicted: {why}"
    why_each = dict.fromkeys(
        declined
        for curve in report.curves
        for declined in (curve.declined, *(own.declined for own in curve.predicted))
        if declined is not None
    )
    return f"Nothing is predicted: {'; '.join(WHY_DECLINED[why] for why in why_each) or 'sides are compared'}."


def _no_failures(report: Report) -> str:
    why = _nothing_counts(report)
    return f"There are no arrivals to show: {why}" if why else "No arrival failed: no errors, timeouts or drops."


FIGURES: tuple[FigureKind, ...] = (
    FigureKind(
        series="latency_percentiles",
        title="Latency percentiles by cell",
        caption="Each dot is a percentile of what was offered, a bar through it the 95 % interval over launches where "
        "there is one; further left is better. The table says which cells are told apart, not the bars' overlap.",
        draw=latency_percentiles,
        missing=_no_latency,
    ),
    FigureKind(
        series="latency_cdf",
        title="The whole distribution, tail stretched",
        caption="The share of arrivals answered within a time: a panel's own cell in blue, others in grey behind it; "
        "a curve that ends below the top is one whose remaining arrivals failed.",
        draw=latency_cdf,
        missing=_no_latency,
    ),
    FigureKind(
        series="latency_over_time",
        title="Latency over time",
        caption="Median and 95th percentile as the measurement went on: a level line is a steady state, "
        "one that keeps rising may be a queue that grows.",
        draw=latency_over_time,
        missing=_no_latency,
    ),
    FigureKind(
        series="connections",
        title="Connections by state",
        caption="What Postgres saw of each cell's connections in the launch in the middle by p95, with the limits that "
        "settings ask for and the server sets; an arrow names a limit above a panel's scale.",
        draw=connections,
        missing=_no_connections,
    ),
    FigureKind(
        series="breakdown",
        title="Pool wait as a share of latency",
        caption="Where the mean latency was spent; a long hatched part is time lost before the query even started.",
        draw=breakdown,
        missing=_no_breakdown,
    ),
    FigureKind(
        series="holds",
        title="Who holds the connections",
        caption="Connections that an endpoint has out on average and gives back, by what is done with them, and how "
        "long each is held; outside of the blue part nothing is asked of the database. The five endpoints with most.",
        draw=holders,
        missing=_no_holds,
    ),
    FigureKind(
        series="prediction",
        title="What other sizes of the pool would come to",
        caption="The requests of one measured cell sent through pools of other sizes, by an exact simulation; dots are "
        "measured cells, the hollow one what the curve was made from, a triangle one in which too many failed. "
        "Erlang's C takes holds to be exponential, and the queue to have been there for ever.",
        draw=prediction,
        missing=_no_prediction,
    ),
    FigureKind(
        series="outcomes",
        title="Share of arrivals that failed",
        caption="The share of offered arrivals that got no good answer, by what happened to them.",
        draw=outcomes,
        missing=_no_failures,
    ),
)


def draw(kind: FigureKind, report: Report) -> Picture:
    """One figure as SVG; empty when its series is missing, empty, or not worth a picture."""
    frame = report.series.get(kind.series)
    if frame is None or frame.empty:
        return Picture(kind=kind, svg="", missing=kind.missing(report))
    with house_style(salt=kind.series):
        figure = kind.draw(report, frame)
        return Picture(
            kind=kind, svg="" if figure is None else to_svg(figure), missing="" if figure else kind.missing(report)
        )
