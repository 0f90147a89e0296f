"""Reads what the probe says on a response: `pool;dur=1.2, db;dur=3.4, app;dur=2.1, pid;desc="1234"` (ms)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

_DURATION_MS_MAX = 1e9  # far beyond any timeout, and within a 32-bit float


class ServerTiming(NamedTuple):
    """What the probe put on a response."""

    pool_ms: float = math.nan
    db_ms: float = math.nan
    app_ms: float = math.nan
    pid: int = 0


UNSEEN = ServerTiming()


def parse_server_timing(value: str) -> ServerTiming:
    """Read the probe's metrics from a Server-Timing header; others' metrics and malformed ones are left out."""
    found: dict[str, Any] = {}
    for metric in str(value).split(","):
        name, _, parameter = metric.strip().partition(";")
        key, _, figure = parameter.strip().partition("=")
        try:
            if name == "pid" and key == "desc":
                found["pid"] = int(figure.strip('"'))
            elif name in ("pool", "db", "app") and key == "dur":
                found[f"{name}_ms"] = min(float(figure), _DURATION_MS_MAX)
        except ValueError:
            continue
    return ServerTiming(**found)
