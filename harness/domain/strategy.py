"""How a run decides what to measure next: from what is stored, and from nothing else.

A strategy is asked before every sitting and proposes one, or ends the run. It is pure: the same outcomes give the same
step, so a run that was cut goes on by asking it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.domain.capacity import Result
from harness.domain.gate import Figures
from harness.domain.load import Launch, Sitting
from harness.domain.tune import Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a strategy may know of a launch that is stored."""

    launch: Launch
    sitting: int
    broken: tuple[str, ...] = ()
    """codes of what failed in its instrument; none of them is made of the target's latencies"""
    figures: Figures = field(default_factory=dict)
    """what a gate judges of it, by metric and endpoint; empty where there is none, and of one only foreseen"""
    result: Result | None = None
    """of a search for a capacity: whether it met the SLO; None of other launches"""
    carried: Carried | None = None
    """of a tune: how it carried the load; None of other launches"""
    sustained_rps: float | None = None
    """good answers a second that a staircase's pilot sustained; None of other launches, and of one only foreseen"""


class Strategy(Protocol):
    """What to measure, step by step."""

    def next_step(self, done: Sequence[Outcome]) -> Sitting | None:
        """Return the next sitting, None where nothing is left to measure.

        Raises:
            MeasurementError: what is done leaves no way to go on.
        """
        ...

    def foreseen(self, done: Sequence[Outcome]) -> Iterator[Sitting]:
        """Yield the steps that follow if no instrument fails; the first of them is `next_step`."""
        ...
