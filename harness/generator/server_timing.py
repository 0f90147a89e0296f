"""Reads what the probe says on a response, `pool;dur=1200e-6, db;dur=3400e-6, app;dur=2100e-6, pid;desc="12"` (ms)."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

_OWN = re.compile(r'pool;dur=(\d{1,15})e-6, db;dur=(\d{1,15})e-6, app;dur=(\d{1,15})e-6, pid;desc="(\d{1,9})"')
"""the probe's metrics alone, as it writes them: nearly every response, in a fraction of the general way's time"""
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
    if own := _OWN.fullmatch(str(value)):
        pool_ns, db_ns, app_ns, pid = map(int, own.groups())
        return ServerTiming(pool_ns / 1e6, db_ns / 1e6, app_ns / 1e6, pid)
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
