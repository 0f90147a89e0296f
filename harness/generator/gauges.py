"""Asks a launch's service whether anything is still in progress there, whatever the client believes.

A client that gave up leaves the service at work, and an answer is sent before its dependencies have been closed. The
probe in each process of the target keeps a counter in a mapped file (`harness.probe.live`); it is read here.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

FILES = "live-*.bin"
LOOK_AGAIN_NS = 100_000_000
"""how often to ask whether a process that seems to be at work is still there"""


class Gauges:
    """The counters of one launch's processes; without a folder nothing is known, and the client's count must do."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._counters: dict[int, memoryview] = {}
        self._looked_ns = 0

    def look_again(self) -> None:
        """Find the processes that there are now."""
        if self._folder is None:
            return
        for path in self._folder.glob(FILES):
            pid = int(path.stem.rpartition("-")[2])
            if pid not in self._counters and path.stat().st_size:
                with path.open("rb") as file:
                    self._counters[pid] = memoryview(mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)).cast("q")
        for pid in [pid for pid in self._counters if not _is_alive(pid)]:
            del self._counters[pid]  # it ended in the middle of its work, and will not count down

    @property
    def in_progress(self) -> int:
        """Requests in progress at the service; 0 where that is not known."""
        return sum(counter[0] for counter in self._counters.values())

    def at_most(self, count: int, now_ns: int) -> bool:
        """Whether no more than `count` requests are in progress, in processes that are alive."""
        if self.in_progress <= count:
            return True
        if now_ns < self._looked_ns + LOOK_AGAIN_NS:
            return False
        self._looked_ns = now_ns
        self.look_again()
        return self.in_progress <= count


def _is_alive(pid: int) -> bool:
    """Whether the process still executes; one that was killed is listed until its parent has asked for its end."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split(maxsplit=1)[0]
    except OSError:
        return not Path("/proc/self/stat").exists() and _answers(pid)
    return state not in (b"Z", b"X")


def _answers(pid: int) -> bool:
    """The same where there is no /proc."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
