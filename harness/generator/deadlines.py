"""When requests have taken too long: one timer for all of a launch, which all have the same time."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import gevent
from gevent import get_hub, getcurrent

NS_PER_S = 1_000_000_000


class Deadline:
    """Of one request: `greenlet` is who waits for it, None once nobody does."""

    __slots__ = ("due_ns", "greenlet")

    def __init__(self, due_ns: int, greenlet: Any) -> None:
        self.due_ns = due_ns
        self.greenlet = greenlet


class Deadlines:
    """Throws gevent.Timeout into a greenlet whose request is not over in time.

    All have as long, so they run out in the order in which they began: a queue, and one timer for its head, cost a
    tenth of a timer for each.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._waiting: deque[Deadline] = deque()
        self._timer: Any = None

    def begin(self, now_ns: int) -> Deadline:
        """A deadline for the current greenlet, `timeout_s` from now; `end` it when the request is over."""
        deadline = Deadline(now_ns + self._timeout_ns, getcurrent())
        self._waiting.append(deadline)
        if self._timer is None:
            self._set_timer(deadline.due_ns)
        return deadline

    def end(self, deadline: Deadline) -> None:
        deadline.greenlet = None
        waiting = self._waiting
        while waiting and waiting[0].greenlet is None:
            waiting.popleft()

    def _set_timer(self, due_ns: int) -> None:
        delay_s = max(0.0, (due_ns - time.monotonic_ns()) / NS_PER_S)
        self._timer = get_hub().loop.timer(delay_s)
        self._timer.start(self._ring, update=True)

    def _ring(self) -> None:
        """Called from the event loop: a greenlet that is thrown into comes back here when it waits again or ends."""
        self._timer.stop()
        self._timer.close()
        self._timer = None
        now_ns = time.monotonic_ns()
        while self._waiting and self._waiting[0].due_ns <= now_ns:
            greenlet = self._waiting.popleft().greenlet
            if greenlet is not None:
                greenlet.throw(gevent.Timeout(self.timeout_s))
        if self._waiting and self._timer is None:
            self._set_timer(self._waiting[0].due_ns)
