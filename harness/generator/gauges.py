"""Asks a launch's service whether anything is still in progress there, whatever the client believes.

A client that gave up leaves the service at work, and an answer is sent before its dependencies have been closed. The
probe in each process of the target keeps a counter in a mapped file (`harness.probe.live`); it is read here.
"""

from __future__ import annotations

import mmap
from pathlib import Path

FILES = "live-*.bin"


class Gauges:
    """The counters of one launch's processes; without a folder nothing is known, and the client's count must do."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._counters: dict[int, memoryview] = {}

    def look_again(self) -> None:
        """Find the processes that there are now."""
        if self._folder is None:
            return
        for path in self._folder.glob(FILES):
            pid = int(path.stem.rpartition("-")[2])
            if pid not in self._counters and path.stat().st_size:
                with path.open("rb") as file:
                    self._counters[pid] = memoryview(mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)).cast("q")
        for pid in [pid for pid in self._counters if not Path(f"/proc/{pid}").exists()]:
            del self._counters[pid]  # it ended in the middle of its work, and will not count down

    @property
    def in_progress(self) -> int:
        """Requests in progress at the service; 0 where that is not known."""
        return sum(counter[0] for counter in self._counters.values())
