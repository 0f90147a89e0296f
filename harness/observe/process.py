"""CPU and memory of the processes that take part, cheaply enough for ten readings a second."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from harness.domain.observed import Standstill, StillRole
from harness.observe.host import freezers, is_frozen, says_frozen
from harness.observe.sampler import Row
from harness.observe.standstills import STOPPED, Standstills, database_of_backend

_LINUX = Path("/proc/self/stat").exists()
_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MOST_BYTES = 1 << 16
_GONE = (FileNotFoundError, ProcessLookupError)
_ATTEMPTS = 3
_STILL: Mapping[str, StillRole] = {
    "target": "target",
    "relay": "relay",
    "pgbouncer": "pgbouncer",
    "generator": "generator",
}
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
    ended: bool = False
    """a zombie: its CPU still counts for nobody else"""
    stopped: bool = False
    """or frozen, with its control group"""


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
        self._open: dict[int, Process] = {}
        self._looked_up_s = -_TREE_AGE_S
        self._standstills = Standstills()

    def read(self) -> Sequence[Row]:
        now_s = time.monotonic()
        if now_s - self._looked_up_s >= _TREE_AGE_S:
            self._look_up()
            self._looked_up_s = now_s
        seen = [
            (root, pid, usage)
            for pid, root in self._members.items()
            if (usage := self._open[pid].usage()) is not None and not usage.ended
        ]
        self._standstills.see(
            [(_STILL[r.role], r.launch_id, pid) for r, pid, u in seen if u.stopped and r.role in _STILL]
        )
        return [_row(root, pid, usage.cpu_s, usage.rss_bytes, usage.threads) for root, pid, usage in seen]

    def standstills(self, now_ns: int) -> tuple[Standstill, ...]:
        """Of all that was read, those that last still until now."""
        return self._standstills.until(now_ns)

    def close(self) -> None:
        self._keep_open(())

    def _look_up(self) -> None:
        # an earlier root keeps its processes where the trees of two overlap
        self._members = {pid: root for root in reversed(self._roots) for pid in _members(root)}
        self._keep_open(self._members)

    def _keep_open(self, pids: Collection[int]) -> None:
        for pid in self._open.keys() - pids:
            self._open.pop(pid).close()
        for pid in pids - self._open.keys():
            self._open[pid] = Process(pid)


class Process:
    """A process that is read again and again. Linux's file of it stays open: opening it costs more than reading it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stat: int | None = None
        self._freezers: list[int] = []
        if _LINUX:
            with suppress(OSError):
                self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
                self._freezers += [os.open(file, os.O_RDONLY) for file in freezers(pid)]

    def usage(self) -> Usage | None:
        """What it uses; None when it is not there any more, even if another has its number."""
        if not _LINUX:
            return _usage_portable(self._pid)
        if self._stat is None:
            return None
        try:
            usage = _usage(os.pread(self._stat, _MOST_BYTES, 0))
        except ProcessLookupError:
            return None
        return replace(usage, stopped=True) if any(map(_says_frozen, self._freezers)) else usage

    def close(self) -> None:
        for descriptor in (*self._freezers, *([] if self._stat is None else [self._stat])):
            os.close(descriptor)
        self._stat, self._freezers = None, []


class PostgresTreeSampler:
    """One row for a whole server. Its processes are many, so this one runs at a slower interval."""

    name = "postgres processes"

    def __init__(self, postmaster_pid: int, launches: Mapping[str, str] | None = None) -> None:
        """`launches` maps a database's name to the launch it belongs to."""
        self._launches = launches or {}
        self._standstills = Standstills()
        self._root = Root(pid=postmaster_pid, role="postgres", launch_id="")

    def read(self) -> Sequence[Row]:
        """CPU includes connections that have ended; memory counts shared buffers once, not once a connection."""
        parent, processes = self._consistent()
        members = processes.values()
        stopped: list[tuple[StillRole, str, int]] = [
            ("backend", self._launch_of(pid), pid) for pid, usage in processes.items() if usage.stopped
        ]
        if parent.stopped or is_frozen(self._root.pid):
            stopped.append(("postgres", "", self._root.pid))
        self._standstills.see(stopped)
        private = sum(usage.rss_bytes - usage.shared_bytes for usage in members)
        shared = max((usage.shared_bytes for usage in members), default=0)
        cpu_s = parent.cpu_s + parent.reaped_cpu_s + sum(usage.cpu_s for usage in members)
        return [_row(self._root, self._root.pid, cpu_s, private + shared, 1 + len(members))]

    def standstills(self, now_ns: int) -> tuple[Standstill, ...]:
        """Of all that was read, those that last still until now."""
        return self._standstills.until(now_ns)

    def _launch_of(self, pid: int) -> str:
        return self._launches.get(database_of_backend(pid) or "", "")

    def _consistent(self) -> tuple[Usage, dict[int, Usage]]:
        """The postmaster and its children, read while none was reaped: its CPU would be missing, or counted twice."""
        before = self._postmaster()
        for attempt in range(1, _ATTEMPTS + 1):
            pids = children_of(self._root.pid)  # of one level: server processes have no children
            members = {pid: usage for pid in pids if (usage := usage_of(pid, shared=True)) is not None}
            after = self._postmaster()
            if before.reaped_cpu_s == after.reaped_cpu_s or attempt == _ATTEMPTS:
                break
            before = after
        return after, members

    def _postmaster(self) -> Usage:
        usage = usage_of(self._root.pid)
        if usage is None or usage.ended:
            raise ProcessLookupError(f"the postmaster {self._root.pid} is gone")
        return usage


def tree(pid: int) -> list[int]:
    """`pid` and its descendants; empty when it is not there."""
    if not psutil.pid_exists(pid):
        return []
    found = [pid]
    for each in found:  # grows while it is walked
        found.extend(children_of(each))
    return found


def children_of(pid: int) -> list[int]:
    """The processes `pid` started. Linux lists them per thread, which spares a scan of all processes."""
    if not _LISTS_CHILDREN:
        return _children_portable(pid)
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 -- names are all that is needed, often
            found.extend(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
    except _GONE:
        pass  # the process or a thread ended as we looked
    return found


def spare_cpus(pids: Iterable[int]) -> Set[int]:
    """This process's processors that none of `pids` may run on; all of its own where that leaves none.

    Empty on systems that do not pin processes.
    """
    if sys.platform != "linux":
        return frozenset()
    own = os.sched_getaffinity(0)
    taken: set[int] = set()
    for pid in pids:
        with suppress(ProcessLookupError):
            taken |= os.sched_getaffinity(pid)
    return own - taken or own


def usage_of(pid: int, *, shared: bool = False) -> Usage | None:
    """What `pid` uses; None when it is not there. `shared` asks for `shared_bytes`, at the cost of a second file."""
    if not _LINUX:
        return _usage_portable(pid)
    try:
        return _usage(_read(f"/proc/{pid}/stat"), _read(f"/proc/{pid}/statm") if shared else b"")
    except _GONE:
        return None


def _usage(stat: bytes, statm: bytes = b"") -> Usage:
    state, *fields = stat.rpartition(b")")[2].split()
    pages = statm.split()
    return Usage(
        ended=state in b"ZX",
        stopped=state == STOPPED,
        cpu_s=(int(fields[10]) + int(fields[11])) * _TICK_S,
        reaped_cpu_s=(int(fields[12]) + int(fields[13])) * _TICK_S,
        threads=int(fields[16]),
        rss_bytes=int(pages[1] if pages else fields[20]) * _PAGE_BYTES,
        shared_bytes=int(pages[2]) * _PAGE_BYTES if pages else 0,
    )


def _says_frozen(freezer: int) -> bool:
    try:
        return says_frozen(os.pread(freezer, _MOST_BYTES, 0))
    except OSError:  # the group is gone
        return False


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


def _read(path: str) -> bytes:
    """A small file of /proc, whole. Four times as quick as Path.read_text, which counts at ten readings a second."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def _children_portable(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
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
