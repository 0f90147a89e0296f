"""When some segments of a launch were on: the stretches of its turns in which its load clock stood in them.

A turn ends where nothing is in progress at its service, and the next one goes on from there. So the stretches, put
together, are one uninterrupted run on the load clock, and all of it counts: nothing is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analyse.arrays import Bools, Floats, Times
from harness.domain.load import Segment, TurnRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Stretches of time in their order, and where each lies on the load clock."""

    segments: Times
    """plan numbers of all the segments, each once"""
    start_ns: Times
    end_ns: Times
    idle_ns: Times
    """when the service had nothing left to do after the stretch; its end where the turn went on"""
    load_s: Floats
    """where the load clock stood at its start, counted from the first stretch's"""

    @property
    def seconds(self) -> float:
        """Time on the load clock."""
        return float((self.end_ns - self.start_ns).sum()) / 1e9

    def locate(self, t_ns: Times, *, until_idle: bool = False) -> tuple[Bools, Floats]:
        """Which times lie within a stretch, and the load clock at each (meaningless outside)."""
        if len(self.start_ns) == 0:
            return np.zeros(len(t_ns), dtype=np.bool_), np.zeros(len(t_ns))
        place = self._place(t_ns)
        ends = self.idle_ns if until_idle else self.end_ns
        inside = (t_ns >= self.start_ns[0]) & (t_ns <= ends[place])
        return inside, self.load_s[place] + (t_ns - self.start_ns[place]) / 1e9

    def contain(self, t_ns: Times) -> Bools:
        """Which times lie within a stretch."""
        if len(self.start_ns) == 0:
            return np.zeros(len(t_ns), dtype=np.bool_)
        inside: Bools = t_ns <= self.end_ns[self._place(t_ns)]
        inside &= t_ns >= self.start_ns[0]
        return inside

    def _place(self, t_ns: Times) -> NDArray[np.intp]:
        """Number of the last stretch that begins no later; 0 before all of them."""
        if len(self.start_ns) == 1:
            return np.zeros(len(t_ns), dtype=np.intp)
        return np.maximum(np.searchsorted(self.start_ns, t_ns, side="right") - 1, 0)


def measured_segments(segments: Sequence[Segment]) -> list[Segment]:
    """The segments of the measure phase."""
    return [segment for segment in segments if segment.phase == "measure"]


def loaded_segments(segments: Sequence[Segment]) -> list[Segment]:
    """The segments of warm-up and measurement, which are one piece."""
    return [segment for segment in segments if segment.phase in ("warmup", "measure")]


def windows(segments: Sequence[Segment], turns: Sequence[TurnRun]) -> Windows:
    """When the given segments of one launch were on, in its `turns`."""
    found: list[tuple[int, int, int, int]] = []
    for turn in sorted(turns, key=lambda turn: turn.start_ns):
        for segment in sorted(segments, key=lambda segment: segment.start_s):
            first = max(round(segment.start_s * 1e9), turn.load_start_ns)
            last = min(round(segment.start_s * 1e9) + round(segment.duration_s * 1e9), turn.load_end_ns)
            if last > first:
                start_ns = turn.start_ns + first - turn.load_start_ns
                end_ns = turn.start_ns + last - turn.load_start_ns
                found.append((start_ns, end_ns, turn.idle_ns if end_ns == turn.end_ns else end_ns, first))
    table = np.array(found, dtype=np.int64).reshape(-1, 4)
    return Windows(
        segments=np.array(sorted(segment.index for segment in segments), dtype=np.int64),
        start_ns=table[:, 0],
        end_ns=table[:, 1],
        idle_ns=table[:, 2],
        load_s=(table[:, 3] - table[:1, 3]) / 1e9 if len(table) else np.zeros(0),
    )
