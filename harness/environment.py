"""The fingerprint: on what the numbers were measured. Nothing in it identifies a person or holds a secret."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.domain.evidence import Server

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


def machine() -> Mapping[str, Any]:
    """CPU, memory and kernel; what a cgroup allows stands beside what the machine has."""
    import psutil

    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cgroup_cpu_max": _read("/sys/fs/cgroup/cpu.max"),
        "memory_bytes": psutil.virtual_memory().total,
        "cgroup_memory_max": _read("/sys/fs/cgroup/memory.max"),
        "switch_interval_s": sys.getswitchinterval(),
    }


def _postgres(server: Server) -> Mapping[str, Any]:
    return {
        "version": server.version,
        "provider": server.provider,
        "transport": server.transport,
        "max_connections": server.max_connections,
        "reserved_connections": server.reserved_connections,
        "owned": server.owned,
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
