"""The probe: what a service's connection pool, event loop and garbage collector did, without a change to the service.

Put on a target's path, in the service's own interpreter: Python 3.9 or newer, SQLAlchemy 1.4 to 2.1, uvicorn from 0.20
on, and the standard library. Its modules import each other relatively, since the package goes by two names.
Three ways in:

- `python harness/probe/__main__.py pkg.module:app --fd N` serves an app with everything measured, this package loaded
  as `_poolbench_probe`;
- `watch(engine)` measures one engine, sync or async;
- `app = asgi(app)` adds pool, database and application time to every response (`Server-Timing`).

With POOLBENCH_PROBE_DIR set, each process writes `probe-<pid>.jsonl`, `completions-<pid>.jsonl`,
`counts-<pid>.jsonl`, `holds-<pid>.jsonl` and `unreturned-<pid>.jsonl` there, and turns itself off while a file `off`
exists in that folder.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .process import ProcessProbe
    from .request import Application, TimedApp

__all__ = ["asgi", "process_probe", "watch"]

# Imported inside, so that serving with --no-probe loads none of this.


def process_probe() -> ProcessProbe:
    """This process's probe, made at first use."""
    probe: ProcessProbe = _part("process").process_probe()
    return probe


def watch(engine: Engine | AsyncEngine) -> None:
    """Measure this engine's pool and statements from now on. Watching an engine again changes nothing."""
    process_probe().watch(engine)


def asgi(app: Application) -> TimedApp:
    """Wrap an ASGI app so that each response says where its time went."""
    timed: TimedApp = _part("request").TimedApp(app, process_probe())
    return timed


def _part(name: str) -> Any:
    """A module of the package that serves this process: an app may import its second copy, as `harness.probe`."""
    package = "_poolbench_probe" if "_poolbench_probe" in sys.modules else __name__
    return import_module(f"{package}.{name}")
