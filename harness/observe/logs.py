"""When the services wrote what: how long their logs are, read a few times a second.

A pipe that is read here instead would give the time of each line, but a harness that stands still would then block the
service, and one that is killed would end it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.observe.sampler import Row


class LogSampler:
    """One row for each launch whose log has grown since the reading before, and one for each in the first reading."""

    name = "logs"

    def __init__(self, logs: Mapping[str, Path]) -> None:
        """`logs` are by launch id."""
        self._logs = logs
        self._bytes: dict[str, int] = {}
        self._since_ns = time.monotonic_ns()

    def read(self) -> Sequence[Row]:
        now_ns = time.monotonic_ns()
        sizes = {launch_id: log.stat().st_size for launch_id, log in self._logs.items()}
        rows = [
            {"launch_id": launch_id, "since_ns": self._since_ns, "bytes": size}
            for launch_id, size in sizes.items()
            if size != self._bytes.get(launch_id)
        ]
        self._bytes, self._since_ns = sizes, now_ns
        return rows
