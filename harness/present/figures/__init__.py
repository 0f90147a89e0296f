"""The report's figures: each draws one frame of `Report.series`, and is left out where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.domain.verdict import Report
from harness.present.figures.latency import latency_cdf, latency_over_time, latency_percentiles
from harness.present.figures.load import breakdown, connections, outcomes
from harness.present.figures.style import house_style, to_svg

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
    missing: str
    """what is said instead when there is no data"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawn figure, or the sentence that stands in its place when `svg` is empty."""

    kind: FigureKind
    svg: str


FIGURES: tuple[FigureKind, ...] = (
    FigureKind(
        series="latency_percentiles",
        title="Latency percentiles by cell",
        caption="Each dot is a percentile of offered arrivals and the bar through it the 95 % interval over launches; "
        "further left is better, and bars that overlap leave the order open.",
        draw=latency_percentiles,
        missing="There is no latency to show: no arrival was measured.",
    ),
    FigureKind(
        series="latency_cdf",
        title="The whole distribution, tail stretched",
        caption="The share of arrivals answered within a time, this cell in blue and others behind it in grey; "
        "a curve that ends below the top is one whose remaining arrivals failed.",
        draw=latency_cdf,
        missing="There is no latency to show: no arrival was measured.",
    ),
    FigureKind(
        series="latency_over_time",
        title="Latency over time",
        caption="Median and 95th percentile as the measurement went on: a level line is a steady state, "
        "a rising one a queue that grows.",
        draw=latency_over_time,
        missing="There is no latency to show: no arrival was measured.",
    ),
    FigureKind(
        series="connections",
        title="Connections by state",
        caption="What Postgres saw of each cell's connections, with the limits that apply; "
        "every panel has its own scale, and an arrow names a limit above it.",
        draw=connections,
        missing="Connections could not be seen: pg_stat_activity was not sampled.",
    ),
    FigureKind(
        series="breakdown",
        title="Pool wait as a share of latency",
        caption="Where the mean latency was spent; a long hatched part is time lost before the query even started.",
        draw=breakdown,
        missing="Pool wait could not be seen: the target ran without the probe.",
    ),
    FigureKind(
        series="outcomes",
        title="Share of arrivals that failed",
        caption="The share of offered arrivals that got no good answer, by what happened to them.",
        draw=outcomes,
        missing="Every offered arrival was answered: no errors, timeouts or drops.",
    ),
)


def draw(kind: FigureKind, report: Report) -> Picture:
    """One figure as SVG; empty when its series is missing, empty, or not worth a picture."""
    frame = report.series.get(kind.series)
    if frame is None or frame.empty:
        return Picture(kind=kind, svg="")
    with house_style(salt=kind.series):
        figure = kind.draw(report, frame)
        return Picture(kind=kind, svg="" if figure is None else to_svg(figure))
