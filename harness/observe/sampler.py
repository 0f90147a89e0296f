"""The seam behind which readings come from, and the thread that takes them at jittered intervals."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from harness.domain.observed import SamplerGap

_JITTER = 0.2  # so that nothing periodic, such as uniform arrivals, stays in step with the readings
_GAP_INTERVALS = 5.0
_LATE_INTERVALS = 1.5
_LATE_S_MIN = 0.15
"""Beside 13 others that wanted one of two cores a reading began 0.05 s late at most."""
STOP_TIMEOUT_S = 10.0
"""longer than any reading may take"""

Row = Mapping[str, object]


class Sampler(Protocol):
    @property
    def name(self) -> str: ...

    def read(self) -> Sequence[Row]:
        """What there is to see now, without `t_ns`. It may raise: that becomes a gap, and the next reading is tried."""
        ...


class GapTracker:
    """Decides from the times of readings and failures where a sampler gave nothing. Pure; times are monotonic ns.

    A reading that takes long may be Postgres's doing, and up to five intervals are allowed for it. That one begins late
    is the sampler's own: it stood still.
    """

    def __init__(self, name: str, interval_s: float) -> None:
        self._name = name
        self._allowed_s = _GAP_INTERVALS * interval_s
        self._late_s = max(_LATE_INTERVALS * interval_s, _LATE_S_MIN)
        self._since_ns = 0
        self._reason = ""
        self._stood_still = False
        self.gaps: list[SamplerGap] = []

    def opened(self, t_ns: int) -> None:
        """Readings are expected from now on."""
        self._since_ns, self._reason, self._stood_still = t_ns, "", False

    def begun(self, late_s: float) -> None:
        """A reading begins, so long after it was due."""
        self._stood_still = self._stood_still or late_s > self._late_s

    def failed(self, reason: str) -> None:
        """A reading raised. The first reason is kept: what follows it is mostly its consequence."""
        self._reason = self._reason or reason

    def reading(self, t_ns: int) -> None:
        """A reading came; a gap before it ends here. Any failure counts, otherwise only more than five intervals."""
        length_s = (t_ns - self._since_ns) / 1e9
        if self._reason or self._stood_still or length_s > self._allowed_s:
            gap = SamplerGap(sampler=self._name, t_ns=self._since_ns, length_s=length_s, reason=self._reason)
            self.gaps.append(gap)
        self._since_ns, self._reason, self._stood_still = t_ns, "", False

    closed = reading
    """No more readings are expected; what was missing up to now is a gap all the same."""


class SamplerLoop:
    """One sampler, one thread. `rows` and `gaps` are complete once `stop` returned.

    `cpus` are the processors its thread keeps to; without any it runs where this process does. With `last` it is read
    once more as it stops.
    """

    def __init__(
        self, sampler: Sampler, *, interval_s: float, cpus: Set[int] = frozenset(), last: bool = False
    ) -> None:
        self._sampler = sampler
        self._interval_s = interval_s
        self._cpus = cpus
        self._last = last
        self._tracker = GapTracker(sampler.name, interval_s)
        self._changed = threading.Condition()  # held during a reading, so that `pause` returns after its end
        self._paused_s: float | None = None
        """when `pause` was called; None while readings are taken"""
        self._due_s = 0.0
        self._stopped = False
        self._abandoned = False
        self._jitter = random.Random()
        self._thread = threading.Thread(target=self._run, name=f"sampler {sampler.name}", daemon=True)
        self.rows: list[dict[str, object]] = []

    @property
    def gaps(self) -> tuple[SamplerGap, ...]:
        return tuple(self._tracker.gaps)

    def start(self) -> None:
        self._due_s = time.monotonic()
        self._tracker.opened(time.monotonic_ns())
        self._thread.start()

    def pause(self) -> None:
        """No reading is under way when this returns, and none is taken until `resume`."""
        with self._changed:
            if self._paused_s is None and not self._stopped:
                self._paused_s = time.monotonic()
                self._tracker.closed(time.monotonic_ns())

    def resume(self) -> None:
        """Go on; the interval goes on too, where `pause` interrupted it."""
        with self._changed:
            if self._paused_s is not None and not self._stopped:
                self._due_s += time.monotonic() - self._paused_s
                self._paused_s = None
                self._tracker.opened(time.monotonic_ns())
                self._changed.notify()

    def stop(self) -> None:
        """End the thread; calling it again does nothing. A reading that does not return is left alone: it is a gap."""
        if self._abandoned:
            return
        if not self._changed.acquire(timeout=STOP_TIMEOUT_S):
            self._stopped = self._abandoned = True
            self._tracker.failed(f"a reading did not return within {STOP_TIMEOUT_S:g} s")
            self._tracker.closed(time.monotonic_ns())
            return
        try:
            if not self._stopped:
                if self._paused_s is None:
                    if self._last:
                        self._read()
                    self._tracker.closed(time.monotonic_ns())
                self._stopped = True
                self._changed.notify()
        finally:
            self._changed.release()
        self._thread.join()

    def _run(self) -> None:
        if self._cpus and sys.platform == "linux":
            os.sched_setaffinity(0, self._cpus)  # of this thread, and of what it starts
        while self._read_when_due():
            pass

    def _read_when_due(self) -> bool:
        """Wait and take one reading; False when the loop is to end."""
        with self._changed:
            while not self._stopped:
                delay_s = self._due_s - time.monotonic()
                if self._paused_s is None and delay_s <= 0:
                    self._tracker.begun(-delay_s)
                    self._read()
                    step_s = self._interval_s * self._jitter.uniform(1 - _JITTER, 1 + _JITTER)
                    self._due_s = max(self._due_s + step_s, time.monotonic())  # after a stall, no burst to catch up
                    return True
                self._changed.wait(delay_s if self._paused_s is None else None)
        return False

    def _read(self) -> None:
        before_ns = time.monotonic_ns()
        try:
            rows = self._sampler.read()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it becomes a gap with its reason
            first_line = next(iter(str(error).splitlines()), "")
            self._tracker.failed(f"{type(error).__name__}: {first_line}")
            return
        t_ns = (before_ns + time.monotonic_ns()) // 2
        self.rows.extend({"t_ns": t_ns, **row} for row in rows)
        self._tracker.reading(t_ns)
