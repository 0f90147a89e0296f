"""What the open model decides, as pure logic: when arrivals are due, which task each gets, and which are dropped.

Nothing here knows a clock, a socket or a greenlet: times are given in, decisions come out, so all of it is tested
exactly on a virtual clock.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from random import Random
from typing import NamedTuple

from harness.domain.load import Segment, arrival_offsets_s

NS_PER_S = 1_000_000_000


class Arrival(NamedTuple):
    """One scheduled task. A tuple, because hundreds of thousands of them pass through the busiest loop."""

    segment: int
    """number in the plan"""
    number: int
    """place in the whole segment's schedule, whoever executes it"""
    due_ns: int
    """on the launch's load clock"""
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


def schedule(
    segments: Iterable[Segment], weights: Sequence[float], *, stripe: int = 0, stripes: int = 1
) -> Iterator[Arrival]:
    """Draw a launch's arrivals, segment after segment on its load clock, lazily: memory does not grow with the load."""
    for segment in segments:
        yield from segment_schedule(segment, weights, stripe=stripe, stripes=stripes)


def each_once(segments: Iterable[Segment]) -> Iterator[Arrival]:
    """One arrival a segment, at its start, of the task that has the segment's number: a check leaves none to chance."""
    for segment in segments:
        yield Arrival(segment.index, 0, round(segment.start_s * NS_PER_S), segment.index)


def segment_schedule(
    segment: Segment, weights: Sequence[float], *, stripe: int = 0, stripes: int = 1
) -> Iterator[Arrival]:
    """Draw one segment's arrivals in order of time.

    The whole schedule follows from `segment.seed`. With several generators, each takes every arrival whose number is
    `stripe` modulo `stripes`: together they execute exactly what one alone would. Gaps and tasks come from two
    streams, so changing a task's weight leaves every arrival where it was.
    """
    return islice(_whole_schedule(segment, weights), stripe, None, stripes)


def _whole_schedule(segment: Segment, weights: Sequence[float]) -> Iterator[Arrival]:
    draw = Random(f"{segment.seed}/tasks").random
    cumulative = list(accumulate(weights))
    total, last = cumulative[-1], len(weights) - 1
    start_ns, index = round(segment.start_s * NS_PER_S), segment.index
    for number, offset_s in enumerate(arrival_offsets_s(segment)):
        due_ns = start_ns + round(offset_s * NS_PER_S)
        yield Arrival(index, number, due_ns, bisect(cumulative, draw() * total, 0, last) if last else 0)


class InFlight:
    """How many arrivals of a launch are under way, against its cap. Beyond the cap an arrival is dropped.

    While `low` is set, `on_low` is called whenever an arrival leaves and no more than that many stay.
    """

    __slots__ = ("cap", "count", "low", "on_low", "peak")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.count = 0
        self.peak = 0
        self.low = -1
        self.on_low: Callable[[], None] = _nobody_asked

    def enter(self) -> bool:
        """Take a place; False when there is none, and the arrival must be dropped."""
        if self.count >= self.cap:
            return False
        self.count += 1
        self.peak = max(self.peak, self.count)
        return True

    def leave(self) -> None:
        self.count -= 1
        if self.count <= self.low:
            self.on_low()

    def reset_peak(self) -> None:
        """Begin a new turn: its peak starts from what is still under way."""
        self.peak = self.count


def _nobody_asked() -> None:
    """What an InFlight calls that nobody listens to."""


class Dispatcher:
    """Hands out a launch's arrivals when they are due, never earlier, never moved on its load clock.

    What is overdue is handed out at once and keeps its intended time, so a stall of the generator or of the target
    shows as latency instead of being left out. Between turns the load clock stands still.
    """

    __slots__ = ("_arrivals", "_next", "zero_ns")

    def __init__(self, arrivals: Iterator[Arrival]) -> None:
        self._arrivals = arrivals
        self._next: Arrival | None = next(arrivals, None)
        self.zero_ns = 0
        """what the clock of everybody shows where the load clock shows 0"""

    def resume(self, *, zero_ns: int) -> None:
        """Let the load clock run: it shows `now - zero_ns`."""
        self.zero_ns = zero_ns

    @property
    def due_ns(self) -> int | None:
        """When the next arrival is due, on the clock of everybody; None when all were handed out."""
        return None if self._next is None else self.zero_ns + self._next.due_ns

    def pop(self, now_ns: int) -> Arrival | None:
        """The next arrival if it is due by `now_ns`; it is intended at `zero_ns + due_ns`."""
        arrival = self._next
        if arrival is None or self.zero_ns + arrival.due_ns > now_ns:
            return None
        self._next = next(self._arrivals, None)
        return arrival


MANY = 4
"""connections from which on one of them is nearly always in use"""
FRESH = 50
"""what was sent within this part of a turn's planned length was only just sent"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When a turn may end: at its load's end, else at the first moment from `planned_ns` on that leaves no trace.

    With nothing in progress at the service, what follows later is what would have followed now. With many connections
    such a moment may hardly come; from `MANY` on it is enough, once the turn is twice as long as planned, that at least
    half of them are free and everything in flight was only just sent. A cut spares who comes next the rest of what is
    in flight; what is old is likely to take long yet, be it one slow request in fifty (docs/decisions/0012).
    """

    planned_ns: int
    unqueued_ns: int
    """from then on it is enough that no more than `few` are in flight, none for longer than `fresh_ns`"""
    end_ns: int
    """the load is over then"""
    few: int
    fresh_ns: int

    def low(self, now_ns: int) -> int:
        """Up to how many in flight the turn may end at `now_ns`; -1: it may not."""
        if now_ns < self.planned_ns:
            return -1
        return self.few if now_ns >= self.unqueued_ns else 0

    def may_end(self, now_ns: int, count: int, oldest_ns: int) -> bool:
        """Whether the turn may end with so many in flight, the oldest of them handed over at `oldest_ns`."""
        return count <= self.low(now_ns) and (count == 0 or now_ns - oldest_ns <= self.fresh_ns)

    def next_ns(self, now_ns: int) -> int:
        """When to look again, if nothing happens meanwhile."""
        later = (at for at in (self.planned_ns, self.unqueued_ns, self.end_ns) if at > now_ns)
        return min(later, default=now_ns)


def ending(*, start_ns: int, duration_ns: int, end_ns: int, connections: int | None) -> Ending:
    """When a turn that began at `start_ns` may end; `connections` of one process of the target, None without limit."""
    many = connections is not None and connections >= MANY
    return Ending(
        planned_ns=min(start_ns + duration_ns, end_ns),
        unqueued_ns=min(start_ns + 2 * duration_ns, end_ns) if many else end_ns,
        end_ns=end_ns,
        few=connections // 2 if many and connections else 0,
        fresh_ns=duration_ns // FRESH,
    )


def is_saturated(*, offered: int, served: int, dropped: int) -> bool:
    """Whether a step of the staircase was too much: a drop, or less than 95 % answered well when its guard ends."""
    return dropped > 0 or served < 0.95 * offered


def users_to_make(*, rate_rps: float, cap: int) -> int:
    """How many user instances to make before an open segment starts: a tenth of a second's arrivals, at most 100.

    Those that are missing are made when an arrival needs one.
    """
    return min(cap, 100, max(4, math.ceil(rate_rps * 0.1)))
