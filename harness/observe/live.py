"""How the launches of a sitting fare while the load goes on, from what generator and probes have written so far.

For the eye alone: figures of a report are made from whole trials.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.domain.events import CellTick
from harness.domain.load import SETUP_SEGMENT
from harness.domain.rank import rank
from harness.domain.rows import DROPPED, OK, RECORD_BYTES, RECORD_FIELDS

_BINS_A_DECADE = 50
_LOWEST = -2  # 10 us
_BINS = 8 * _BINS_A_DECADE


class LiveFigures:
    """Counts and latencies of each launch, brought up to date by `read`.

    Args:
        folder: the sitting's, in which the generator's processes and the probes write.
        labels: label of each launch's cell, by launch id.
    """

    def __init__(self, folder: Path, labels: Mapping[str, str]) -> None:
        self._folder = folder
        self._launches = {launch_id: _Launch(launch_id, label) for launch_id, label in labels.items()}

    def read(self) -> tuple[CellTick, ...]:
        """One entry a launch that was sent anything yet."""
        for own in self._launches.values():
            for path in (*self._folder.glob(f"rows-{own.id}.bin"), *self._folder.glob(f"worker-*/rows-{own.id}.bin")):
                own.add(path)
        return tuple(own.tick(self._folder) for own in self._launches.values() if own.offered)


class _Launch:
    def __init__(self, launch_id: str, label: str) -> None:
        self.id = launch_id
        self.label = label
        self.offered = self.answered = self.dropped = 0
        self._latencies = np.zeros(_BINS, dtype=np.int64)
        self._read_bytes: dict[Path, int] = {}

    def add(self, path: Path) -> None:
        """Count the records that were added since."""
        begin = self._read_bytes.get(path, 0)
        with path.open("rb") as file:
            file.seek(begin)
            data = file.read()
        records = np.frombuffer(data, dtype=np.dtype(list(RECORD_FIELDS)), count=len(data) // RECORD_BYTES)
        self._read_bytes[path] = begin + len(records) * RECORD_BYTES
        first = records[(records["sequence"] == 0) & (records["segment"] != SETUP_SEGMENT)]
        ok = first[first["outcome"] == OK]
        self.offered += len(first)
        self.answered += len(ok)
        self.dropped += int(np.count_nonzero(first["outcome"] == DROPPED))
        latency_ms = np.maximum((ok["finished_ns"] - ok["intended_ns"]) / 1e6, 10.0**_LOWEST)
        bins = ((np.log10(latency_ms) - _LOWEST) * _BINS_A_DECADE).astype(np.int64)
        self._latencies += np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)

    def tick(self, folder: Path) -> CellTick:
        pool = _last_lines(folder / f"probe-{self.id}")
        return CellTick(
            launch_id=self.id,
            label=self.label,
            offered=self.offered,
            answered=self.answered,
            failed=self.offered - self.answered - self.dropped,
            dropped=self.dropped,
            p95_ms=self._p95_ms(),
            pool_used=sum(line["connection_count_used"] for line in pool) if pool else None,
            pool_waiting=sum(line["connection_pending_requests"] for line in pool) if pool else None,
        )

    def _p95_ms(self) -> float:
        place = rank(self.offered, 0.95)
        if place > self.answered:
            return math.inf
        return float(10 ** (_LOWEST + (np.searchsorted(np.cumsum(self._latencies), place) + 0.5) / _BINS_A_DECADE))


def _last_lines(folder: Path) -> list[dict[str, Any]]:
    """The newest whole line of each process's probe."""
    found = []
    for path in folder.glob("probe-*.jsonl"):
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().split(b"\n")[:-1]
        if lines and lines[-1].startswith(b"{"):
            found.append(json.loads(lines[-1]))
    return found
