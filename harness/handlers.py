"""Who listens to a run's events: plain lines, a live view, a file for programs. A handler is called with each event."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.domain.events import Emit, Event, LoadTick, Note, SittingFinished, as_line
from harness.errors import InfrastructureError, UsageError
from harness.present.progress import CELL_COLUMNS, cell_cells, left_text, line_of, load_line

PLAIN_EVERY_S = 5.0


class Handler(Protocol):
    """One verb."""

    def handle(self, event: Event) -> None: ...


class PlainLines:
    """One line an event and one each few seconds of load: what a log file or CI wants."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spoke_s = 0.0

    def handle(self, event: Event) -> None:
        if isinstance(event, LoadTick):
            if time.monotonic() - self._spoke_s >= PLAIN_EVERY_S:
                self._say(load_line(event))
        elif text := line_of(event):
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(f"poolbench: {text}", highlight=False, soft_wrap=True, markup=False)
        self._spoke_s = time.monotonic()


class LiveView:
    """A table of the cells that rewrites itself while there is load; everything else stays above it as a line."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def handle(self, event: Event) -> None:
        if isinstance(event, LoadTick):
            self._live.update(_live_table(event))
        elif isinstance(event, SittingFinished):
            self._live.update(Text(""))
        elif text := line_of(event):
            self._live.console.print(f"· {text}", highlight=False, markup=False)


def _live_table(tick: LoadTick) -> Group:
    bar = Table.grid(padding=(0, 2, 0, 0))
    bar.add_row(
        ProgressBar(total=tick.expected_s, completed=min(tick.done_s, tick.expected_s), width=30),
        Text(f"about {left_text(tick)} left"),
    )
    if not tick.cells:
        return Group(bar)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, name in enumerate(CELL_COLUMNS):
        table.add_column(name, justify="right" if place else "left", no_wrap=True, overflow="ellipsis")
    for cell in tick.cells:
        table.add_row(*map(Text, cell_cells(cell)))
    return Group(bar, table)


class EventsFile:
    """Each event as one JSON object a line, flushed at once, so that a program can follow it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"The events file {path} cannot be written: {error.strerror}.",
                next_step="Name a file in a folder that exists and can be written to.",
            ) from error

    def handle(self, event: Event) -> None:
        try:
            self._file.write(as_line(event) + "\n")
            self._file.flush()
        except OSError as error:
            raise InfrastructureError(f"The events file {self._path} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        self._file.close()


@contextmanager
def telling(*, quiet: bool, events: Path | None = None) -> Iterator[Emit]:
    """A function that tells every event to the handlers that were asked for; a note is told once.

    Standard error gets a live view on a terminal and plain lines elsewhere, nothing when `quiet`.

    Raises:
        UsageError: the events file cannot be written.
    """
    handlers: list[Handler] = []
    with ExitStack() as stack:
        if events is not None:
            file = EventsFile(events)
            stack.callback(file.close)
            handlers.append(file)
        console = Console(stderr=True)
        if not quiet and console.is_terminal:
            live = stack.enter_context(Live(console=console, transient=True, refresh_per_second=4))
            handlers.append(LiveView(live))
        elif not quiet:
            handlers.append(PlainLines(console))
        noted: set[str] = set()

        def emit(event: Event) -> None:
            if isinstance(event, Note):
                if event.text in noted:
                    return
                noted.add(event.text)
            for handler in handlers:
                handler.handle(event)

        yield emit
