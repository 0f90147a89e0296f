"""What other sizes of the pool would come to, with the measured cells on it: a panel for each load."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from matplotlib.lines import Line2D

from harness.domain.prediction import Curve
from harness.domain.verdict import Report
from harness.present.figures import style
from harness.present.figures.latency import plain_log
from harness.present.figures.style import BLUE, INK, MUTED, ORANGE, PAPER
from harness.present.prediction_text import curve_title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_MS = 1.0
"""Waits below are drawn here."""
MOST_PANELS = 12
_LINES: tuple[tuple[str, str, Literal["-", "--"], str], ...] = (
    ("latency_ms", BLUE, "-", "latency, predicted"),
    ("wait_ms", ORANGE, "-", "wait for a connection, predicted"),
    ("erlang_ms", MUTED, "--", "wait by Erlang's C"),
)


def prediction(report: Report, frame: pd.DataFrame) -> Figure:
    """Predicted p95 of latency and wait by the connections of a worker; measured cells as marks."""
    from matplotlib.ticker import MaxNLocator

    places = frame["curve"].unique()[:MOST_PANELS]
    panels = style.Panels([curve_title(report.curves[place]) for place in places], height_in=1.9, gap_in=0.5)
    for index, (place, axes) in enumerate(zip(places, panels, strict=True)):
        _draw(axes, report.curves[place], frame[frame["curve"] == place])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there are no half connections
        if panels.is_left(index):
            axes.set_ylabel("p95, ms")
        if panels.is_bottom(index):
            axes.set_xlabel("connections of a worker")
    panels.legend(
        [
            *(Line2D([], [], color=colour, linestyle=dash, label=label) for _, colour, dash, label in _LINES),
            Line2D([], [], color=INK, marker="o", linestyle="", markersize=5, label="latency, measured"),
        ]
    )
    return panels.figure


def _draw(axes: Axes, curve: Curve, own: pd.DataFrame) -> None:
    measured = [(point, point.latency_ms_p95) for point in curve.points]
    seen = [*own["latency_ms"], *(ms for _, ms in measured)]
    top_ms = 1.6 * max((ms for ms in seen if math.isfinite(ms)), default=1.0)
    axes.set_yscale("log")
    axes.set_ylim(LEAST_MS, top_ms)
    plain_log(axes, "y")
    for column, colour, dash, _ in _LINES:
        values = own[column].clip(lower=LEAST_MS).replace(math.inf, math.nan)
        axes.plot(own["connections"], values, dash, color=colour, linewidth=1.4, marker=".", markersize=3, gid=column)
    for point, latency_ms in measured:
        failed = not math.isfinite(latency_ms)
        axes.plot(
            [point.predicted.setting.connections],
            [0.97 * top_ms if failed else latency_ms],
            marker="^" if failed else "o",
            markerfacecolor=PAPER if point.is_source else INK,
            markeredgecolor=INK,
            markersize=5,
            linestyle="",
            clip_on=False,
            gid="measured",
        )
    axes.set_xlim(left=0)
    axes.grid(visible=True)
