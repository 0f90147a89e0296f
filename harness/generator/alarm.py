"""Calls back at an absolute time, more finely than the event loop's own timers, which round up to a millisecond."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from gevent import get_hub

NS_PER_S = 1_000_000_000
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_TFD_TIMER_ABSTIME = 1


class Alarm(Protocol):
    """One pending call at most; setting it again replaces the time. `due_ns` is CLOCK_MONOTONIC."""

    def set(self, due_ns: int) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Time(ctypes.Structure):
    _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Time), ("value", _Time))


class TimerFdAlarm:
    """Linux: a timerfd in the event loop, exact to some 50 µs, called before other ready sockets are served.

    `callback` runs in the event loop itself and must not block; it sets the alarm anew if it wants another call.
    Setting a timerfd also clears its readiness, so it never has to be read.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        libc: Any = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._spec = _TimerSpec()
        self._spec_pointer = ctypes.byref(self._spec)
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        loop = get_hub().loop
        self._watcher = loop.io(self._fd, 1, priority=loop.MAXPRI)
        self._callback = callback
        self._is_set = False
        self._watcher.start(self._ring)

    def set(self, due_ns: int) -> None:
        self._is_set = True
        value = self._spec.value
        value.s, value.ns = divmod(max(due_ns, 1), NS_PER_S)  # zero would disarm it
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_pointer, None)

    def _ring(self) -> None:
        self._is_set = False
        self._callback()
        if not self._is_set:
            self._spec.value.s = self._spec.value.ns = 0
            self._settime(self._fd, _TFD_TIMER_ABSTIME, self._spec_pointer, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


class LoopAlarm:
    """Anywhere else: the event loop's timer, up to a millisecond or two late."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._timer: Any = None

    def set(self, due_ns: int) -> None:
        self._stop()
        delay_s = max(0.0, (due_ns - time.monotonic_ns()) / NS_PER_S)
        self._timer = get_hub().loop.timer(delay_s)
        self._timer.start(self._callback, update=True)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()


def make_alarm(callback: Callable[[], None]) -> Alarm:
    """The finest alarm this system has."""
    if hasattr(ctypes.CDLL(None), "timerfd_create"):
        return TimerFdAlarm(callback)
    return LoopAlarm(callback)
