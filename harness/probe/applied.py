"""Which settings a process really has: what an experiment asks for is worth nothing if the app decides otherwise."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Engine

from . import driver_pools
from .override import seen
from .runtime import Threadpool
from .sessions import Sessions

NEVER = -1
"""psycopg's prepare_threshold None: nothing is ever prepared"""
_CACHES = ("prepared_statement_cache_size", "statement_cache_size", "prepare_threshold")


class Applied:
    """Keeps `applied-<pid>.json` of a folder: rewritten when more is known, so a reader has all of it or an older one.

    Reading takes some ten microseconds and no request waits for it: the thread that writes the time series does it.
    """

    def __init__(self, directory: Path, threadpool: Threadpool) -> None:
        self._directory = directory
        self._threadpool = threadpool
        self._caches: WeakKeyDictionary[Engine, dict[str, int]] = WeakKeyDictionary()
        self.sessions = Sessions()
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew, as a forked child must: it may be told otherwise than its parent."""
        self._lock = threading.Lock()
        self._written = ""
        self._frozen = False
        self._has_engine = False
        self.serving = False
        """it has an event loop that takes requests"""
        self.sessions.forget()

    def write(self, engines: Collection[Engine]) -> None:
        """Write what is known now, unless the file says so already."""
        with self._lock:
            self._has_engine = self._has_engine or bool(engines)
            # Counting walks through all that is frozen: once is enough. While nothing is, it costs nothing.
            self._frozen = self._frozen or gc.get_freeze_count() > 0
            known = {
                "serving": self.serving,
                "threadpool_tokens": self._threadpool.read()[1] or None,
                "gc_frozen": self._frozen,
                "expire_on_commit": self.sessions.expire_on_commit,
                "echo_off": seen.echo_off,
                "other_engines": seen.others,
                "has_engine": self._has_engine,
                "driver_pools": driver_pools.seen,
                "engines": [applied_of(engine) | self._caches_of(engine) for engine in engines],
            }
            text = json.dumps(known)
            if text == self._written:
                return
            path = self._directory / f"applied-{os.getpid()}.json"
            beside = path.with_suffix(".part")
            try:
                beside.write_text(text, encoding="ascii")
                beside.replace(path)
            except OSError:
                return  # the time series says so; the service goes on
            self._written = text

    def _caches_of(self, engine: Engine) -> dict[str, int | None]:
        """Of the first connection that was seen idle; a pool that keeps none shows nothing."""
        if engine not in self._caches and (found := caches_of(idle_connection(engine.pool))):
            self._caches[engine] = found
        return dict.fromkeys(_CACHES) | self._caches.get(engine, {})


def applied_of(engine: Engine) -> dict[str, Any]:
    """The engine's driver and its pool's settings; None where this kind of pool has no such setting."""
    pool: Any = engine.pool
    size = getattr(pool, "size", None)
    return {
        "driver": engine.dialect.driver,
        "made_at": getattr(engine, "_poolbench_made_at", ""),
        "is_async": bool(getattr(engine.dialect, "is_async", False)),
        "pool_class": getattr(pool, "_poolbench_plain_class", type(pool)).__name__,
        "pool_size": size() if callable(size) else None,
        "max_overflow": getattr(pool, "_max_overflow", None),
        "pool_timeout_s": getattr(pool, "_timeout", None),
        "pool_recycle_s": getattr(pool, "_recycle", None),
        "pool_pre_ping": getattr(pool, "_pre_ping", None),
        "pool_use_lifo": getattr(getattr(pool, "_pool", None), "use_lifo", None),
    }


def idle_connection(pool: Any) -> Any:
    """A connection that lies in the pool's queue, looked at without being taken; None where there is none."""
    parts = getattr(getattr(pool, "_pool", None), "__dict__", {})
    # as in `harness.probe.pool`: the async queue's own is made at first use, by nobody but the service
    idle = parts.get("queue") or getattr(parts.get("_queue"), "_queue", None)
    try:
        return idle[0].dbapi_connection if idle else None
    except (IndexError, AttributeError):  # just taken, or an older SQLAlchemy
        return None


def caches_of(connection: Any) -> dict[str, int]:
    """What a driver's connection keeps prepared, as far as it shows that."""
    plain = getattr(connection, "_connection", connection)  # SQLAlchemy's adapter of an async driver
    found: dict[str, int] = {}
    if hasattr(connection, "_prepared_statement_cache"):
        found["prepared_statement_cache_size"] = getattr(connection._prepared_statement_cache, "capacity", 0)
    size = getattr(getattr(plain, "_config", None), "statement_cache_size", None)
    if isinstance(size, int):
        found["statement_cache_size"] = size
    if hasattr(plain, "prepare_threshold"):
        found["prepare_threshold"] = NEVER if plain.prepare_threshold is None else plain.prepare_threshold
    return found
