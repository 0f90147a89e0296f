"""A search for a capacity, launch by launch: latency against offered load, and connections by state against it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.domain.capacity import CellCapacity, MeasuredStep
from harness.domain.experiment import Slo
from harness.present.figures import style
from harness.present.figures.latency import plain_log
from harness.present.figures.load import STATES
from harness.present.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, RED

_LOOKS = {
    "pass": (GREEN, "o", "meets the SLO"),
    "fail": (RED, "X", "does not"),
    "unsettled": (ORANGE, "s", "not settled"),
}
_HEIGHT_IN = 2.2


def shown_percentile(slo: Slo) -> str:
    """The percentile to draw: the one that is promised of everything, p95 where several or none are."""
    return next((name for name in ("p95", "p99", "p50") if getattr(slo, f"{name}_ms") is not None), "p95")


def capacity_figure(cells: Sequence[CellCapacity], slo: Slo) -> str:
    """A panel per cell as one SVG, latency against offered load; empty where nothing was measured."""
    measured = [cell for cell in cells if cell.steps]
    if not measured:
        return ""
    key = f"{shown_percentile(slo)}_ms"
    limit_ms: float | None = getattr(slo, key)
    with style.house_style(salt="capacity"):
        panels = style.Panels([cell.cell.label for cell in measured], height_in=_HEIGHT_IN, gap_in=0.5)
        known = [ms for cell in measured for step in cell.steps if math.isfinite(ms := getattr(step, key))]
        top_ms = 1.6 * max([*known, limit_ms or 1.0])
        bottom_ms = 0.7 * min([*known, limit_ms or top_ms])
        for index, (cell, axes) in enumerate(zip(measured, panels, strict=True)):
            axes.set_yscale("log")
            axes.set_ylim(bottom_ms, top_ms)
            plain_log(axes, "y")
            _offered(axes, cell)
            if len(bracket := _bracket(cell)) == 2:
                axes.axvspan(*bracket, color=BLUE, alpha=0.15, linewidth=0)
            _limit(axes, limit_ms)
            for step in cell.steps:
                _mark(axes, step, getattr(step, key), top_ms)
            if panels.is_left(index):
                axes.set_ylabel(f"{shown_percentile(slo)}, ms")
            if panels.is_bottom(index):
                axes.set_xlabel("offered, arrivals/s")
        panels.legend(
            [
                Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=label)
                for colour, marker, label in _LOOKS.values()
            ]
        )
        return style.to_svg(panels.figure)


def connections_figure(cells: Sequence[CellCapacity]) -> str:
    """A panel per cell as one SVG, connections by state against offered load; empty where nobody looked at them."""
    seen = [cell for cell in cells if any(step.connections for step in cell.steps)]
    if not seen:
        return ""
    with style.house_style(salt="capacity-connections"):
        panels = style.Panels([cell.cell.label for cell in seen], height_in=_HEIGHT_IN, gap_in=0.5)
        for index, (cell, axes) in enumerate(zip(seen, panels, strict=True)):
            _stacked(axes, cell)
            _offered(axes, cell)
            for rate_rps in _bracket(cell):
                axes.axvline(rate_rps, color=INK, linewidth=0.9, linestyle=":")
            if panels.is_left(index):
                axes.set_ylabel("connections, mean")
            if panels.is_bottom(index):
                axes.set_xlabel("offered, arrivals/s")
        drawn = {state for cell in seen for step in cell.steps for state in step.connections}
        panels.legend(style.patches([look for look in STATES if look[0] in drawn]))
        return style.to_svg(panels.figure)


def _offered(axes: Axes, cell: CellCapacity) -> None:
    axes.set_xlim(0, 1.12 * max(step.rate_rps for step in cell.steps))


def _bracket(cell: CellCapacity) -> list[float]:
    """The two rates that were shown, as far as they were."""
    found = cell.found
    return [] if found is None else [own for own in (found.highest_pass_rps, found.lowest_fail_rps) if own is not None]


def _limit(axes: Axes, limit_ms: float | None) -> None:
    if limit_ms is not None:
        axes.axhline(limit_ms, color=INK, linewidth=0.9, linestyle="--")
        label = axes.text(0.01, limit_ms, " SLO", transform=axes.get_yaxis_transform(), va="bottom", color=INK)
        label.set_fontsize(style.SMALL_PT)


def _mark(axes: Axes, step: MeasuredStep, latency_ms: float, top_ms: float) -> None:
    colour, marker, _ = _LOOKS[step.result]
    infinite = not math.isfinite(latency_ms)
    axes.plot(
        [step.rate_rps],
        [top_ms * 0.97 if infinite else latency_ms],
        marker="^" if infinite else marker,
        color=colour,
        markersize=6 if step.role == "confirm" else 4.5,
        markeredgecolor=INK if step.role == "confirm" else MUTED,
        markeredgewidth=0.6,
        linestyle="",
        clip_on=False,
    )


def _stacked(axes: Axes, cell: CellCapacity) -> None:
    """Means over the launches at each rate, stacked, with what the replica's pools may open at most."""
    by_rate = sorted((step for step in cell.steps if step.connections), key=lambda step: step.rate_rps)
    rates, means = [], []
    for rate_rps, steps in groupby(by_rate, key=lambda step: step.rate_rps):
        launches = [step.connections for step in steps]
        rates.append(rate_rps)
        means.append([sum(own.get(state, 0.0) for own in launches) / len(launches) for state, _, _ in STATES])
    bands = axes.stackplot(
        rates, list(zip(*means, strict=True)), colors=[colour for _, colour, _ in STATES], edgecolor=PAPER, linewidth=0
    )
    for band, (_, _, hatch) in zip(bands, STATES, strict=True):
        band.set_hatch(hatch)
    highest = max(map(sum, means))
    if cell.replica is not None and not cell.replica.pgbouncer:
        most = cell.replica.connections(1)
        axes.axhline(most, color=INK, linewidth=0.9)
        highest = max(highest, most)
        label = axes.text(0.99, most, f"at most {most}", transform=axes.get_yaxis_transform(), ha="right", va="bottom")
        style.halo(label).set_fontsize(style.SMALL_PT)
    axes.set_ylim(0, 1.15 * highest)
