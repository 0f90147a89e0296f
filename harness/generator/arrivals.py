"""What the open model decides, as pure logic: when arrivals are due, which task each gets, and which are dropped.

Nothing here knows a clock, a socket or a greenlet: times are given in, decisions come out, so all of it is tested
exactly on a virtual clock.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from random import Random
from typing import NamedTuple

from harness.domain.load import Segment

NS_PER_S = 1_000_000_000


class Arrival(NamedTuple):
    """One scheduled task. A tuple, because hundreds of thousands of them pass through the busiest loop."""

    number: int
    """place in the whole segment's schedule, whoever executes it"""
    offset_ns: int
    """due this long after the segment's start"""
    task: int
    """position in the scenario's tasks"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of everything this process executes: of `stripes` processes it is number `stripe`."""

    stripe: int = 0
    stripes: int = 1

    def of(self, count: int) -> int:
        """How many of `count` things are this process's."""
        return len(range(self.stripe, count, self.stripes))

    def number(self, own: int) -> int:
        """The number among everybody's things of this process's `own`th one."""
        return own * self.stripes + self.stripe


WHOLE = Share()


def schedule(segment: Segment, weights: Sequence[float], *, stripe: int = 0, stripes: int = 1) -> Iterator[Arrival]:
    """Draw the segment's arrivals in order of time, lazily: memory does not grow with the segment.

    The whole schedule follows from `segment.seed`. With several generators, each takes every arrival whose number is
    `stripe` modulo `stripes`: together they execute exactly what one alone would. Gaps and tasks come from two
    streams, so changing a task's weight leaves every arrival where it was.
    """
    return islice(_whole_schedule(segment, weights), stripe, None, stripes)


def _whole_schedule(segment: Segment, weights: Sequence[float]) -> Iterator[Arrival]:
    draw = Random(f"{segment.seed}/tasks").random
    cumulative = list(accumulate(weights))
    total, last = cumulative[-1], len(weights) - 1
    end_ns = round(segment.duration_s * NS_PER_S)
    for number, offset_s in enumerate(_offsets_s(segment)):
        offset_ns = round(offset_s * NS_PER_S)
        if offset_ns >= end_ns:
            return
        yield Arrival(number, offset_ns, bisect(cumulative, draw() * total, 0, last) if last else 0)


def _offsets_s(segment: Segment) -> Iterator[float]:
    """Endless offsets from the segment's start: a Poisson process, or even gaps with a random phase."""
    if not segment.rate_rps:
        return
    random = Random(f"{segment.seed}/gaps")
    if segment.arrivals == "uniform":
        phase = random.random()
        number = 0
        while True:
            yield (number + phase) / segment.rate_rps
            number += 1
    offset_s, draw, log = 0.0, random.random, math.log
    while True:
        offset_s -= log(1.0 - draw()) / segment.rate_rps  # random.expovariate, in half its time
        yield offset_s


class InFlight:
    """How many arrivals of a launch are under way, against its cap. Beyond the cap an arrival is dropped."""

    __slots__ = ("cap", "count", "peak")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.count = 0
        self.peak = 0

    def enter(self) -> bool:
        """Take a place; False when there is none, and the arrival must be dropped."""
        if self.count >= self.cap:
            return False
        self.count += 1
        self.peak = max(self.peak, self.count)
        return True

    def leave(self) -> None:
        self.count -= 1

    def reset_peak(self) -> None:
        """Begin a new segment: its peak starts from what is still under way."""
        self.peak = self.count


class Dispatcher:
    """Hands out a segment's arrivals when they are due, never earlier, never moved.

    What is overdue is handed out at once and keeps its intended time, so a stall of the generator or of the target
    shows as latency instead of being left out.
    """

    __slots__ = ("_arrivals", "_next", "start_ns")

    def __init__(self, arrivals: Iterator[Arrival], *, start_ns: int) -> None:
        self._arrivals = arrivals
        self.start_ns = start_ns
        self._next: Arrival | None = next(arrivals, None)

    @property
    def due_ns(self) -> int | None:
        """When the next arrival is due; None when all were handed out."""
        return None if self._next is None else self.start_ns + self._next.offset_ns

    def pop(self, now_ns: int) -> Arrival | None:
        """The next arrival if it is due by `now_ns`."""
        arrival = self._next
        if arrival is None or self.start_ns + arrival.offset_ns > now_ns:
            return None
        self._next = next(self._arrivals, None)
        return arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A segment's place on the clock: when it begins, or that it is left out."""

    segment: Segment
    start_ns: int
    skipped: bool

    @property
    def end_ns(self) -> int:
        """After this nothing new is sent."""
        return self.start_ns if self.skipped else self.start_ns + round(self.segment.duration_s * NS_PER_S)


class Timeline:
    """Walks the plan's segments in order, leaving out the rest of a staircase whose launch is saturated."""

    __slots__ = ("_saturated", "_segments", "_shift_ns", "_start_ns")

    def __init__(self, segments: Sequence[Segment], *, start_ns: int) -> None:
        self._segments = segments
        self._start_ns = start_ns
        self._shift_ns = 0
        self._saturated: set[str] = set()

    def __iter__(self) -> Iterator[Step]:
        for position, segment in enumerate(self._segments):
            skipped = segment.phase == "staircase" and segment.launch_id in self._saturated
            start_ns = self._start_ns + round(segment.start_s * NS_PER_S) - self._shift_ns
            if skipped:
                self._shift_ns += round((self._next_start_s(position) - segment.start_s) * NS_PER_S)
            yield Step(segment=segment, start_ns=start_ns, skipped=skipped)

    def saturated(self, launch_id: str) -> None:
        """The launch cannot carry more: its remaining staircase is skipped, everything after moves forward."""
        self._saturated.add(launch_id)

    def _next_start_s(self, position: int) -> float:
        if position + 1 < len(self._segments):
            return self._segments[position + 1].start_s
        segment = self._segments[position]
        return segment.start_s + segment.duration_s + segment.guard_s


def is_saturated(*, offered: int, served: int, dropped: int) -> bool:
    """Whether a step of the staircase was too much: a drop, or less than 95 % answered well when its guard ends."""
    return dropped > 0 or served < 0.95 * offered


def users_to_make(*, rate_rps: float, cap: int) -> int:
    """How many user instances to make before an open segment starts: a tenth of a second's arrivals, at most 100.

    Those that are missing are made when an arrival needs one.
    """
    return min(cap, 100, max(4, math.ceil(rate_rps * 0.1)))
