"""CPU and memory of the processes that take part, cheaply enough for ten readings a second."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.observe.sampler import Row

_LINUX = Path("/proc/self/stat").exists()
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TREE_AGE_S = 1.0  # how long a process tree is taken as known before it is looked up again


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One process, now."""

    cpu_s: float
    reaped_cpu_s: float
    """of its children that have ended"""
    rss_bytes: int
    shared_bytes: int
    """the part of `rss_bytes` other processes may map too; 0 where it is not known"""
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A process that is watched, with its descendants unless they have roots of their own."""

    pid: int
    role: str
    launch_id: str
    descendants: bool = True


class ProcessSampler:
    """One row per process of every tree. The tree is looked up once a second, each process read every time."""

    name = "process"

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots = roots
        self._members: Mapping[int, Root] = {}
        self._looked_up_s = -_TREE_AGE_S

    def read(self) -> Sequence[Row]:
        now_s = time.monotonic()
        if now_s - self._looked_up_s >= _TREE_AGE_S:
            self._members = {pid: root for root in self._roots for pid in _members(root)}
            self._looked_up_s = now_s
        return [
            _row(root, pid, usage.cpu_s, usage.rss_bytes, usage.threads)
            for pid, root in self._members.items()
            if (usage := usage_of(pid)) is not None
        ]


class PostgresTreeSampler:
    """One row for a whole server. Its processes are many, so this one runs at a slower interval."""

    name = "postgres processes"

    def __init__(self, postmaster_pid: int) -> None:
        self._root = Root(pid=postmaster_pid, role="postgres", launch_id="")

    def read(self) -> Sequence[Row]:
        """CPU includes connections that have ended; memory counts shared buffers once, not once a connection."""
        parent = usage_of(self._root.pid)
        if parent is None:
            raise ProcessLookupError(f"the postmaster {self._root.pid} is gone")
        members = [usage for pid in tree(self._root.pid) if (usage := usage_of(pid, shared=True)) is not None]
        private = sum(usage.rss_bytes - usage.shared_bytes for usage in members)
        shared = max((usage.shared_bytes for usage in members), default=0)
        cpu_s = parent.reaped_cpu_s + sum(usage.cpu_s for usage in members)
        return [_row(self._root, self._root.pid, cpu_s, private + shared, sum(usage.threads for usage in members))]


def tree(pid: int) -> list[int]:
    """`pid` and its descendants, those that are there. Linux lists children per thread, at no scan of all processes."""
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        return _tree_portable(pid)
    found = [pid]
    for each in found:  # grows while it is walked
        found.extend(_children(each))
    return found


def usage_of(pid: int, *, shared: bool = False) -> Usage | None:
    """What `pid` uses; None when it has ended. `shared` asks for `shared_bytes`, at the cost of a second file."""
    if not _LINUX:
        return _usage_portable(pid)
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        statm = Path(f"/proc/{pid}/statm").read_text().split() if shared else None
    except (FileNotFoundError, ProcessLookupError):
        return None
    if state in "ZX":
        return None
    return Usage(
        cpu_s=(int(fields[10]) + int(fields[11])) * _TICK_S,
        reaped_cpu_s=(int(fields[12]) + int(fields[13])) * _TICK_S,
        threads=int(fields[16]),
        rss_bytes=int(statm[1] if statm else fields[20]) * _PAGE_BYTES,
        shared_bytes=int(statm[2]) * _PAGE_BYTES if statm else 0,
    )


def _members(root: Root) -> list[int]:
    return tree(root.pid) if root.descendants else [root.pid]


def _row(root: Root, pid: int, cpu_s: float, rss_bytes: int, threads: int) -> Row:
    return {
        "launch_id": root.launch_id,
        "role": root.role,
        "pid": pid,
        "cpu_s": cpu_s,
        "rss_bytes": rss_bytes,
        "threads": threads,
    }


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.extend(map(int, (task / "children").read_text().split()))
    except (FileNotFoundError, ProcessLookupError):
        pass  # the process or a thread ended as we looked
    return found


def _tree_portable(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _usage_portable(pid: int) -> Usage | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, threads, rss = process.cpu_times(), process.num_threads(), process.memory_info().rss
    except psutil.Error:
        return None
    reaped_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return Usage(cpu_s=times.user + times.system, reaped_cpu_s=reaped_s, rss_bytes=rss, shared_bytes=0, threads=threads)
