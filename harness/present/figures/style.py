"""One look for all figures: palette, sizes, and the way from a Figure to SVG that lives inside the report.

Figures are drawn with `Figure` objects alone, never pyplot, so that nothing global is left behind. Text stays text:
it is searchable, small, and takes the page's colours, which is how one SVG serves light, dark and print.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

WIDTH_IN = 9.0
"""The report's column; at its width on screen 8 pt become about 11 px, on A4 about 6.5 pt."""

INK, MUTED, GRID, PAPER = "#1b1f24", "#5b636d", "#d9dde2", "#fefefd"
"""Drawn in these, replaced by the page's CSS variables in the SVG."""

BLUE, ORANGE, SKY, GREEN, RED, PURPLE = "#0072b2", "#e69f00", "#a6d3ef", "#009e73", "#d55e00", "#cc79a7"
"""Okabe and Ito's palette, safe for colour-blind readers; sky is lightened so that greys stay apart in print."""

SMALL_PT, TEXT_PT = 7.5, 8.5
_FONT = "DejaVu Sans"
"""Comes with matplotlib, so that text is measured alike everywhere; a reader without it gets its wide relative."""
_FONT_STACK = "'DejaVu Sans', Verdana, sans-serif"
_RC: Mapping[str, Any] = {
    "font.family": _FONT,
    "font.size": TEXT_PT,
    "text.color": INK,
    "text.parse_math": False,  # a label may hold a dollar sign
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "axes.titlesize": SMALL_PT,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": SMALL_PT,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "svg.fonttype": "none",
}
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}
_GROUP_ID = re.compile(r'<g id="[^"]*"')
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_ROOT_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*pt" height="[^"]*pt"')


@contextmanager
def house_style(salt: str = "poolbench") -> Iterator[None]:
    """Within it, figures are drawn in this look whatever the user's matplotlibrc says; ids depend on `salt` alone."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_RC, "svg.hashsalt": salt})
        yield


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element to put into a page: same input, same bytes, no address, no metadata."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    markup = buffer.getvalue()
    markup = _METADATA.sub("", markup[markup.index("<svg") :])
    markup = _GROUP_ID.sub("<g", markup)  # figure_1 and axes_1 would repeat from one figure to the next
    markup = _ROOT_SIZE.sub(r"\1", markup)
    markup = markup.replace(f"'{_FONT}'", _FONT_STACK)
    for colour, variable in _VARIABLES.items():
        markup = markup.replace(colour, variable)
    return markup


def new_figure(height_in: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in))


def place(figure: Figure, left: float, bottom: float, width: float, height: float, **options: Any) -> Axes:
    """Axes by inches from the lower left corner: nothing moves when a label grows."""
    total_w, total_h = figure.get_size_inches()
    rect = (left / total_w, bottom / total_h, width / total_w, height / total_h)
    return figure.add_axes(rect, **options)


def fold(label: str, width: int, lines: int = 2) -> str:
    """A label on at most `lines` lines of `width` characters, cut with an ellipsis."""
    return "\n".join(textwrap.wrap(label, width, max_lines=lines, placeholder=" …", break_long_words=True) or [""])


def bare(axes: Axes, *spines: str) -> None:
    """Take away the named spines."""
    for spine in spines:
        axes.spines[spine].set_visible(False)


def halo(text: Text) -> Text:
    """Keep a text legible above what it lies on."""
    text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "alpha": 0.78, "pad": 0.8})
    return text


class Rows:
    """Horizontal rows, one a cell, best on top, sharing the labels at the left of several panels."""

    LEFT_IN = 2.15
    ROW_IN = 0.36
    LABEL_CHARACTERS = 31

    def __init__(self, labels: Sequence[str], *, top_in: float, bottom_in: float, row_in: float = ROW_IN) -> None:
        self._labels = labels
        self._bottom_in = bottom_in
        self._height_in = max(1, len(labels)) * row_in
        self.figure = new_figure(self._height_in + top_in + bottom_in)
        self.top_in = top_in

    def panel(self, left_in: float, width_in: float, *, labelled: bool) -> Axes:
        """A panel whose y axis counts the cells from the top."""
        axes = place(self.figure, left_in, self._bottom_in, width_in, self._height_in)
        axes.set_ylim(len(self._labels) - 0.5, -0.5)
        axes.set_yticks(range(len(self._labels)))
        names = [fold(label, self.LABEL_CHARACTERS) for label in self._labels] if labelled else []
        axes.set_yticklabels(names if labelled else [""] * len(self._labels), linespacing=0.95)
        axes.tick_params(axis="y", length=0)
        bare(axes, "left")
        return axes


class Panels:
    """A grid of small panels, one a cell in rank order, with room for a legend strip above."""

    LEFT_IN, LEGEND_IN, BOTTOM_IN = 0.62, 0.28, 0.45
    LINE_IN, BETWEEN_IN = 0.13, 0.3

    def __init__(self, labels: Sequence[str], *, height_in: float, gap_in: float, legend: bool = True) -> None:
        self.columns = min(len(labels), 3 if len(labels) <= 12 else 4)
        room_in = WIDTH_IN - self.LEFT_IN - 0.08
        self._width_in = min((room_in - (self.columns - 1) * gap_in) / self.columns, 5.5)
        self._titles = [fold(label, int(self._width_in * 15)) for label in labels]
        self._title_in = 0.08 + self.LINE_IN * (2 if any("\n" in title for title in self._titles) else 1)
        self._height_in, self._gap_in = height_in, gap_in
        self._step_in = self._title_in + height_in + self.BETWEEN_IN
        self._top_in = self.LEGEND_IN if legend else 0.0
        rows = -(-len(labels) // self.columns)
        self.figure = new_figure(self._top_in + rows * self._step_in - self.BETWEEN_IN + self.BOTTOM_IN)

    def __iter__(self) -> Iterator[Axes]:
        total_in = float(self.figure.get_size_inches()[1])
        for index, title in enumerate(self._titles):
            row, column = divmod(index, self.columns)
            bottom_in = total_in - self._top_in - self._title_in - self._height_in - row * self._step_in
            left_in = self.LEFT_IN + column * (self._width_in + self._gap_in)
            axes = place(self.figure, left_in, bottom_in, self._width_in, self._height_in)
            axes.set_title(title, loc="left", pad=4, linespacing=0.95)
            yield axes

    def is_left(self, index: int) -> bool:
        return index % self.columns == 0

    def is_bottom(self, index: int) -> bool:
        """Whether nothing is below this panel."""
        return index + self.columns >= len(self._titles)

    def legend(self, handles: Sequence[Any]) -> None:
        """A strip above the panels."""
        height_in = float(self.figure.get_size_inches()[1])
        self.figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=(self.LEFT_IN / WIDTH_IN, 1 - 0.02 / height_in),
            ncols=len(handles),
            borderaxespad=0,
            borderpad=0,
            handlelength=1.8,
            columnspacing=1.6,
        )
