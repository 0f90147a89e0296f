"""The probe: what a service's connection pool, event loop and garbage collector did, without a change to the service.

Put on a target's path; needs the standard library and SQLAlchemy, nothing else of poolbench. Three ways in:

- `python -m harness.probe pkg.module:app --fd N` serves an app with everything measured;
- `watch(engine)` measures one engine, sync or async;
- `app = asgi(app)` adds pool, database and application time to every response (`Server-Timing`).

With POOLBENCH_PROBE_DIR set, each process writes `probe-<pid>.jsonl`, `completions-<pid>.jsonl` and
`counts-<pid>.jsonl` there, and turns itself off while a file `off` exists in that folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from harness.probe.request import Application, TimedApp

__all__ = ["asgi", "watch"]

# Imported inside, so that `python -m harness.probe --no-probe` serves an app with none of this loaded.


def watch(engine: Engine | AsyncEngine) -> None:
    """Measure this engine's pool and statements from now on. Watching an engine again changes nothing."""
    from harness.probe.process import process_probe

    process_probe().watch(engine)


def asgi(app: Application) -> TimedApp:
    """Wrap an ASGI app so that each response says where its time went."""
    from harness.probe.process import process_probe
    from harness.probe.request import TimedApp

    return TimedApp(app, process_probe())
