"""The engines of a process: watches them, turns their measuring off and on, sums what their pools say."""

from __future__ import annotations

import threading
from time import monotonic_ns
from typing import TYPE_CHECKING, Any
from weakref import ref

from sqlalchemy.engine import Engine

from . import dialect, drivers
from .counters import Counters
from .line import Reading
from .pool import PoolInstrument, read_pool

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class Engines:
    """Every watched engine, weakly: an engine the app drops is not kept alive by being measured."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._instrument = PoolInstrument(self.counters)
        self._instrument.active = True
        self._references: list[ref[Engine]] = []
        self._lock = threading.Lock()

    def watch(self, engine: Engine | AsyncEngine) -> None:
        """Measure this engine, now or once measuring is on again."""
        plain = _plain_engine(engine)
        with self._lock:
            if plain not in self._engines():
                self._references = [*map(ref, self._engines()), ref(plain)]
            if self._instrument.active:
                self._install(plain)

    def watched(self) -> list[Engine]:
        """Every engine that is watched and still there."""
        return self._engines()

    def on(self) -> None:
        """Measure again. Connections that are out are counted from what their pools say; NullPool cannot say."""
        with self._lock:
            self._instrument.active = True
            self.counters.resume(monotonic_ns())
            for engine in self._engines():
                self._install(engine)

    def off(self) -> None:
        """Give pools and dialects back their own methods."""
        with self._lock:
            self._instrument.active = False
            for engine in self._engines():
                self._instrument.restore(engine.pool)
                dialect.restore(engine.dialect)
            self.counters.pause(monotonic_ns())

    def after_fork(self) -> None:
        """Start over in a forked child: its counters are its own, and nobody holds its locks."""
        self._lock = threading.Lock()
        drivers.exchanges.after_fork()
        self.counters.reset()

    def _install(self, engine: Engine) -> None:
        self._instrument.install(engine.pool)
        dialect.install(engine.dialect, self.counters)

    def read(self, now_ns: int) -> Reading:
        """From `connection_max` to `connection_handover_time_s`, summed over the engines' pools."""
        maximum = checked_out = idle = overflow = pending = 0
        for pool in {engine.pool for engine in self._engines()}:
            pool_maximum, pool_checked_out, pool_idle, pool_overflow, pool_pending = read_pool(pool)
            maximum = -1 if maximum < 0 or pool_maximum < 0 else maximum + pool_maximum
            checked_out += pool_checked_out
            idle += pool_idle
            overflow += pool_overflow
            pending += pool_pending
        self.counters.bound_carried(checked_out, now_ns)
        return (maximum, self.counters.used, idle, overflow, pending, *self.counters.read(now_ns))

    def _engines(self) -> list[Engine]:
        return [engine for reference in self._references if (engine := reference()) is not None]


def _plain_engine(engine: Any) -> Engine:
    """The sync engine behind an AsyncEngine, and the one behind `execution_options()` copies, which share its pool."""
    plain = getattr(engine, "sync_engine", engine)
    while hasattr(plain, "_proxied"):
        plain = plain._proxied
    if not isinstance(plain, Engine):
        raise TypeError(f"watch() takes an Engine or AsyncEngine, not {type(engine).__name__}")
    return plain
