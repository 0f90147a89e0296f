"""Tables for a terminal of any width, or none.

A table that does not fit gives up whole columns, the least needed first, instead of wrapping its cells into mush.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP = 2
"""Between two columns: one of padding, one that the box draws."""
_LABEL_MIN = 24
"""Room a cell's label keeps before other columns do; a third of a narrow terminal."""
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """What a table shows of each row; it may have to do without it: the higher `need`, the longer it stays."""

    header: str
    of: Callable[[Row], str]
    need: int
    left: bool = False

    def width(self, rows: Sequence[Row]) -> int:
        """Return how many cells the widest line takes."""
        return max(cell_len(line) for text in (self.header, *map(self.of, rows)) for line in text.split("\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingTable(Generic[Row]):
    """A table that shows the columns there is room for. The column `label` may also wrap."""

    rows: Sequence[Row]
    columns: tuple[Column[Row], ...]
    label: int
    """which column may wrap"""
    styles: Mapping[int, str] = field(default_factory=dict)
    """of rows, by number"""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown, wrapped = self.fitting(options.max_width), self.columns[self.label]
        table = Table(
            box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold"
        )
        label_room = options.max_width - sum(own.width(self.rows) + _GAP for own in shown if own is not wrapped)
        for column in shown:
            may_wrap = column is wrapped
            table.add_column(
                Text(column.header),
                justify="left" if column.left else "right",
                no_wrap=not may_wrap,
                max_width=max(_label_room(options.max_width), label_room) if may_wrap else None,
                overflow="fold" if may_wrap else "ellipsis",
                vertical="top",
            )
        for number, row in enumerate(self.rows):
            table.add_row(*(Text(column.of(row)) for column in shown), style=self.styles.get(number))
        yield table

    def fitting(self, width: int) -> list[Column[Row]]:
        """Return the columns that fit into `width`, in their order, once the least needed are gone."""
        shown, wrapped = list(self.columns), self.columns[self.label]
        while len(shown) > 1 and self._width(shown, width) > width:
            shown.remove(min((column for column in shown if column is not wrapped), key=lambda column: column.need))
        return shown

    def _width(self, columns: Sequence[Column[Row]], width: int) -> int:
        wrapped = self.columns[self.label]
        fixed = sum(column.width(self.rows) + _GAP for column in columns if column is not wrapped)
        return fixed + min(wrapped.width(self.rows), _label_room(width))


def _label_room(width: int) -> int:
    return min(_LABEL_MIN, width // 3)
