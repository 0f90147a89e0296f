"""Who holds the connections: by endpoint how many are out on average, divided by what is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.domain.verdict import Report
from harness.present.figures import style
from harness.present.figures.style import BLUE, INK, ORANGE, PALE, PAPER, PURPLE
from harness.present.numbers import hold_text, number
from harness.present.view import seen_cells, titled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 5
"""Endpoints of a cell that have a bar; the table has them all."""
_LOOKS = (
    ("query", "in a query", BLUE, ""),
    ("idle_transaction", "idle in a transaction", ORANGE, "////"),
    ("idle", "idle in none", PALE, ""),
    ("after", "after the response had started", PURPLE, "\\\\\\\\"),
)


def holders(report: Report, frame: pd.DataFrame) -> Figure:
    """A panel per cell, a bar per endpoint, those with most connections on top; all on one scale."""
    cells = seen_cells(report, frame)
    rows = min(MOST, int(frame.groupby("cell_id")["endpoint"].count().max()))
    panels = style.Panels([titled(cell) for cell in cells], height_in=0.36 * rows + 0.08, gap_in=0.35)
    parts = [name for name, *_ in _LOOKS]
    widest = float(frame[parts].sum(axis=1).max())
    for index, (cell, axes) in enumerate(zip(cells, panels, strict=True)):
        own = frame[frame["cell_id"] == cell.cell.id].head(MOST)
        for row, values in enumerate(own.to_dict("records")):
            _bar(axes, row, [float(values[part]) for part in parts])
            held = f"{values['endpoint']}: {hold_text(float(values['hold_ms']))} each"
            style.halo(axes.text(0, row - 0.2, held, va="bottom", fontsize=6.8, color=INK))
        axes.set_ylim(rows - 0.6, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, widest * 1.05)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(visible=True, axis="x")
        if panels.is_bottom(index):
            axes.set_xlabel("connections out on average")
    panels.legend(style.patches([(name, colour, hatch) for _, name, colour, hatch in _LOOKS]))
    return panels.figure


def _bar(axes: Axes, row: int, values: list[float]) -> None:
    start = 0.0
    for value, (_, name, colour, hatch) in zip(values, _LOOKS, strict=True):
        axes.barh(row, value, 0.36, left=start, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.5, gid=name)
        start += value
    axes.annotate(number(start), (start, row), (3, 0), textcoords="offset points", va="center", fontsize=6.8)
