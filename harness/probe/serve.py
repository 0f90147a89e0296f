"""Serves an app with uvicorn on an inherited socket, the probe installed before the app is imported."""

from __future__ import annotations

import inspect
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.importer import ImportFromStringError, import_from_string
from uvicorn.supervisors import Multiprocess

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

STARTUP_FAILURE = 3
"""uvicorn's own exit code for it, whose name moved between versions"""

KEEP_ALIVE_S = 120
"""longer than any pause between segments: a connection closed under the generator would look like an error"""
GRACEFUL_S = 1
END_AT_LATEST_S = 3.0
"""after SIGTERM; a blocked event loop never sees uvicorn's own limit"""


def serve(app: str, *, listener: socket.socket, workers: int, probe: bool, log_level: str) -> int:
    """Serve `pkg.module:attribute` until SIGTERM or SIGINT; returns the exit code."""
    options: dict[str, Any] = {"timeout_graceful_shutdown": GRACEFUL_S}  # not before uvicorn 0.22
    config = ProbeConfig(
        app,
        probe=probe,
        workers=workers,
        log_level=log_level,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        **_taken_by(uvicorn.Config, options),
    )
    server = uvicorn.Server(config)
    if workers == 1:
        server.run(sockets=[listener])
        return 0 if server.started else STARTUP_FAILURE
    # Newer versions make the server in the worker.
    supervisor = Multiprocess(config, sockets=[listener], **_taken_by(Multiprocess, {"target": server.run}))
    supervisor.run()
    return STARTUP_FAILURE if config.start_failed is not None and config.start_failed.is_set() else 0


def _taken_by(function: Callable[..., object], options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that this version of a function knows."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in known}


class ProbeConfig(uvicorn.Config):
    """uvicorn's settings, pickled to every worker it spawns; `load` runs in the worker, before it serves."""

    def __init__(self, app: str, *, probe: bool, **options: Any) -> None:
        super().__init__(app, **options)
        self.probe = probe
        self.start_failed = multiprocessing.get_context("spawn").Event() if self.workers > 1 else None
        """in any of the workers; None without a supervisor"""

    def load(self) -> None:
        end_promptly(limit_s=END_AT_LATEST_S)
        if self.start_failed is not None:
            self._end_where_the_start_fails()
        _before_the_app(probe=self.probe)
        # Not left to uvicorn, each of whose versions does it at another place.
        self.app = self._imported()
        super().load()
        if self.probe:
            from . import asgi

            self.loaded_app = asgi(self.loaded_app)

    def _imported(self) -> Any:
        """Import the app, or call what makes it."""
        log = logging.getLogger("uvicorn.error")
        try:
            target = import_from_string(self.app)
            return target() if is_factory(target) else target
        except ImportFromStringError as error:
            log.error("Error loading ASGI app. %s", error)
        except Exception:
            log.exception("The app %s failed while it was imported or made", self.app)
        self._end_the_supervisor()
        sys.exit(STARTUP_FAILURE)

    def _end_where_the_start_fails(self) -> None:
        """Have a worker whose app's own start fails end as one whose app cannot be imported."""
        any_server: Any = uvicorn.Server
        plain = any_server.startup

        async def startup(server: Any, *arguments: Any, **named: Any) -> None:
            try:
                await plain(server, *arguments, **named)
            finally:
                if not server.started:
                    self._end_the_supervisor()
            if not server.started:  # newer versions have ended the process themselves
                sys.exit(STARTUP_FAILURE)

        any_server.startup = startup

    def _end_the_supervisor(self) -> None:
        """Of a worker whose start failed.

        It would wait for ever before uvicorn 0.30, and later start workers that fail again and again.
        """
        supervisor = multiprocessing.parent_process()
        if self.start_failed is not None and supervisor is not None and supervisor.pid is not None:
            self.start_failed.set()
            os.kill(supervisor.pid, signal.SIGTERM)


def enter() -> None:
    """Do the same in a process that another command has serve: whichever way it hands its app to uvicorn."""
    any_config: Any = uvicorn.Config
    plain, probe = any_config.load, "POOLBENCH_PROBE_DIR" in os.environ
    _before_the_app(probe=probe)

    def load(config: Any) -> None:
        config.timeout_keep_alive = max(config.timeout_keep_alive, KEEP_ALIVE_S)
        plain(config)
        if probe:
            from . import asgi

            config.loaded_app = asgi(config.loaded_app)

    any_config.load = load


def _before_the_app(*, probe: bool) -> None:
    if "POOLBENCH_OVERRIDES" in os.environ:
        from . import override

        override.install()
    if probe:
        from . import driver_pools

        watch_every_engine()
        driver_pools.watch()


def is_factory(target: Any) -> bool:
    """Whether this makes an app rather than being one: an app cannot be called without arguments, and is no class
    or coroutine function that can."""
    if inspect.iscoroutinefunction(target):
        return False
    try:
        inspect.signature(target).bind()
    except (TypeError, ValueError):  # needs arguments, or does not say
        return False
    return True


def watch_every_engine() -> None:
    """Have every engine measured from its making, whichever function makes it. Does nothing without SQLAlchemy."""
    try:
        from sqlalchemy.engine import Dialect
    except ImportError:
        return
    from . import watch
    from .place import own_line

    # All paths (create_engine, async engines, engine_from_config, SQLModel) end in create_engine, which calls this
    # hook with the finished engine. Engine.__init__ would not do: create_engine reads the names of its parameters.
    plain_hook = Dialect.engine_created

    def engine_created(_dialect: type[Dialect], engine: Engine) -> None:
        plain_hook(engine)
        engine._poolbench_made_at = own_line()  # type: ignore[attr-defined]
        watch(engine)

    Dialect.engine_created = classmethod(engine_created)  # type: ignore[assignment, method-assign]  # the seam


def end_promptly(*, limit_s: float) -> None:
    """Make SIGTERM and SIGINT end this process in time even if its event loop is blocked or its shutdown hangs."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _with_deadline(signal.getsignal(number), limit_s))


def _with_deadline(handler: Any, limit_s: float) -> Any:
    def handle(number: int, frame: FrameType | None) -> None:
        timer = threading.Timer(limit_s, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        if callable(handler):
            handler(number, frame)

    return handle
