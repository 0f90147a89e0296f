"""One look for all figures: palette, sizes, and the way from a Figure to SVG that lives inside the report.

Figures are drawn with `Figure` objects alone, never pyplot, so that nothing global is left behind. Text stays text:
it is searchable, small, and takes the page's colours, which is how one SVG serves light, dark and print.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.text import Text

WIDTH_IN = 9.0
"""The report's column; at its width on screen 8 pt become about 11 px, on A4 about 6.5 pt."""

INK, MUTED, GRID, PAPER, PALE = "#1b1f24", "#5b636d", "#d9dde2", "#fefefd", "#e3e6ea"
BLUE, SKY = "#0072b2", "#a6d3ef"
"""Drawn in these, replaced by the page's CSS variables in the SVG, since they must differ on a dark page."""

ORANGE, GREEN, RED, PURPLE = "#e69f00", "#009e73", "#d55e00", "#cc79a7"
"""With blue, Okabe and Ito's palette, safe for colour-blind readers; hatching and lightness serve in print."""

SMALL_PT, TEXT_PT = 7.5, 8.5
_FONT = "DejaVu Sans"
"""Comes with matplotlib, so that text is measured alike everywhere; a reader without it gets its wide relative."""
_FONT_STACK = "'DejaVu Sans', Verdana, sans-serif"
_RC: Any = {  # matplotlib types every key of its own
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
_NO_BREAK = "\u00a0"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    PALE: "var(--pale)",
    BLUE: "var(--blue)",
    SKY: "var(--sky)",
}
_GROUP_ID = re.compile(r'<g id="[^"]*"')
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_ROOT_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*pt" height="[^"]*pt"')


@contextmanager
def house_style(salt: str = "poolbench") -> Iterator[None]:
    """Within it, figures are drawn in this look whatever the user's matplotlibrc says; ids depend on `salt` alone."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        mpl.rcParams["svg.hashsalt"] = salt
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


def fold(label: str, width: int, lines: int = 3) -> str:
    """A label on at most `lines` lines of `width` characters, broken after commas if possible, then cut short."""
    parts = label.split(", ")
    if all(len(part) < width for part in parts):
        label = ", ".join(part.replace(" ", _NO_BREAK) for part in parts)
    folded = textwrap.wrap(label, width, max_lines=lines, placeholder=" …", break_long_words=True)
    return "\n".join(folded).replace(_NO_BREAK, " ")


def halo(text: Text) -> Text:
    """Keep a text legible above what it lies on."""
    text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "alpha": 0.78, "pad": 0.8})
    return text


class Rows:
    """Horizontal rows, one a cell, best on top, sharing the labels at the left of several panels."""

    LEFT_IN = 2.15
    LINE_IN = 0.115
    _CHARACTERS = 31

    def __init__(self, labels: Sequence[str], *, top_in: float, bottom_in: float, row_in: float) -> None:
        self._labels = [fold(label, self._CHARACTERS) for label in labels]
        lines = max((label.count("\n") + 1 for label in self._labels), default=1)
        self._bottom_in = bottom_in
        self._height_in = max(1, len(labels)) * max(row_in, lines * self.LINE_IN + 0.06)
        self.figure = new_figure(self._height_in + top_in + bottom_in)

    def panel(self, left_in: float, width_in: float, *, labelled: bool) -> Axes:
        """A panel whose y axis counts the cells from the top."""
        axes = place(self.figure, left_in, self._bottom_in, width_in, self._height_in)
        axes.set_ylim(len(self._labels) - 0.5, -0.5)
        axes.set_yticks(range(len(self._labels)))
        axes.set_yticklabels(self._labels if labelled else [""] * len(self._labels), linespacing=0.95)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return axes

    def legend(self, looks: Sequence[tuple[str, str, str]]) -> None:
        """A strip above the bars, starting where they start: name, colour, hatch."""
        legend_strip(self.figure, self.LEFT_IN, patches(looks))


class Panels:
    """A grid of small panels, one a cell in rank order, with room for a legend strip above."""

    LEFT_IN, LEGEND_IN, BOTTOM_IN = 0.62, 0.28, 0.45
    LINE_IN, BETWEEN_IN = 0.115, 0.3

    def __init__(self, labels: Sequence[str], *, height_in: float, gap_in: float, legend: bool = True) -> None:
        self.columns = _columns(len(labels))
        room_in = WIDTH_IN - self.LEFT_IN - 0.2
        self._width_in = min((room_in - (self.columns - 1) * gap_in) / self.columns, 5.5)
        self._titles = [fold(label, int(self._width_in * 13.5)) for label in labels]
        self._title_in = 0.08 + self.LINE_IN * max((title.count("\n") + 1 for title in self._titles), default=1)
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
        legend_strip(self.figure, self.LEFT_IN, handles)


def _columns(panels: int) -> int:
    """Three beside each other, four when there are many, and two where three would leave a lone one."""
    if panels == 4:
        return 2
    return min(panels, 3 if panels <= 12 else 4)


def patches(looks: Sequence[tuple[str, str, str]]) -> list[Patch]:
    """Legend handles of areas: name, colour, hatch."""
    from matplotlib.patches import Patch

    return [Patch(facecolor=colour, edgecolor=PAPER, hatch=hatch, label=name) for name, colour, hatch in looks]


def legend_strip(figure: Figure, left_in: float, handles: Sequence[Any]) -> None:
    """One line of legend at the figure's upper edge."""
    height_in = float(figure.get_size_inches()[1])
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(left_in / WIDTH_IN, 1 - 0.05 / height_in),
        ncols=len(handles),
        borderaxespad=0,
        borderpad=0,
        handlelength=1.8,
        columnspacing=1.5,
    )
