"""What the interpreter did: garbage collection pauses, how late the event loop runs, threads in use."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
from functools import wraps
from time import monotonic_ns
from typing import Any

from .accounting import current
from .line import Reading

BUSY_BEAT_S, IDLE_BEAT_S = 0.02, 0.1
"""Interval of the timer on the event loop while requests come and while none do: a block shorter than this may go
unseen. Waking an idle process costs it more than measuring a busy one does."""


_WATCHED = "_poolbench_watched"


class GcPauses:
    """Counts collections of any generation and the time they stop the process.

    Python runs one collection at a time and calls back within it, so the callback is never entered twice at once and
    needs no lock; `read` swaps the maximum in one step that has no call in it, where CPython cannot change threads.
    """

    def __init__(self) -> None:
        self._began_ns = 0
        self._pauses = 0
        self._pause_ns = 0
        self._worst_ns = 0

    def start(self) -> None:
        if self._callback not in gc.callbacks:
            gc.callbacks.append(self._callback)

    def stop(self) -> None:
        if self._callback in gc.callbacks:
            gc.callbacks.remove(self._callback)
        self._began_ns = 0

    def forget(self) -> None:
        """Count from zero, as a forked child must."""
        self._pauses = self._pause_ns = self._worst_ns = 0

    def _callback(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began_ns = monotonic_ns()
        elif self._began_ns:  # else: installed in the middle of a collection
            pause_ns = monotonic_ns() - self._began_ns
            self._pauses += 1
            self._pause_ns += pause_ns
            if pause_ns > self._worst_ns:  # noqa: PLR1730 -- max() is a call: threads could change between
                self._worst_ns = pause_ns

    def read(self) -> Reading:
        """From `gc_pauses` to `gc_pause_max_ms`."""
        worst_ns, self._worst_ns = self._worst_ns, 0
        return self._pauses, self._pause_ns, worst_ns


class LoopLag:
    """How late a timer on the event loop runs, read from another thread so that a blocked loop shows as it grows."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due_ns = 0
        self._worst_ns = self._lag_ns = self._beats = 0
        self._beating: object | None = None
        self.busy = True
        """set by each request"""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop watched, None before one was seen and after it was closed."""
        if self._loop is not None and self._loop.is_closed():
            self._loop = None
        return self._loop

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch this loop; call from within it, or through `call_soon_threadsafe`."""
        self._loop = loop
        self._beating = beating = object()
        self._schedule(loop, beating, monotonic_ns())

    def stop(self) -> None:
        """From any thread: the next beat is the last."""
        self._beating = None

    def _schedule(self, loop: asyncio.AbstractEventLoop, beating: object, now_ns: int) -> None:
        beat_s = BUSY_BEAT_S if self.busy else IDLE_BEAT_S
        self.busy = False
        self._due_ns = now_ns + int(beat_s * 1e9)
        loop.call_later(beat_s, self._beat, loop, beating)

    def _beat(self, loop: asyncio.AbstractEventLoop, beating: object) -> None:
        if self._beating is beating:
            now_ns = monotonic_ns()
            lag_ns = now_ns - self._due_ns
            if lag_ns > self._worst_ns:  # noqa: PLR1730 -- as in GcPauses
                self._worst_ns = lag_ns
            self._lag_ns += lag_ns
            self._beats += 1
            self._schedule(loop, beating, now_ns)

    def read(self, now_ns: int) -> Reading:
        """From `loop_lag_max_ms` to `loop_beats`; the worst may be of a beat overdue now. Swaps it as GcPauses does."""
        worst_ns, self._worst_ns = self._worst_ns, 0
        if self._beating is not None and self.loop is not None:
            worst_ns = max(worst_ns, now_ns - self._due_ns)
        return max(0, worst_ns), self._lag_ns, self._beats


class Threadpool:
    """The tokens of anyio's default limiter: as many `def` endpoints run at a time.

    A request that needs one while it holds a connection may wait for those that wait for a connection: each such moment
    is counted, on the request's account.
    """

    def __init__(self) -> None:
        self._limiter: Any = None
        self._plain: Any = None

    def find(self) -> None:
        """Take the running loop's limiter; call from within a task. Without anyio there is none."""
        if "anyio" in sys.modules:
            from anyio import to_thread

            self._limiter = to_thread.current_default_thread_limiter()
            self.watch()

    def watch(self) -> None:
        """Count from now on; nothing before the limiter was found, or where it is counted already."""
        if self._limiter is None or hasattr(sys.modules["anyio"].to_thread.run_sync, _WATCHED):
            return
        plain = self._plain = sys.modules["anyio"].to_thread.run_sync

        @wraps(plain)
        def run_sync(function: Any, *arguments: Any, **named: Any) -> Any:
            account = current.get()
            # The end of a dependency brings a limiter of its own, and never waits.
            if account is not None and account.held and named.get("limiter") is None:
                account.threads += 1
            return plain(function, *arguments, **named)

        setattr(run_sync, _WATCHED, True)
        sys.modules["anyio"].to_thread.run_sync = run_sync

    def stop(self) -> None:
        """Give anyio its own function back."""
        if self._plain is not None:
            sys.modules["anyio"].to_thread.run_sync = self._plain
            self._plain = None

    def read(self) -> Reading:
        """From `threadpool_tokens_borrowed` to `threadpool_tasks_waiting`."""
        limiter = self._limiter
        if limiter is None:
            return 0, 0, 0
        total = limiter.total_tokens
        waiting = limiter.statistics().tasks_waiting
        return limiter.borrowed_tokens, -1 if total == math.inf else int(total), waiting
