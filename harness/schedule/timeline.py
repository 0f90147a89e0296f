"""Segments laid end to end on one clock, and seeds that are the same on every machine."""

from __future__ import annotations

import hashlib
import math

from harness.domain.experiment import ArrivalProcess, Cell
from harness.domain.load import Phase, Segment


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
    """Collects segments, each starting when the guard of the one before has ended.

    Times are whole microseconds, so that sums of them do not drift.
    """

    def __init__(self, *, guard_s: float) -> None:
        self._guard_s = round(guard_s, 6)
        self._now_s = 0.0
        self._segments: list[Segment] = []

    def add(
        self,
        *,
        launch_id: str,
        cell: Cell,
        phase: Phase,
        round_: int,
        duration_s: float,
        rate_rps: float | None,
        seed: int,
        arrivals: ArrivalProcess | None = None,
    ) -> None:
        """Append a segment with the load of `cell`; `rate_rps` counts in the open model only."""
        is_open = cell.load.model == "open"
        segment = Segment(
            index=len(self._segments),
            launch_id=launch_id,
            phase=phase,
            round=round_,
            start_s=self._now_s,
            duration_s=max(1e-6, round(duration_s, 6)),
            guard_s=self._guard_s,
            model=cell.load.model,
            rate_rps=rate_rps if is_open else None,
            users=None if is_open else cell.load.users,
            arrivals=arrivals or cell.load.arrivals,
            seed=seed,
        )
        self._segments.append(segment)
        self._now_s = round(segment.start_s + segment.duration_s + segment.guard_s, 6)

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(self._segments)
