"""The fingerprint: on what the numbers were measured. Nothing in it identifies a person or holds a secret."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.domain.deployed import Server

PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "sqlalchemy",
    "asyncpg",
    "psycopg",
    "locust",
    "gevent",
)


def fingerprint(server: Server | None) -> Mapping[str, Any]:
    """Machine, interpreter, packages and database, as plain JSON-able values."""
    return {
        "machine": machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "psycopg_implementation": _psycopg_implementation(),
        "postgres": None if server is None else _postgres(server),
    }


def usable_cores() -> int:
    """How many cores this process and what it starts may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> Mapping[str, Any]:
    """CPU, memory and kernel; what a cgroup allows stands beside what the machine has."""
    import psutil

    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": usable_cores(),
        "cgroup_cpu_max": _read("/sys/fs/cgroup/cpu.max"),
        "memory_bytes": psutil.virtual_memory().total,
        "cgroup_memory_max": _read("/sys/fs/cgroup/memory.max"),
        "switch_interval_s": sys.getswitchinterval(),
    }


def clock_uncertainty_ms() -> float:
    """By how much two readings of CLOCK_MONOTONIC may be out of order with what they time, on this machine.

    Its resolution, or the step between two readings made at once that all but one in a hundred stay below.
    """
    readings_ns = [time.monotonic_ns() for _ in range(2000)]
    steps_ns = sorted(after - before for before, after in pairwise(readings_ns))
    return max(time.get_clock_info("monotonic").resolution * 1e3, steps_ns[len(steps_ns) * 99 // 100] / 1e6)


def _postgres(server: Server) -> Mapping[str, Any]:
    return {
        "version": server.version,
        "provider": server.provider,
        "transport": server.transport,
        "max_connections": server.max_connections,
        "reserved_connections": server.reserved_connections,
        "owned": server.owned,
        "app_role": "superuser" if server.app is None or server.app.superuser else "ordinary",
    }


def _cpu_model() -> str:
    info = _read("/proc/cpuinfo") or ""
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _psycopg_implementation() -> str | None:
    """`binary`, `c` or `python`: they differ several times over in CPU per row."""
    try:
        from psycopg import pq
    except ImportError:
        return None
    return str(pq.__impl__)
