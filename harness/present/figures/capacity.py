"""Latency against offered load: each launch of a search, the limit that is promised, and the bracket that was found."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.domain.capacity import CellCapacity
from harness.domain.experiment import Slo
from harness.present.figures import style
from harness.present.figures.latency import plain_log
from harness.present.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, RED

_LOOKS = {
    "pass": (GREEN, "o", "meets the SLO"),
    "fail": (RED, "X", "does not"),
    "unsettled": (ORANGE, "s", "not settled"),
}


def capacity_figure(cells: Sequence[CellCapacity], slo: Slo) -> str:
    """A panel per cell as one SVG; empty where nothing was measured."""
    measured = [cell for cell in cells if cell.steps]
    if not measured:
        return ""
    with style.house_style(salt="capacity"):
        panels = style.Panels([cell.cell.label for cell in measured], height_in=2.2, gap_in=0.5)
        finite = [step.p95_ms for cell in measured for step in cell.steps if math.isfinite(step.p95_ms)]
        top_ms = 1.6 * max([*finite, slo.p95_ms or 1.0])
        bottom_ms = 0.7 * min([*finite, slo.p95_ms or top_ms])
        for index, (cell, axes) in enumerate(zip(measured, panels, strict=True)):
            _panel(axes, cell, slo, bottom_ms, top_ms)
            if panels.is_left(index):
                axes.set_ylabel("p95, ms")
            if panels.is_bottom(index):
                axes.set_xlabel("offered, arrivals/s")
        panels.legend(
            [
                Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=label)
                for colour, marker, label in _LOOKS.values()
            ]
        )
        return style.to_svg(panels.figure)


def _panel(axes: Axes, cell: CellCapacity, slo: Slo, bottom_ms: float, top_ms: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(bottom_ms, top_ms)
    plain_log(axes, "y")
    axes.set_xlim(0, 1.12 * max(step.rate_rps for step in cell.steps))
    if slo.p95_ms is not None:
        axes.axhline(slo.p95_ms, color=INK, linewidth=0.9, linestyle="--")
        label = axes.text(0.01, slo.p95_ms, " SLO", transform=axes.get_yaxis_transform(), va="bottom", color=INK)
        label.set_fontsize(style.SMALL_PT)
    found = cell.found
    if found is not None and found.highest_pass_rps is not None and found.lowest_fail_rps is not None:
        axes.axvspan(found.highest_pass_rps, found.lowest_fail_rps, color=BLUE, alpha=0.15, linewidth=0)
    for step in cell.steps:
        colour, marker, _ = _LOOKS[step.result]
        infinite = not math.isfinite(step.p95_ms)
        axes.plot(
            [step.rate_rps],
            [top_ms * 0.97 if infinite else step.p95_ms],
            marker="^" if infinite else marker,
            color=colour,
            markersize=6 if step.role == "confirm" else 4.5,
            markeredgecolor=INK if step.role == "confirm" else MUTED,
            markeredgewidth=0.6,
            linestyle="",
            clip_on=False,
        )
