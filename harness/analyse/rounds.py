"""Which stretches of a sitting count: its measured segments, without the rounds that were entered undrained.

Where launches take turns, a segment that begins while requests of another launch are still in flight measures both.
Its whole round is left out for every launch of the sitting, so that what remains stays paired, and it is counted.
A launch alone in its sitting has only its own requests in flight: that is its backlog, and leaving it out would
excuse exactly the settings that cannot keep up, so there nothing is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analyse.arrays import Bools, Floats, Times
from harness.domain.evidence import Trial
from harness.domain.load import Ledger, Segment

UNDRAINED_SHARE_MAX = 0.5
"""A sitting that loses more of its rounds than this measured the left-overs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The measured stretches of a launch in the order of time, and where each lies in its own measured time."""

    segments: Times
    """plan numbers"""
    start_ns: Times
    end_ns: Times
    guard_end_ns: Times
    """when the guard after the stretch ends"""
    offset_s: Floats
    """measured time that lay before; stretches left out count here, so that launches stay aligned"""

    @property
    def seconds(self) -> float:
        """Measured time."""
        return float((self.end_ns - self.start_ns).sum()) / 1e9

    def locate(self, t_ns: Times, *, with_guard: bool = False) -> tuple[Bools, Floats]:
        """Which times lie within a stretch, and the measured time of each (meaningless outside)."""
        if len(self.start_ns) == 0:
            return np.zeros(len(t_ns), dtype=np.bool_), np.zeros(len(t_ns))
        ends = self.guard_end_ns if with_guard else self.end_ns
        place = np.maximum(np.searchsorted(self.start_ns, t_ns, side="right") - 1, 0)
        inside = (t_ns >= self.start_ns[place]) & (t_ns <= ends[place])
        return inside, self.offset_s[place] + (t_ns - self.start_ns[place]) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The rounds of one sitting that do not count."""

    rounds: frozenset[int]
    planned: int
    after: tuple[str, ...]
    """labels of the cells whose requests were still in flight, most frequent first"""

    @property
    def too_many(self) -> bool:
        return self.planned > 0 and len(self.rounds) / self.planned > UNDRAINED_SHARE_MAX


def took_turns(segments: Sequence[Segment]) -> bool:
    """Whether other launches were hot in the same sitting: the plan numbers between this launch's own are theirs."""
    numbers = [segment.index for segment in segments]
    return bool(numbers) and max(numbers) - min(numbers) + 1 > len(numbers)


def measured_segments(segments: Sequence[Segment]) -> list[Segment]:
    """The segments of the measure phase."""
    return [segment for segment in segments if segment.phase == "measure"]


def left_out(trials: Sequence[Trial]) -> LeftOut:
    """The rounds that one sitting's trials must do without."""
    owners = {segment.index: trial.launch.cell.label for trial in trials for segment in trial.segments}
    rounds: set[int] = set()
    planned: set[int] = set()
    culprits: Counter[str] = Counter()
    for trial in trials:
        undrained = {run.segment for run in trial.ledger.segments if not run.drained and not run.skipped}
        for segment in measured_segments(trial.segments):
            planned.add(segment.round)
            if segment.index in undrained and took_turns(trial.segments):
                rounds.add(segment.round)
                culprits.update([owners[segment.index - 1]] if segment.index - 1 in owners else [])
    after = tuple(label for label, _ in culprits.most_common())
    return LeftOut(rounds=frozenset(rounds), planned=len(planned), after=after)


def windows(segments: Sequence[Segment], ledger: Ledger, without: frozenset[int] = frozenset()) -> Windows:
    """The given segments of a launch as they really went, without the given rounds.

    A stretch lasts at most as long as planned: after that nothing new was sent.
    """
    went = {run.segment: run for run in ledger.segments if not run.skipped}
    ordered = sorted((s for s in segments if s.index in went), key=lambda segment: went[segment.index].start_ns)
    starts = np.array([went[segment.index].start_ns for segment in ordered], dtype=np.int64)
    ends = np.array([went[segment.index].end_ns for segment in ordered], dtype=np.int64)
    ends = np.minimum(ends, starts + np.array([round(segment.duration_s * 1e9) for segment in ordered], dtype=np.int64))
    guards = np.array([round(segment.guard_s * 1e9) for segment in ordered], dtype=np.int64)
    lengths_s = (ends - starts) / 1e9
    kept = np.array([segment.round not in without for segment in ordered], dtype=np.bool_)
    return Windows(
        segments=np.array([segment.index for segment in ordered], dtype=np.int64)[kept],
        start_ns=starts[kept],
        end_ns=ends[kept],
        guard_end_ns=(ends + guards)[kept],
        offset_s=(np.cumsum(lengths_s) - lengths_s)[kept],
    )
