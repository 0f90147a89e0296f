"""The thread that writes: a line of the time series ten times a second, completion records, and it heeds `off`."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import TextIO

from harness.probe.request import Finished, completion_line

INTERVAL_S = 0.1
MOST_COMPLETIONS = 20_000
"""kept for the writer at most; if it falls behind by more, the oldest are dropped"""

Line = dict[str, int | float]


class Series:
    """Writes `probe-<pid>.jsonl` and `completions-<pid>.jsonl` in a folder until stopped.

    Args:
        directory: where to write, and where a file `off` turns the probe off.
        read: gives the next line.
        toggle: turns the probe on (True) or off.
    """

    def __init__(self, directory: Path, *, read: Callable[[], Line], toggle: Callable[[bool], None]) -> None:
        self._directory = directory
        self._off = str(directory / "off")
        self._read = read
        self._toggle = toggle
        self.active = True
        """lines are written; turned by whoever turns the probe"""
        self._wanted = True
        self.completions: deque[Finished] = deque(maxlen=MOST_COMPLETIONS)
        self._files: dict[str, TextIO] = {}
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; again in a forked child, which has none."""
        self._writing = threading.Lock()
        self._files = {}  # a parent's files stay the parent's: names carry the pid
        self.completions.clear()
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
        """Write a last line now; nothing while off."""
        if self.active:
            self._attempt(self._write)

    def _run(self) -> None:
        due_s = monotonic()
        while True:
            sleep(max(0.0, due_s - monotonic()))  # a third of what waiting for the event costs an idle process
            if self._stopped.is_set():
                return
            self._attempt(self._tick)
            # From now on if late: a stopped machine must not be followed by a burst of lines.
            due_s = max(due_s + INTERVAL_S, monotonic())

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            # The service matters more than its measurement: say it once and leave it alone.
            logging.getLogger("harness.probe").warning("The probe cannot write and stops: %s", error)
            self._stopped.set()
            self.active = False
            self._toggle(False)

    def _tick(self) -> None:
        wanted = not os.path.exists(self._off)  # noqa: PTH110 -- ten times a second in every idle process
        if wanted != self._wanted:
            self._wanted = wanted
            self._toggle(wanted)
        if self.active:
            self._write()

    def _write(self) -> None:
        with self._writing:
            self._append("probe", json.dumps(self._read()) + "\n")
            finished = [self.completions.popleft() for _ in range(len(self.completions))]
            if text := "".join(map(completion_line, finished)):
                self._append("completions", text)

    def _append(self, name: str, text: str) -> None:
        if name not in self._files:
            path = self._directory / f"{name}-{os.getpid()}.jsonl"
            self._files[name] = path.open("a", encoding="ascii")
        self._files[name].write(text)
        self._files[name].flush()
