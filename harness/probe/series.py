"""The thread that takes a reading ten times a second, writes all that is measured, and heeds `off`.

Each time the thread asks for the interpreter a busy event loop stands still until it has come and gone, about a tenth
of a millisecond, and every look at a file is one more such time. So files are seen to twice a second only.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from time import monotonic, monotonic_ns, sleep
from typing import TextIO, TypeVar

from .counters import Counters
from .counts import Counts
from .holds import Unreturned, hold_lines, site_lines
from .left import Endpoints, Left
from .line import Reading, text_of
from .request import Finished, completion_line

INTERVAL_S = 0.1
READINGS_A_WRITE = 5
MOST_COMPLETIONS = 20_000
"""kept for the writer at most; if it falls behind by more, the oldest are dropped"""

T = TypeVar("T")


class Series:
    """Writes what was measured into `<what>-<pid>.jsonl` in a folder until stopped.

    Args:
        directory: where to write, and where a file `off` turns the probe off.
        take: gives the next reading.
        toggle: turns the probe on (True) or off.
        note: writes what else is known by now, whenever lines are written.
        counters: know the connections that are out, and which lines of the service took those that are back.
    """

    def __init__(
        self,
        directory: Path,
        *,
        take: Callable[[], Reading],
        toggle: Callable[[bool], None],
        note: Callable[[], None],
        counters: Counters,
    ) -> None:
        self._directory = directory
        self._off = str(directory / "off")
        self._take = take
        self._toggle = toggle
        self._note = note
        self._counters = counters
        self.active = True
        """readings are taken and written; turned by whoever turns the probe"""
        self._wanted = True
        self.completions: deque[Finished] = deque(maxlen=MOST_COMPLETIONS)
        self.left: deque[Left] = deque()
        """without a limit: a request left out would make the counts wrong"""
        self._endpoints = Endpoints()
        self._counts = Counts()
        self._unreturned = Unreturned(self._endpoints)
        self._readings: deque[Reading] = deque()
        self._files: dict[str, TextIO] = {}
        self._busy = threading.Lock()
        """held by who reads or writes: lines come in the order of time"""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; again in a forked child, which has none."""
        self._busy = threading.Lock()
        self._files = {}  # a parent's files stay the parent's: names carry the pid
        self._readings.clear()
        self.completions.clear()
        self.left.clear()
        self._unreturned = Unreturned(self._endpoints)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poolbench-probe", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and end the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()
        self.active = False
        for file in self._files.values():
            file.close()

    def flush(self) -> None:
        """Take a last reading and write all there is; nothing while off."""
        if self.active:
            self._read()
            self._attempt(self._write)

    def _run(self) -> None:
        due_s = monotonic()
        for files_are_due in cycle([True] + [False] * (READINGS_A_WRITE - 1)):
            sleep(max(0.0, due_s - monotonic()))  # a third of what waiting for the event costs an idle process
            if self._stopped.is_set():
                return
            if self.active:
                self._read()
            if files_are_due:
                self._attempt(self._see_to_files)
            # From now on if late: a stopped machine must not be followed by a burst of lines.
            due_s = max(due_s + INTERVAL_S, monotonic())

    def _read(self) -> None:
        with self._busy:
            self._readings.append(self._take())

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            # The service matters more than its measurement: say it once and leave it alone.
            logging.getLogger("harness.probe").warning("The probe cannot write and stops: %s", error)
            self._stopped.set()
            self.active = False
            self._toggle(False)

    def _see_to_files(self) -> None:
        wanted = not os.path.exists(self._off)  # noqa: PTH110 -- one call less, in every idle process
        if wanted != self._wanted:
            self._wanted = wanted
            self._toggle(wanted)
        if self.active:
            self._write()

    def _write(self) -> None:
        with self._busy:
            self._append("probe", map(text_of, _emptied(self._readings)))
            self._append("completions", map(completion_line, _emptied(self.completions)))
            requests = self._endpoints.keyed(_emptied(self.left))
            self._append("counts", self._counts.lines(requests))
            self._append("holds", hold_lines(requests))
            self._append("unreturned", self._unreturned.lines(self._counters.still_out(), monotonic_ns()))
            if self._counters.sites is not None:
                self._append("sites", site_lines(_emptied(self._counters.sites), self._endpoints))
        self._note()

    def _append(self, name: str, lines: Iterable[str]) -> None:
        text = "".join(lines)
        if not text:
            return
        if name not in self._files:
            path = self._directory / f"{name}-{os.getpid()}.jsonl"
            self._files[name] = path.open("a", encoding="ascii")
        self._files[name].write(text)
        self._files[name].flush()


def _emptied(queue: deque[T]) -> list[T]:
    """What is in it, taken out; others may go on filling it."""
    return [queue.popleft() for _ in range(len(queue))]
