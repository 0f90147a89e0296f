"""Gives a service's engines, sessions and threads the settings that an experiment names, however they are made.

Every way to an engine (create_engine, async engines, `engine_from_config`, SQLModel) ends in `create_engine`, which
first hands all its arguments to `URL._instantiate_plugins`: SQLAlchemy's seam for plugins that change them, the same in
1.4, 2.0 and 2.1. A setting that is not named keeps the service's own value, and one that the service's kind of pool
does not have is left out: what took effect is read back, and said where it is not what was asked for. Engines that
Alembic makes stay as they are, so that migrations keep their NullPool.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Mapping
from functools import wraps
from typing import Any

VARIABLE = "POOLBENCH_OVERRIDES"
"""A JSON object: the experiment's names for settings and their values, and under "engine" which engines are meant."""

_OF_QUEUES = {
    "pool_size": "pool_size",
    "max_overflow": "max_overflow",
    "pool_timeout_s": "pool_timeout",
    "pool_use_lifo": "pool_use_lifo",
}
"""The experiment's names and `create_engine`'s, of what only pools that keep connections have."""
_OF_POOLS = {"pool_recycle_s": "pool_recycle", "pool_pre_ping": "pool_pre_ping"}
_OF_DRIVERS = {
    "asyncpg": ("prepared_statement_cache_size", "statement_cache_size"),
    "psycopg": ("prepare_threshold",),
}
_NEVER = -1
"""as prepare_threshold: psycopg calls it None"""


class Seen:
    """What the overrides met in this process."""

    def __init__(self) -> None:
        self.echo_off = False
        """an engine was to log its statements, and does not"""
        self.others: list[str] = []
        """the engines that were made and are not the one that is meant; empty once that one was"""
        self.found = False


seen = Seen()


def install() -> None:
    """Override what the environment says, in this process, before its app is imported."""
    text = os.environ.get(VARIABLE)
    if not text:
        return
    wanted = json.loads(text)
    try:
        _override_engines(Engines(wanted))
        if "expire_on_commit" in wanted:
            _override_sessions(wanted["expire_on_commit"])
    except ImportError:
        pass  # no SQLAlchemy; threads and collections remain
    _override_process(wanted)


class Engines:
    """Changes what `create_engine` is given. Engines are addressed by order (1 is the first), database or driver."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self._wanted = wanted
        self._address = str(wanted.get("engine", ""))
        self._made = 0

    def change(self, url: Any, options: dict[str, Any]) -> None:
        """Change the options of an engine in place."""
        if _made_by_alembic():
            return
        self._made += 1
        driver = _driver_of(url)
        if self._address not in {"", str(self._made), url.database, driver}:
            if not seen.found:
                seen.others.append(f"{self._made} (database {url.database}, {driver})")
            return
        seen.found, seen.others = True, []
        for name in ("echo", "echo_pool"):  # each statement a line in the log: it would dominate what is measured
            if options.get(name):
                options[name] = False
                seen.echo_off = True
        arguments = {name: self._wanted[name] for name in _OF_DRIVERS.get(driver, ()) if name in self._wanted}
        if arguments.get("prepare_threshold") == _NEVER:
            arguments["prepare_threshold"] = None
        if arguments:
            options["connect_args"] = {**(options.get("connect_args") or {}), **arguments}
        self._change_pool(options)

    def _change_pool(self, options: dict[str, Any]) -> None:
        from sqlalchemy.pool import NullPool, QueuePool

        wanted, kind = self._wanted, self._wanted.get("pool_class")
        pool = options.get("pool")
        if isinstance(pool, QueuePool) and kind in {None, "queue"}:
            _change_living(pool, wanted)
            return
        if pool is not None and kind in {"queue", "null"}:
            # Another kind is wanted than the one that was made: it dials as that one would have.
            options["creator"] = options.pop("pool")._creator
        elif pool is not None:
            return
        if kind == "queue":
            options.pop("poolclass", None)  # the dialect knows which queue is its own
        elif kind == "null":
            options["poolclass"] = NullPool
        given = options.get("poolclass")
        keeps = given is None or (isinstance(given, type) and issubclass(given, QueuePool))
        for name, parameter in _OF_QUEUES.items():
            if keeps and name in wanted:
                options[parameter] = wanted[name]
            elif kind == "null":
                options.pop(parameter, None)
        options.update({parameter: wanted[name] for name, parameter in _OF_POOLS.items() if name in wanted})


def _change_living(pool: Any, wanted: Mapping[str, Any]) -> None:
    """Of a pool that the service made itself (`pool=`), before its first connection."""
    size = wanted.get("pool_size", pool._pool.maxsize)
    pool._pool = pool._queue_class(size, use_lifo=wanted.get("pool_use_lifo", pool._pool.use_lifo))
    pool._overflow = -size
    pool._max_overflow = wanted.get("max_overflow", pool._max_overflow)
    pool._timeout = wanted.get("pool_timeout_s", pool._timeout)
    pool._recycle = wanted.get("pool_recycle_s", pool._recycle)
    pool._pre_ping = wanted.get("pool_pre_ping", pool._pre_ping)


def _override_engines(engines: Engines) -> None:
    from sqlalchemy.engine import URL

    seam: Any = URL
    plain = seam._instantiate_plugins

    def instantiate_plugins(url: Any, options: Mapping[str, Any]) -> Any:
        changed = dict(options)
        engines.change(url, changed)
        return plain(url, changed)

    seam._instantiate_plugins = instantiate_plugins


def _driver_of(url: Any) -> str:
    try:
        return str(url.get_dialect().driver)
    except Exception:  # noqa: BLE001 -- create_engine is about to say what is wrong with it
        return ""


def _made_by_alembic() -> bool:
    frame: Any = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "alembic":
            return True
        frame = frame.f_back
    return False


def _override_sessions(expire_on_commit: bool) -> None:
    """AsyncSession and every session maker make a Session."""
    from sqlalchemy.orm import Session

    any_session: Any = Session
    plain = any_session.__init__

    @wraps(plain)
    def init(session: Any, *arguments: Any, **named: Any) -> None:
        plain(session, *arguments, **named)
        session.expire_on_commit = expire_on_commit

    any_session.__init__ = init


def _override_process(wanted: Mapping[str, Any]) -> None:
    """After the service's own start, which has had its say; before its first request."""
    import uvicorn

    any_server: Any = uvicorn.Server
    plain = any_server.startup

    async def startup(server: Any, *arguments: Any, **named: Any) -> None:
        await plain(server, *arguments, **named)
        if "threadpool_tokens" in wanted and "anyio" in sys.modules:
            from anyio import to_thread

            to_thread.current_default_thread_limiter().total_tokens = wanted["threadpool_tokens"]
        if "gc_freeze" in wanted:
            gc.unfreeze()
            if wanted["gc_freeze"]:
                gc.collect()
                gc.freeze()

    any_server.startup = startup
