"""Segments laid end to end on load clocks, and seeds that are the same on every machine."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from harness.domain.cell import Cell
from harness.domain.experiment import ArrivalProcess
from harness.domain.load import Launch, Phase, Segment


def stable_seed(*parts: int | str) -> int:
    """48 bits that depend on the parts alone; Python's own hash differs from process to process."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def split(total_s: float, part_s: float) -> tuple[float, ...]:
    """Pieces of `part_s` that add up to `total_s`; the last may be shorter, none is empty. No pieces for 0."""
    if total_s <= 0:
        return ()
    count = max(1, math.ceil(total_s / part_s - 1e-6))  # 2.0 / 0.1 must not become 21 pieces
    return (*([part_s] * (count - 1)), total_s - part_s * (count - 1))


class Timeline:
    """Collects segments, each beginning on its launch's load clock where the launch's last one ended.

    Times are whole microseconds, so that sums of them do not drift. Between two segments of a launch `pause_s` pass.
    """

    def __init__(self, *, pause_s: float = 0.0) -> None:
        self._pause_s = round(pause_s, 6)
        self._clocks_s: dict[str, float] = {}
        self._segments: list[Segment] = []

    def add(
        self,
        launch: Launch,
        *,
        phase: Phase,
        duration_s: float,
        rate_rps: float | None,
        seed: int,
        arrivals: ArrivalProcess | None = None,
    ) -> None:
        """Append a segment with the load of the launch's cell; `rate_rps` counts in the open model only."""
        load = _load(launch.cell, rate_rps, arrivals)
        segment = Segment(
            index=len(self._segments),
            launch_id=launch.id,
            phase=phase,
            start_s=self._clocks_s.get(launch.id, 0.0),
            duration_s=max(1e-6, round(duration_s, 6)),
            seed=seed,
            **load,
        )
        self._segments.append(segment)
        self._clocks_s[launch.id] = round(segment.end_s + self._pause_s, 6)

    def length_s(self, launch: Launch) -> float:
        """Where the launch's load clock will stand when all its segments are over, with a last pause."""
        return self._clocks_s.get(launch.id, 0.0)

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(self._segments)


def _load(cell: Cell, rate_rps: float | None, arrivals: ArrivalProcess | None) -> dict[str, Any]:
    is_open = cell.load.model == "open"
    return {
        "model": cell.load.model,
        "rate_rps": rate_rps if is_open else None,
        "users": None if is_open else cell.load.users,
        "arrivals": arrivals or cell.load.arrivals,
    }
