"""Figures about what the load met: connections by state, where the time went, what failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.domain.experiment import Cell
from harness.domain.verdict import Report
from harness.present.figures import style
from harness.present.figures.latency import present_cells, titled
from harness.present.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, PURPLE, RED, SKY
from harness.present.numbers import count, number, percent
from harness.present.view import max_connections

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STATES = (
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
    ("other_ms", "elsewhere (network, server, queue)", "#e3e6ea", ""),
)
_FAILURES = (
    ("error", RED, ""),
    ("timeout", ORANGE, "////"),
    ("dropped", PURPLE, "\\\\\\\\"),
    ("unfinished", MUTED, ""),
)
_FAR = 2.5
"""A limit further above the data than this many times is named at the edge instead of drawn to scale."""


def connections(report: Report, frame: pd.DataFrame) -> Figure:
    """A panel per cell: connections stacked by state, with the limits that apply to it."""
    from matplotlib.patches import Patch

    cells = present_cells(report, frame)
    panels = style.Panels([titled(cell) for cell in cells], height_in=1.3, gap_in=0.42)
    known = [state for state, _, _ in _STATES]
    others = sorted(set(frame["state"].astype(str)) - {*known, ""})
    looks = (*_STATES, *((state, GREEN, "\\\\\\\\") for state in others))
    for index, (cell, axes) in enumerate(zip(cells, panels, strict=True)):
        own = frame[frame["cell_id"] == cell.cell.id]
        peak = _stack(axes, own, looks)
        _limits(axes, cell.cell, peak, max_connections(report, cell.cell))
        if panels.is_left(index):
            axes.set_ylabel("connections")
        if panels.is_bottom(index):
            axes.set_xlabel("measured time, s")
    seen = set(frame["state"].astype(str))
    panels.legend(
        [
            Patch(facecolor=colour, edgecolor=PAPER, hatch=hatch, label=state)
            for state, colour, hatch in looks
            if state in seen
        ]
    )
    return panels.figure


def breakdown(report: Report, frame: pd.DataFrame) -> Figure:
    """A bar per cell that is the mean latency, divided into where it was spent."""
    cells = present_cells(report, frame)
    rows = style.Rows([titled(cell) for cell in cells], top_in=0.62, bottom_in=0.45, row_in=0.32)
    axes = rows.panel(rows.LEFT_IN, style.WIDTH_IN - rows.LEFT_IN - 1.5, labelled=True)
    own = frame.set_index("cell_id")
    for row, cell in enumerate(cells):
        values = [max(0.0, float(own.loc[cell.cell.id, part])) for part, *_ in _PARTS]
        parts = [0.0 if math.isnan(value) else value for value in values]
        total = sum(parts)
        if total > 0:
            _shares(axes, row, [part / total for part in parts])
        share = float(own.loc[cell.cell.id, "pool_share"])
        axes.text(103, row, f"{percent(share)} %", va="center", fontweight="bold", fontsize=style.SMALL_PT)
        axes.text(121, row, number(total), va="center", ha="right", fontsize=style.SMALL_PT)
    axes.text(103, -0.62, "waiting", va="bottom", fontsize=6.8, color=MUTED)
    axes.text(121, -0.62, "mean, ms", va="bottom", ha="right", fontsize=6.8, color=MUTED)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the mean latency of served requests, %")
    _strip(rows, [(label, colour, hatch) for _, label, colour, hatch in _PARTS])
    return rows.figure


def outcomes(report: Report, frame: pd.DataFrame) -> Figure | None:
    """A bar per cell: the share of offered arrivals that failed, by how; nothing when none did."""
    failures = [name for name, _, _ in _FAILURES]
    if not frame[failures].to_numpy().any():
        return None
    cells = present_cells(report, frame)
    rows = style.Rows([titled(cell) for cell in cells], top_in=0.4, bottom_in=0.45, row_in=0.32)
    axes = rows.panel(rows.LEFT_IN, style.WIDTH_IN - rows.LEFT_IN - 1.5, labelled=True)
    own = frame.set_index("cell_id")
    longest = 0.0
    for row, cell in enumerate(cells):
        counts = {name: int(own.loc[cell.cell.id, name]) for name in ("ok", *failures)}
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
    _strip(rows, _FAILURES)
    return rows.figure


def _stack(axes: Axes, own: pd.DataFrame, looks: tuple[tuple[str, str, str], ...]) -> float:
    """Draw the states of one cell on top of each other; the peak of their sum."""
    table = own.pivot_table(index="t_s", columns="state", values="connections", aggfunc="sum", observed=True)
    table.columns = table.columns.astype(str)
    table = table.reindex(columns=[state for state, _, _ in looks], fill_value=0).fillna(0).sort_index()
    bands = axes.stackplot(
        table.index.to_numpy(dtype=float),
        table.T.to_numpy(dtype=float),
        colors=[colour for _, colour, _ in looks],
        edgecolor=PAPER,
        linewidth=0.3,
    )
    for band, (_, _, hatch) in zip(bands, looks, strict=True):
        band.set_hatch(hatch or None)
    axes.set_xlim(float(table.index.min()), max(float(table.index.max()), float(table.index.min()) + 1e-9))
    return float(table.sum(axis=1).max())


def _limits(axes: Axes, cell: Cell, peak: float, server_limit: int | None) -> None:
    """Lines at pool_size, pool_size + max_overflow and max_connections; what is far above is named at the top edge."""
    from matplotlib.ticker import MaxNLocator

    lines = limit_lines(cell, server_limit)
    near = [(name, value) for name, value in lines if value <= _FAR * max(peak, lines[0][1] if lines else 1, 1)]
    far = [f"{name} ↑" for name, value in lines if (name, value) not in near]
    tallest = max([peak, 1.0, *(value for _, value in near)])
    axes.set_ylim(0, tallest * (1.3 if near or far else 1.1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    for place, (name, value) in enumerate(near):
        axes.axhline(value, color=INK, linewidth=0.9, linestyle=("--", "-", ":")[place % 3], gid="limit")
        below = place == 0 and len(near) > 1
        style.halo(
            axes.annotate(
                name,
                (0.99, value),
                (0, -2.5 if below else 2.5),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="top" if below else "bottom",
                fontsize=6.4,
            )
        )
    for place, name in enumerate(reversed(far)):
        axes.annotate(
            name,
            (0.99, 1.0),
            (0, -1 - 8 * place),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=6.4,
            color=MUTED,
        )


def limit_lines(cell: Cell, server_limit: int | None) -> list[tuple[str, int]]:
    """The limits on a cell's connections, lowest first, each with the words that explain it."""
    workers, pool = cell.target.workers, cell.pool
    lines: list[tuple[str, int]] = []
    times = f"{workers} × " if workers > 1 else ""  # noqa: RUF001 -- a multiplication sign
    if cell.connection_ceiling is not None:
        kept = workers * pool.pool_size
        lines.append((f"{times}pool_size = {kept}" if workers > 1 else f"pool_size {kept}", kept))
        if pool.max_overflow:
            both = f"{times}(pool_size + max_overflow)" if workers > 1 else "pool_size + max_overflow"
            lines.append((f"{both} = {cell.connection_ceiling}", cell.connection_ceiling))
    if server_limit is not None:
        lines.append((f"max_connections {server_limit}", server_limit))
    return sorted(lines, key=lambda line: line[1])


def _shares(axes: Axes, row: int, shares: list[float]) -> None:
    """One bar of 100 %, each part named by its share where there is room."""
    start = 0.0
    for share, (name, _, colour, hatch) in zip(shares, _PARTS, strict=True):
        width = 100 * share
        axes.barh(row, width, 0.66, left=start, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.5, gid=name)
        if width >= 8:
            style.halo(
                axes.text(start + width / 2, row, f"{width:.0f} %", ha="center", va="center", fontsize=6.8)
            )
        start += width


def _strip(rows: style.Rows, looks: Sequence[tuple[str, str, str]]) -> None:
    """A legend above the bars, starting where they start."""
    from matplotlib.patches import Patch

    height_in = float(rows.figure.get_size_inches()[1])
    rows.figure.legend(
        handles=[Patch(facecolor=colour, edgecolor=PAPER, hatch=hatch, label=name) for name, colour, hatch in looks],
        loc="upper left",
        bbox_to_anchor=(rows.LEFT_IN / style.WIDTH_IN, 1 - 0.02 / height_in),
        ncols=len(looks),
        borderaxespad=0,
        borderpad=0,
        handlelength=1.8,
        columnspacing=1.4,
    )
