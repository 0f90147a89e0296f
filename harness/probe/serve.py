"""Serves an app with uvicorn on an inherited socket, the probe installed before the app is imported."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import socket
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
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
    # multiprocessing's own processes before uvicorn 0.30, since then uvicorn's around them
    processes = [getattr(process, "process", process) for process in supervisor.processes]
    return STARTUP_FAILURE if any(process.exitcode == STARTUP_FAILURE for process in processes) else 0


def _taken_by(function: Callable[..., object], options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that this version of a function knows."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in known}


class ProbeConfig(uvicorn.Config):
    """uvicorn's settings, pickled to every worker it spawns; `load` runs in the worker, before it serves."""

    def __init__(self, app: str, *, probe: bool, **options: Any) -> None:
        super().__init__(app, **options)
        self.probe = probe

    def load(self) -> None:
        end_promptly(limit_s=END_AT_LATEST_S)
        _before_the_app(probe=self.probe)
        # Not left to uvicorn, each of whose versions does it at another place.
        self.app = _imported(self.app)
        super().load()
        if self.probe:
            from . import asgi

            self.loaded_app = asgi(self.loaded_app)


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
        watch_every_engine()


def _imported(app: Any) -> Any:
    """Import the app, or call what makes it. Exits with uvicorn's code for a failed start, so none is retried."""
    log = logging.getLogger("uvicorn.error")
    try:
        target = import_from_string(app)
        return target() if is_factory(target) else target
    except ImportFromStringError as error:
        log.error("Error loading ASGI app. %s", error)
    except Exception:
        log.exception("The app %s failed while it was imported or made", app)
    sys.exit(STARTUP_FAILURE)


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

    # All paths (create_engine, async engines, engine_from_config, SQLModel) end in create_engine, which calls this
    # hook with the finished engine. Engine.__init__ would not do: create_engine reads the names of its parameters.
    plain_hook = Dialect.engine_created

    def engine_created(_dialect: type[Dialect], engine: Engine) -> None:
        plain_hook(engine)
        engine._poolbench_made_at = made_at()  # type: ignore[attr-defined]
        watch(engine)

    Dialect.engine_created = classmethod(engine_created)  # type: ignore[assignment, method-assign]  # the seam


def made_at() -> str:
    """The line of the service that is being executed, "shop/db.py:12": the innermost that is nobody else's."""
    theirs = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")] + [str(Path(__file__).parent)]
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename).absolute()
        if not str(path).startswith(tuple(theirs)) and path.exists():
            here = Path.cwd()
            return f"{path.relative_to(here) if here in path.parents else path}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


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
