"""What a run says while it goes on: a live line on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_EVERY_S = 5.0


class SilentProgress:
    """For --quiet."""

    def stage(self, text: str) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def load(self, done_s: float, total_s: float, remaining_s: float) -> None:
        """Says nothing."""


class _Speaking(ABC):
    """Says each note once."""

    def __init__(self) -> None:
        self._noted: set[str] = set()

    @abstractmethod
    def stage(self, text: str) -> None: ...

    def note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self.stage(f"note: {text}")


class PlainProgress(_Speaking):
    """One line a stage and one each few seconds of load: what a log file or CI wants."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._spoke = 0.0

    def stage(self, text: str) -> None:
        self._console.print(f"poolbench: {text}", highlight=False, soft_wrap=True, markup=False)
        self._spoke = time.monotonic()

    def load(self, done_s: float, total_s: float, remaining_s: float) -> None:
        if time.monotonic() - self._spoke >= PLAIN_EVERY_S:
            self.stage(f"{done_s:.0f} of {total_s:.0f} s of load, about {_left(done_s, total_s, remaining_s)} left")


class LiveProgress(_Speaking):
    """One line that rewrites itself; stages stay above it."""

    def __init__(self, console: Console, bar: Progress) -> None:
        super().__init__()
        self._console = console
        self._bar = bar
        self._task = bar.add_task("", total=None, left="")

    def stage(self, text: str) -> None:
        self._console.print(f"· {text}", highlight=False, markup=False)
        self._bar.reset(self._task, total=None, left="")

    def load(self, done_s: float, total_s: float, remaining_s: float) -> None:
        left = f"about {_left(done_s, total_s, remaining_s)} left"
        self._bar.update(self._task, completed=min(done_s, total_s), total=total_s, left=left)


@contextmanager
def progress(*, quiet: bool) -> Iterator[SilentProgress | PlainProgress | LiveProgress]:
    """The kind of progress that standard error can show."""
    console = Console(stderr=True)
    if quiet:
        yield SilentProgress()
    elif not console.is_terminal:
        yield PlainProgress(console)
    else:
        with Progress(
            BarColumn(bar_width=30), TextColumn("{task.fields[left]}"), console=console, transient=True
        ) as bar:
            yield LiveProgress(console, bar)


def _left(done_s: float, total_s: float, remaining_s: float) -> str:
    left_s = max(0.0, total_s - done_s) + remaining_s
    return f"{left_s:.0f} s" if left_s < 100 else f"{left_s / 60:.0f} min"
