"""Figures about latency: percentiles by cell, the whole distribution, and how it went over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from harness.domain.verdict import CellSummary, Report
from harness.present.figures import style
from harness.present.figures.style import BLUE, GRID, INK, MUTED, RED
from harness.present.numbers import number, percent
from harness.present.view import by_cell, seen_cells, titled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_LOG_ABOVE = 8.0
"""Ratio of the largest to the smallest figure above which an axis turns logarithmic."""
_CROWD = 12
"""Cells above which only the best one's curve stands behind each cell's own."""
_TAIL_TICKS = (0.0, 0.5, 0.9, 0.99, 0.999)


def latency_percentiles(report: Report, frame: pd.DataFrame) -> Figure:
    """A panel per percentile, a row per cell: dot and interval; what failed too often stands at the right edge."""
    cells = seen_cells(report, frame)
    percentiles = sorted(frame["percentile"].unique())
    rows = style.Rows([titled(cell) for cell in cells], top_in=0.3, bottom_in=0.45, row_in=0.36)
    gap_in = 0.28
    width_in = (style.WIDTH_IN - rows.LEFT_IN - 0.15 - gap_in * (len(percentiles) - 1)) / len(percentiles)
    for column, percentile in enumerate(percentiles):
        axes = rows.panel(rows.LEFT_IN + column * (width_in + gap_in), width_in, labelled=column == 0)
        axes.set_title(f"p{percentile:g}", loc="left", fontsize=style.TEXT_PT, fontweight="bold")
        axes.set_xlabel("latency, ms")
        _percentile_panel(axes, cells, frame[frame["percentile"] == percentile])
    return rows.figure


def latency_cdf(report: Report, frame: pd.DataFrame) -> Figure:
    """A panel per cell: its own distribution in colour before the others in grey, tail stretched out."""
    cells = seen_cells(report, frame)
    curves = {cell.cell.id: _tail_curve(frame[frame["cell_id"] == cell.cell.id]) for cell in cells}
    behind = list(curves)[: None if len(cells) <= _CROWD else 1]
    panels = style.Panels([titled(cell) for cell in cells], height_in=1.45, gap_in=0.3, legend=False)
    low, high = _span(np.concatenate([latency for latency, _ in curves.values()]))
    for index, (cell, axes) in enumerate(zip(cells, panels, strict=True)):
        for other in behind:
            if other != cell.cell.id:
                axes.plot(*curves[other], color=MUTED, linewidth=0.6, alpha=0.45)
        axes.plot(*curves[cell.cell.id], color=BLUE, linewidth=1.8, gid="own")
        axes.set_xscale("log")
        axes.set_xlim(low / 1.1, high * 1.1)
        plain_log(axes, "x")
        axes.set_ylim(0, -math.log10(1 - _TAIL_TICKS[-1]) * 1.04)
        axes.set_yticks([_stretch(share) for share in _TAIL_TICKS])
        axes.set_yticklabels([f"{share * 100:g} %" for share in _TAIL_TICKS] if panels.is_left(index) else [])
        axes.grid(visible=True)
        if panels.is_bottom(index):
            axes.set_xlabel("answered within, ms")
    return panels.figure


def latency_over_time(report: Report, frame: pd.DataFrame) -> Figure:
    """A panel per cell: p50 and p95 second by second, all on one scale."""
    from matplotlib.lines import Line2D

    cells = seen_cells(report, frame)
    panels = style.Panels([titled(cell) for cell in cells], height_in=1.15, gap_in=0.3)
    low, high = _span(frame[["p50_ms", "p95_ms"]].to_numpy(dtype=float).ravel())
    wide = high / low > _LOG_ABOVE
    first_s = min(0.0, float(frame["t_s"].min()))
    last_s = max(float(frame["t_s"].max()), first_s + 1)
    for index, (cell, axes) in enumerate(zip(cells, panels, strict=True)):
        own = frame[frame["cell_id"] == cell.cell.id].sort_values("t_s")
        for column, colour, width, dash in (("p95_ms", RED, 1.1, "--"), ("p50_ms", BLUE, 1.5, "-")):
            values = own[column].replace([np.inf, -np.inf], np.nan)
            axes.plot(own["t_s"], values, dash, color=colour, linewidth=width, marker=".", markersize=2.2, gid=column)
        _mark_failures(axes, own)
        if wide:
            axes.set_yscale("log")
            axes.set_ylim(low / 1.25, high * 1.25)
            plain_log(axes, "y")
        else:
            axes.set_ylim(0, high * 1.1)
        axes.set_xlim(first_s, last_s)
        axes.grid(visible=True)
        if panels.is_left(index):
            axes.set_ylabel("latency, ms")
        else:
            axes.tick_params(axis="y", which="both", labelleft=False)
        if panels.is_bottom(index):
            axes.set_xlabel("measured time, s")
    handles = [
        Line2D([], [], color=RED, linestyle="--", linewidth=1.1, label="p95"),
        Line2D([], [], color=BLUE, linewidth=1.5, label="p50"),
    ]
    if np.isinf(frame["p95_ms"].to_numpy(dtype=float)).any():
        handles.append(_failure_mark(label="more than 5 % failed"))
    panels.legend(handles)
    return panels.figure


def plain_log(axes: Axes, which: str) -> None:
    """Label a logarithmic axis with plain numbers, at 1, 2 and 5 of each decade when there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.6 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def _percentile_panel(axes: Axes, cells: list[CellSummary], own: pd.DataFrame) -> None:
    low, high = _span(own[["latency_ms", "low_ms", "high_ms"]].to_numpy(dtype=float).ravel())
    wide = high / low > _LOG_ABOVE
    if wide:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.6, high * 1.6)
        plain_log(axes, "x")
    else:
        axes.set_xlim(0, high * 1.12)
        axes.locator_params(axis="x", nbins=4)
    axes.grid(visible=True, axis="x")
    axes.hlines(range(len(cells)), *axes.get_xlim(), color=GRID, linewidth=0.5, zorder=0)
    edge = axes.get_xlim()[1]
    known = by_cell(own)
    for row, cell in enumerate(cells):
        if cell.cell.id not in known:
            continue
        value, lower, upper = (float(known[cell.cell.id][name]) for name in ("latency_ms", "low_ms", "high_ms"))
        if math.isinf(value):
            _failed(axes, row, edge, cell.all.error_rate)
        elif math.isfinite(value):
            _dot(axes, row, value, lower, min(upper, edge) if not math.isnan(upper) else upper)


def _dot(axes: Axes, row: int, value: float, lower: float, upper: float) -> None:
    """A dot, its interval when there is one, its figure above."""
    if math.isfinite(lower) and math.isfinite(upper):
        axes.plot(
            [lower, upper], [row, row], color=BLUE, linewidth=2.2, alpha=0.55, solid_capstyle="butt", gid="interval"
        )
    axes.plot([value], [row], "o", color=BLUE, markersize=4.5, gid="dot")
    axes.annotate(
        number(value), (value, row), (0, 3.6), textcoords="offset points", ha="center", va="bottom", fontsize=6.8
    )


def _failed(axes: Axes, row: int, edge: float, error_rate: float) -> None:
    axes.plot([edge], [row], ">", color=RED, markersize=5, clip_on=False, gid="failed")
    style.halo(
        axes.annotate(
            f"{percent(error_rate)} % failed",
            (edge, row),
            (-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7,
            color=INK,
        )
    )


def _mark_failures(axes: Axes, own: pd.DataFrame) -> None:
    """A mark at the top for each moment whose p95 is infinite."""
    failed = own.loc[np.isinf(own["p95_ms"].to_numpy(dtype=float)), "t_s"]
    mark = _failure_mark()
    if len(failed):
        axes.plot(
            failed,
            np.full(len(failed), 0.97),
            marker=mark.get_marker(),
            color=INK,
            markersize=3.5,
            linestyle="",
            transform=axes.get_xaxis_transform(),
            gid="failed",
        )


def _failure_mark(label: str = "") -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=INK, marker="v", markersize=4, linestyle="", label=label)


def _tail_curve(own: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Finite latencies in order, and the stretched height of the share that was answered within each."""
    latency_ms, share = own["latency_ms"].to_numpy(dtype=float), own["share"].to_numpy(dtype=float)
    drawn = np.isfinite(latency_ms) & (latency_ms > 0) & (share <= _TAIL_TICKS[-1])
    order = np.argsort(share[drawn], kind="stable")
    return latency_ms[drawn][order], -np.log10(1 - share[drawn][order])


def _stretch(share: float) -> float:
    """Height on an axis where each further nine (90 %, 99 %, 99.9 %) takes the same room."""
    return -math.log10(1 - share)


def _span(values: np.ndarray) -> tuple[float, float]:
    """Smallest and largest of the finite positive values; a plain 1 to 10 when there is none."""
    usable = values[np.isfinite(values) & (values > 0)]
    if usable.size == 0:
        return 1.0, 10.0
    low, high = float(usable.min()), float(usable.max())
    return low, max(high, low * 1.05)
