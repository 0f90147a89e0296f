"""Who stood still: a process that is stopped (SIGSTOP, job control) does nothing at all, which is not being blocked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from harness.domain.observed import Standstill, StillRole

STOPPED = b"T"
"""as /proc/<pid>/stat has it; a debugger's stop, "t", passes by too quickly to matter"""


class Standstills:
    """Made of what a sampler sees of each process, reading by reading."""

    def __init__(self) -> None:
        self._began: dict[tuple[StillRole, str, int], int] = {}
        self._ended: list[Standstill] = []

    def see(self, stopped: Sequence[tuple[StillRole, str, int]]) -> None:
        """These processes are stopped now, by role, launch and pid, and no other that this sampler watches."""
        if not (stopped or self._began):  # as nearly always
            return
        now_ns = time.monotonic_ns()
        for key in self._began.keys() - set(stopped):
            self._ended.append(_standstill(key, self._began.pop(key), now_ns))
        for key in stopped:
            self._began.setdefault(key, now_ns)

    def until(self, now_ns: int) -> tuple[Standstill, ...]:
        """All of them; those that last still, until then."""
        lasting = (_standstill(key, began_ns, now_ns) for key, began_ns in self._began.items())
        return (*self._ended, *lasting)


def _standstill(key: tuple[StillRole, str, int], began_ns: int, ended_ns: int) -> Standstill:
    role, launch_id, pid = key
    return Standstill(role=role, launch_id=launch_id, pid=pid, t_ns=began_ns, length_s=(ended_ns - began_ns) / 1e9)


def database_of_backend(pid: int) -> str | None:
    """The database that a process of Postgres is connected to, which it says in its title; None of any other."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split()
    except OSError:
        return None
    # "postgres: user database host(port) state"
    return title[2] if len(title) > 3 and title[0] == "postgres:" and "(" in title[3] else None
