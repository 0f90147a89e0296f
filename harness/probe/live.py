"""How many requests are in progress in this process, where another process can see it at once.

The load generator ends a launch's turn at a moment at which its service has nothing left to do. What the client knows
is not enough: a client that gave up leaves the service at work, and an answer is sent before its session is closed.
A counter in a mapped file costs a request two stores; the time series is written twice a second only.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path


class LiveCount:
    """A number, shown in `live-<pid>.bin` of a folder, or nowhere: `live.value[0] = live.count = live.count + 1`.

    Reading it back from the file would take a request as long as writing it.
    """

    __slots__ = ("_directory", "count", "value")

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self.value: memoryview | list[int]
        self.renew()

    def renew(self) -> None:
        """Begin anew at 0 in this process's own file; also in a forked child, whose parent goes on with its own."""
        self.value, self.count = [0], 0
        if self._directory is None:
            return
        try:
            with (self._directory / f"live-{os.getpid()}.bin").open("wb+") as file:
                file.truncate(8)
                self.value = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
        except OSError:
            return  # the time series says so; the service goes on
