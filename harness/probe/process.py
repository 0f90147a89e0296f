"""The probe of a process: its engines, its interpreter, its requests, and the files they are written to."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from functools import cache
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from .applied import Applied
from .engines import Engines
from .line import Line, Reading, line_of
from .live import LiveCount
from .runtime import GcPauses, LoopLag, Threadpool
from .series import Series

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

DIRECTORY_VARIABLE = "POOLBENCH_PROBE_DIR"
DETAIL_VARIABLE = "POOLBENCH_PROBE_DETAIL"
"""set: note which line of the service takes each connection"""


class ProcessProbe:
    """Everything measured in one process. Starts with the first engine watched or the first request served.

    Args:
        directory: where the time series is written; None writes none, responses still carry their header.
    """

    def __init__(self, directory: Path | None) -> None:
        self._know_process()
        self.active = True
        """False while turned off at run time"""
        self.timing = False
        """requests are timed: the probe is on and knows the event loop"""
        self.engines = Engines()
        if directory is not None and DETAIL_VARIABLE in os.environ:
            self.engines.counters.sites = deque()
        self.gc = GcPauses()
        self.lag = LoopLag()
        self.threadpool = Threadpool()
        self.live = LiveCount(directory)
        """requests in progress"""
        self.applied = Applied(directory, self.threadpool) if directory else None
        """the settings that took effect; None when nobody would write them"""
        self._series = (
            Series(
                directory,
                take=self.take,
                toggle=self.toggle,
                note=self._note_applied,
                counters=self.engines.counters,
            )
            if directory
            else None
        )
        self.completions = self._series.completions if self._series else None
        """where requests leave what they did after their response; None when nobody would write it"""
        self.left = self._series.left if self._series else None
        """where they leave what they took of the database and how they held connections"""
        self.counting_since_ns = monotonic_ns()
        """requests that began before were not seen whole"""
        self._started = False
        self._starting = threading.Lock()

    def _know_process(self) -> None:
        self.pid = os.getpid()
        self.process = f'pid;desc="{self.pid}"'
        """as it stands on every response"""

    def watch(self, engine: Engine | AsyncEngine) -> None:
        self.engines.watch(engine)
        self._note_applied()
        self.start()

    def _note_applied(self) -> None:
        if self.applied is not None:
            self.applied.write(self.engines.watched())

    def enter_loop(self) -> None:
        """Note the running event loop; called from a task on it."""
        self.start()
        self.engines.counters.loop_thread = threading.get_ident()
        self.threadpool.find()
        if self.applied is not None:
            self.applied.serving = True
            self.applied.sessions.watch()
        self.timing = self.active
        if self.active:
            self.lag.start(asyncio.get_running_loop())

    def start(self) -> None:
        with self._starting:
            if not self._started:
                self._started = True
                self.gc.start()
                if self._series is not None:
                    self._series.start()

    def stop(self) -> None:
        """Measure nothing any more and close the files."""
        if self._series is not None and self._started:
            self._series.stop()
        self.toggle(False)

    def toggle(self, active: bool) -> None:
        """Turn everything on or off at run time, from any thread; off leaves nothing on a request's way."""
        if active == self.active:
            return
        if not active:
            self.flush()
        self.active = active
        if self._series is not None:
            self._series.active = active
        loop = self.lag.loop
        self.timing = active and loop is not None
        if active:
            self.engines.on()
            self.counting_since_ns = monotonic_ns()
            self.gc.start()
            self.threadpool.watch()
            if loop is not None:
                loop.call_soon_threadsafe(self.lag.start, loop)
        else:
            self.engines.off()
            self.gc.stop()
            self.lag.stop()
            self.threadpool.stop()

    def flush(self) -> None:
        """Write what is known now."""
        if self._series is not None and self._started:
            self._series.flush()

    def read(self) -> Line:
        """What there is to see now, by name. Resets the maxima, which are over the time since the previous reading."""
        return line_of(self.take())

    def take(self) -> Reading:
        """The same, not yet named."""
        now_ns = monotonic_ns()
        self.timing = self.active and self.lag.loop is not None  # a loop that was closed makes room for the next one
        return (
            now_ns,
            self.pid,
            *self.engines.read(now_ns),
            *self.gc.read(),
            *self.lag.read(now_ns),
            *self.threadpool.read(),
        )

    def after_fork(self) -> None:
        """A forked child counts for itself and writes its own files."""
        self._know_process()
        self._starting = threading.Lock()
        self.live.renew()
        self.engines.after_fork()
        if self.applied is not None:
            self.applied.after_fork()
            if self.engines.watched():
                self._note_applied()
        self.gc.forget()
        self.lag = LoopLag()
        self.timing = False
        if self._started and self._series is not None:
            self._series.start()


@cache
def process_probe() -> ProcessProbe:
    """This process's probe, made at first use."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    probe = ProcessProbe(Path(directory) if directory else None)
    os.register_at_fork(after_in_child=probe.after_fork)
    return probe
