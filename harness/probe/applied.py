"""Which settings an engine really has: what an experiment asks for is worth nothing if the app decides otherwise."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine


def applied_of(engine: Engine) -> dict[str, Any]:
    """The engine's driver and its pool's settings; None where this kind of pool has no such setting."""
    pool: Any = engine.pool
    size = getattr(pool, "size", None)
    return {
        "driver": engine.dialect.driver,
        "pool_class": getattr(pool, "_poolbench_plain_class", type(pool)).__name__,
        "pool_size": size() if callable(size) else None,
        "max_overflow": getattr(pool, "_max_overflow", None),
        "pool_timeout_s": getattr(pool, "_timeout", None),
        "pool_recycle_s": getattr(pool, "_recycle", None),
        "pool_pre_ping": getattr(pool, "_pre_ping", None),
        "pool_use_lifo": getattr(getattr(pool, "_pool", None), "use_lifo", None),
    }


def write_applied(directory: Path, engines: Iterable[Engine]) -> None:
    """Write `applied-<pid>.json`, one entry an engine of this process; a reader sees it whole or not at all."""
    path = directory / f"applied-{os.getpid()}.json"
    beside = path.with_suffix(".part")
    try:
        beside.write_text(json.dumps([applied_of(engine) for engine in engines]), encoding="ascii")
        beside.replace(path)
    except OSError:
        return  # the time series says so; the service goes on
