"""Figures about what the load met: connections by state, where the time went, what failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.domain.verdict import CellSummary, Report
from harness.present.figures import style
from harness.present.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, PALE, PAPER, PURPLE, RED, SKY
from harness.present.numbers import count, number, percent
from harness.present.view import by_cell, max_connections, seen_cells, titled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = (
    ("active", BLUE, ""),
    ("idle in transaction", ORANGE, "////"),
    ("idle in transaction (aborted)", RED, "xxxx"),
    ("idle", SKY, ""),
)
"""From the bottom up: what a connection that works, holds a transaction, or waits in the pool looks like."""
_PARTS = (
    ("pool_ms", "waiting for a connection", RED, "////"),
    ("db_ms", "in the database", BLUE, ""),
    ("app_ms", "in the application", SKY, ""),
    ("other_ms", "elsewhere (network, server, queue)", PALE, ""),
)
_FAILURES = (
    ("error", RED, ""),
    ("timeout", ORANGE, "////"),
    ("dropped", PURPLE, "\\\\\\\\"),
    ("unfinished", MUTED, ""),
)
_FAR = 2.5
"""A limit further above the data than this many times is named at the edge instead of drawn to scale."""
_LABEL_HEIGHT = 0.1
"""Of a limit's label, as a share of its panel."""
_TIMES = "\u00d7"


def connections(report: Report, frame: pd.DataFrame) -> Figure:
    """A panel per cell: connections stacked by state, with the limits that apply to it; two sides on one scale."""
    cells = seen_cells(report, frame)
    panels = style.Panels([titled(cell) for cell in cells], height_in=1.3, gap_in=0.42)
    known = [state for state, _, _ in STATES]
    others = sorted(set(frame["state"].astype(str)) - {*known, ""})
    looks = (*STATES, *((state, GREEN, "\\\\\\\\") for state in others))
    limits = {cell.cell.id: limit_lines(cell, max_connections(report, cell.cell)) for cell in cells}
    owns = {cell.cell.id: frame[frame["cell_id"] == cell.cell.id] for cell in cells}
    common = max(_top(limits[name], _peak(own)) for name, own in owns.items()) if report.gate is not None else 0.0
    for index, (cell, axes) in enumerate(zip(cells, panels, strict=True)):
        own = owns[cell.cell.id]
        _stack(axes, own, looks)
        _limits(axes, limits[cell.cell.id], _peak(own), at_least=common)
        if panels.is_left(index):
            axes.set_ylabel("connections")
        if panels.is_bottom(index):
            axes.set_xlabel("measured time, s")
    seen = set(frame["state"].astype(str))
    panels.legend(style.patches([look for look in looks if look[0] in seen]))
    return panels.figure


def breakdown(report: Report, frame: pd.DataFrame) -> Figure | None:
    """A bar per cell that is the mean latency, divided into where it was spent; nothing where the probe saw none."""
    if frame["pool_share"].isna().all():
        return None
    cells = seen_cells(report, frame)
    rows = style.Rows([titled(cell) for cell in cells], top_in=0.5, bottom_in=0.45, row_in=0.32)
    axes = rows.panel(rows.LEFT_IN, style.WIDTH_IN - rows.LEFT_IN - 1.5, labelled=True)
    own = by_cell(frame)
    for row, cell in enumerate(cells):
        values = [max(0.0, float(own[cell.cell.id][part])) for part, *_ in _PARTS]
        parts = [0.0 if math.isnan(value) else value for value in values]
        total = sum(parts)
        if total > 0:
            _shares(axes, row, [part / total for part in parts])
        share = float(own[cell.cell.id]["pool_share"])
        axes.text(103, row, f"{percent(share)} %", va="center", fontweight="bold", fontsize=style.SMALL_PT)
        axes.text(121, row, number(total), va="center", ha="right", fontsize=style.SMALL_PT)
    axes.text(103, -0.62, "waiting", va="bottom", fontsize=6.8, color=MUTED)
    axes.text(121, -0.62, "mean, ms", va="bottom", ha="right", fontsize=6.8, color=MUTED)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the mean latency of served requests, %")
    rows.legend([(name, colour, hatch) for _, name, colour, hatch in _PARTS])
    return rows.figure


def outcomes(report: Report, frame: pd.DataFrame) -> Figure | None:
    """A bar per cell: the share of offered arrivals that failed, by how; nothing when none did."""
    failures = [name for name, _, _ in _FAILURES]
    if not frame[failures].to_numpy().any():
        return None
    cells = seen_cells(report, frame)
    rows = style.Rows([titled(cell) for cell in cells], top_in=0.4, bottom_in=0.45, row_in=0.32)
    axes = rows.panel(rows.LEFT_IN, style.WIDTH_IN - rows.LEFT_IN - 1.5, labelled=True)
    own = by_cell(frame)
    longest = 0.0
    for row, cell in enumerate(cells):
        counts = {name: int(own[cell.cell.id][name]) for name in ("ok", *failures)}
        offered = sum(counts.values())
        start = 0.0
        for name, colour, hatch in _FAILURES:
            if not counts[name]:
                continue
            share = 100 * counts[name] / offered
            axes.barh(row, share, 0.62, left=start, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.5)
            start += share
        failed = offered - counts["ok"]
        text = f"{count(failed)} of {count(offered)}" if failed else "none"
        axes.annotate(
            text, (start, row), (4, 0), textcoords="offset points", va="center", fontsize=style.SMALL_PT, color=INK
        )
        longest = max(longest, start)
    axes.set_xlim(0, max(longest * 1.02, 1e-3))
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("failed share of offered arrivals, %")
    rows.legend(_FAILURES)
    return rows.figure


def _peak(own: pd.DataFrame) -> float:
    """Most connections of one cell at once, whatever their state."""
    return float(own.groupby("t_s")["connections"].sum().max())


def _stack(axes: Axes, own: pd.DataFrame, looks: tuple[tuple[str, str, str], ...]) -> None:
    """Draw the states of one cell on top of each other."""
    table = own.pivot_table(index="t_s", columns="state", values="connections", aggfunc="sum", observed=True)
    table.columns = table.columns.astype(str)
    table = table.reindex(columns=[state for state, _, _ in looks], fill_value=0).fillna(0).sort_index()
    bands = axes.stackplot(
        table.index.to_numpy(dtype=float),
        table.T.to_numpy(dtype=float),
        colors=[colour for _, colour, _ in looks],
        edgecolor=PAPER,  # of the hatch; the bands themselves have no outline
        linewidth=0,
    )
    for band, (_, _, hatch) in zip(bands, looks, strict=True):
        if hatch:
            band.set_hatch(hatch)
    first_s = float(table.index.min())
    axes.set_xlim(first_s, max(float(table.index.max()), first_s + 1))


def _near(limits: Sequence[Limit], peak: float) -> list[Limit]:
    """Limits that are drawn to scale."""
    return [limit for limit in limits if limit.value <= _FAR * max(peak, 1)]


def _top(limits: Sequence[Limit], peak: float) -> float:
    """Where a panel ends, so that its limits' labels have room."""
    near = _near(limits, peak)
    above = len(limits) - len(near) + max(0, len(near) - 1) + (len(near) == 1)
    return max([peak, 1.0, *(limit.value for limit in near)]) / (1 - 0.03 - _LABEL_HEIGHT * above)


def _limits(axes: Axes, limits: Sequence[Limit], peak: float, *, at_least: float) -> None:
    """Lines at the limits near the data, labels with an arrow at the top edge for those far above it."""
    from matplotlib.ticker import MaxNLocator

    near = _near(limits, peak)
    far = [limit for limit in limits if limit not in near]
    top = max(at_least, _top(limits, peak))
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    free = 0.0  # axes fraction above which no label stands yet
    for place, limit in enumerate(near):
        axes.axhline(limit.value, color=INK, linewidth=0.9, linestyle=limit.dash, gid="limit")
        height = limit.value / top
        if place == 0 and len(near) > 1:
            _limit_label(axes, limit.name, height - 0.025, va="top")
        else:
            free = max(height + 0.02, free)
            _limit_label(axes, limit.name, free, va="bottom")
            free += _LABEL_HEIGHT
    for place, limit in enumerate(reversed(far)):
        _limit_label(axes, f"{limit.name} ↑", 0.995 - _LABEL_HEIGHT * place, va="top")


def _limit_label(axes: Axes, text: str, height: float, *, va: Literal["top", "bottom"]) -> None:
    style.halo(axes.text(0.99, height, text, transform=axes.transAxes, fontsize=6.4, ha="right", va=va))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit on a cell's connections, with the words that explain it and the line that shows it."""

    name: str
    value: int
    dash: str


def limit_lines(summary: CellSummary, server_limit: int | None) -> list[Limit]:
    """What limits a cell's connections, lowest first.

    A pool without a limit, or with another one than is asked for, if any is, leaves the server's alone.
    """
    cell = summary.cell
    workers, pool = cell.target.workers, cell.pool
    limits = []
    if (
        cell.decides_pool
        and cell.connection_ceiling is not None
        and not any(key.startswith("pool.") for key in summary.not_applied)
    ):
        kept = workers * pool.pool_size
        name = f"{workers} {_TIMES} pool_size = {kept}" if workers > 1 else f"pool_size {kept}"
        limits.append(Limit(name=name, value=kept, dash="--"))
        if pool.max_overflow:
            both = f"{workers} {_TIMES} (pool_size + max_overflow)" if workers > 1 else "pool_size + max_overflow"
            limits.append(Limit(name=f"{both} = {cell.connection_ceiling}", value=cell.connection_ceiling, dash="-"))
    if server_limit is not None:
        limits.append(Limit(name=f"max_connections {server_limit}", value=server_limit, dash=":"))
    return sorted(limits, key=lambda limit: limit.value)


def _shares(axes: Axes, row: int, shares: list[float]) -> None:
    """One bar of 100 %, each part named by its share where there is room."""
    start = 0.0
    for share, (name, _, colour, hatch) in zip(shares, _PARTS, strict=True):
        width = 100 * share
        axes.barh(row, width, 0.66, left=start, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.5, gid=name)
        if width >= 8 and name != "pool_ms":  # whose figure stands at the right
            style.halo(axes.text(start + width / 2, row, f"{width:.0f} %", ha="center", va="center", fontsize=6.8))
        start += width
