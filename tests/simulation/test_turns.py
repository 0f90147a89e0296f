"""Turns, put together, are one uninterrupted run: on a virtual clock, against a queue that knows nothing of turns.

The decisions are the product's own (schedule, Dispatcher, InFlight, Ending, sittings); only the clock, the services and
the queue they are compared with are written here.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lengths import length

from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Design, Experiment, Load, Pool, Session, Target
from harness.domain.load import Sitting
from harness.generator.arrivals import NS_PER_S, Dispatcher, Ending, InFlight, ending, schedule
from harness.schedule.sittings import sittings

Law = Literal["exponential", "constant", "rare"]
LAWS: tuple[Law, ...] = ("exponential", "constant", "rare")
SLOWER = 20
"""rare: two in a hundred take so many times the mean"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """So many permits, which arrivals keep for so long; served in order."""

    permits: int
    utilisation: float
    law: Law = "exponential"
    mean_s: float = 0.02

    @property
    def rate_rps(self) -> float:
        return self.utilisation * self.permits / self.mean_s

    def holds_ns(self, count: int, seed: int) -> list[int]:
        random = Random(f"{seed}/holds")
        return [round(self._hold_s(random) * NS_PER_S) for _ in range(count)]

    def _hold_s(self, random: Random) -> float:
        match self.law:
            case "exponential":
                return random.expovariate(1 / self.mean_s)
            case "constant":
                return self.mean_s
            case "rare":
                often_s = self.mean_s * (1 - 0.02 * SLOWER) / 0.98
                return SLOWER * self.mean_s if random.random() < 0.02 else often_s


def planned(services: Sequence[Service], *, seed: int, warmup_s: float = 0.5, measure_s: float = 5.5) -> Sitting:
    """One block of these services, hot together."""
    cells = [
        Cell(
            id=f"c{number}",
            label="",
            factors=(),
            pool=Pool(pool_size=service.permits, max_overflow=0),
            session=Session(),
            target=Target(),
            database=DatabaseSpec(),
            load=Load(rate_rps=service.rate_rps, warmup_s=warmup_s, measure_s=measure_s),
        )
        for number, service in enumerate(services)
    ]
    design = Design(kind="interleaved", launches=1, seed=seed)
    (sitting,) = sittings(Experiment(schema_version=1, name="x", design=design), cells, None)
    return sitting


def uninterrupted_ns(due_ns: Sequence[int], holds_ns: Sequence[int], permits: int) -> list[int]:
    """Each one's latency in a queue that is served in order of arrival, from empty: a heap of when permits are free."""
    free_ns = [0] * permits
    latencies = []
    for at_ns, hold_ns in zip(due_ns, holds_ns, strict=True):
        departure_ns = max(at_ns, heapq.heappop(free_ns)) + hold_ns
        heapq.heappush(free_ns, departure_ns)
        latencies.append(departure_ns - at_ns)
    return latencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Went:
    """How a turn went."""

    launch_id: str
    load_start_ns: int
    load_end_ns: int
    in_flight: int


@dataclass(slots=True)
class Running:
    """A launch on the virtual clock: its load and its service."""

    dispatcher: Dispatcher
    service: Service
    holds_ns: Sequence[int]
    end_ns: int
    clock_ns: int = 0
    in_flight: InFlight = field(default_factory=lambda: InFlight(10**9))
    free_ns: list[int] = field(default_factory=list)
    flying: list[tuple[int, int]] = field(default_factory=list)
    """when each in flight departs, and when it was handed over"""
    due_ns: list[int] = field(default_factory=list)
    """of what was handed over, on the load clock"""
    latencies_ns: list[int] = field(default_factory=list)

    def answer(self, now_ns: int) -> None:
        while self.flying and self.flying[0][0] <= now_ns:
            heapq.heappop(self.flying)
            self.in_flight.leave()

    def hand_over(self, now_ns: int) -> None:
        while (arrival := self.dispatcher.pop(now_ns)) is not None:
            assert self.in_flight.enter()
            departure_ns = max(now_ns, heapq.heappop(self.free_ns)) + self.holds_ns[len(self.due_ns)]
            heapq.heappush(self.free_ns, departure_ns)
            heapq.heappush(self.flying, (departure_ns, now_ns))
            self.due_ns.append(arrival.due_ns)
            self.latencies_ns.append(departure_ns - self.dispatcher.zero_ns - arrival.due_ns)

    def turn(self, begin_ns: int, due: Ending) -> int:
        """Send until the turn may end. Returns when that was."""
        now_ns = begin_ns
        while True:
            self.answer(now_ns)
            self.hand_over(now_ns)
            if now_ns >= due.end_ns or (self.in_flight.count <= due.low(now_ns) and self._may_end(now_ns, due)):
                return now_ns
            later = [due.next_ns(now_ns), self.dispatcher.due_ns or due.end_ns]
            now_ns = min(later + [departure_ns for departure_ns, _ in self.flying[:1]])

    def _may_end(self, now_ns: int, due: Ending) -> bool:
        oldest_ns = min((handed_ns for _, handed_ns in self.flying), default=now_ns)
        return due.may_end(now_ns, self.in_flight.count, oldest_ns)


Cut = Callable[..., Ending]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    went: Sequence[Went]
    running: Mapping[str, Running]
    expected_due_ns: Mapping[str, Sequence[int]]

    def truth_ns(self, launch_id: str) -> list[int]:
        own = self.running[launch_id]
        return uninterrupted_ns(self.expected_due_ns[launch_id], own.holds_ns, own.service.permits)

    def error_p95(self, launch_id: str) -> float:
        """Of all the launch was sent, relative."""
        return p95(self.running[launch_id].latencies_ns) / p95(self.truth_ns(launch_id)) - 1


def p95(values: Sequence[int]) -> int:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def take_turns(
    services: Sequence[Service], *, seed: int, cut: Cut = ending, drained: bool = True, **lengths: float
) -> Outcome:
    """What the engine does with a sitting; without `drained` the next turn begins while answers are still due."""
    sitting = planned(services, seed=seed, **lengths)
    running, expected = {}, {}
    for number, service in enumerate(services):
        segments = [s for s in sitting.segments if s.launch_id == f"b1-c{number}"]
        arrivals = list(schedule(segments, [1.0]))
        expected[f"b1-c{number}"] = [arrival.due_ns for arrival in arrivals]
        running[f"b1-c{number}"] = Running(
            Dispatcher(iter(arrivals)),
            service,
            service.holds_ns(len(arrivals), seed + number),
            round(segments[-1].end_s * NS_PER_S),
            free_ns=[0] * service.permits,
        )
    went, begin_ns = [], 7 * NS_PER_S
    last = {turn.launch_id: place for place, turn in enumerate(sitting.turns)}
    for place, turn in enumerate(sitting.turns):
        own = running[turn.launch_id]
        left_ns = own.end_ns - own.clock_ns
        if left_ns <= 0:
            continue
        own.dispatcher.resume(zero_ns=begin_ns - own.clock_ns)
        due = cut(
            start_ns=begin_ns,
            duration_ns=left_ns if place == last[turn.launch_id] else round(turn.duration_s * NS_PER_S),
            end_ns=begin_ns + left_ns,
            connections=own.service.permits,
        )
        end_ns, load_start_ns = own.turn(begin_ns, due), own.clock_ns
        own.clock_ns += end_ns - begin_ns
        went.append(
            Went(
                launch_id=turn.launch_id,
                load_start_ns=load_start_ns,
                load_end_ns=own.clock_ns,
                in_flight=own.in_flight.count,
            )
        )
        idle_ns = max([end_ns, *(departure_ns for departure_ns, _ in own.flying)]) if drained else end_ns
        own.answer(idle_ns)
        begin_ns = idle_ns + round(sitting.pause_s * NS_PER_S)
    return Outcome(went=went, running=running, expected_due_ns=expected)


few = st.builds(
    Service,
    permits=st.integers(1, 3),
    utilisation=st.sampled_from([0.5, 0.8, 0.9, 0.95, 1.0, 1.3]),
    law=st.sampled_from(LAWS),
    mean_s=st.sampled_from([0.01, 0.02, 0.1]),
)


@given(services=st.lists(few, min_size=2, max_size=4), seed=st.integers(0, 2**31))
def test_with_up_to_three_permits_every_latency_is_that_of_the_uninterrupted_queue(
    services: list[Service], seed: int
) -> None:
    outcome = take_turns(services, seed=seed)
    for launch_id, own in outcome.running.items():
        assert own.latencies_ns == outcome.truth_ns(launch_id)


@given(
    services=st.lists(st.one_of(few, st.builds(Service, permits=st.integers(4, 9), utilisation=st.just(0.9)))).filter(
        lambda services: 2 <= len(services) <= 4
    ),
    seed=st.integers(0, 2**31),
)
def test_what_is_offered_is_the_whole_schedule_wherever_turns_are_cut(services: list[Service], seed: int) -> None:
    outcome = take_turns(services, seed=seed, measure_s=2.5)
    for launch_id, own in outcome.running.items():
        assert own.due_ns == outcome.expected_due_ns[launch_id]
        turns = [turn for turn in outcome.went if turn.launch_id == launch_id]
        assert [turn.load_start_ns for turn in turns] == [0, *(turn.load_end_ns for turn in turns[:-1])]
        assert turns[-1].load_end_ns == own.end_ns == 3 * NS_PER_S


@cache
def many(law: Law, mean_s: float) -> tuple[Outcome, ...]:
    """4, 8 and 10 permits, well and heavily used, each with its launch, in several blocks."""
    services = [
        Service(permits=permits, utilisation=utilisation, law=law, mean_s=mean_s)
        for permits in (4, 8, 10)
        for utilisation in (0.8, 0.9, 0.95)
    ]
    return tuple(take_turns(services, seed=seed, measure_s=9.5) for seed in range(length(3, 1)))


@pytest.mark.parametrize("mean_s", [0.02, 0.05])
@pytest.mark.parametrize("law", LAWS)
def test_with_many_permits_the_tail_is_within_a_tenth_in_every_launch(law: Law, mean_s: float) -> None:
    errors = [outcome.error_p95(launch_id) for outcome in many(law, mean_s) for launch_id in outcome.running]
    assert max(map(abs, errors)) <= 0.10
    assert abs(math.fsum(errors) / len(errors)) <= 0.02


@pytest.mark.parametrize("law", LAWS)
def test_with_many_permits_launches_do_take_turns(law: Law) -> None:
    """Mostly ended with some in flight, never with more than half of the permits."""
    turns = [(turn, outcome.running[turn.launch_id]) for outcome in many(law, 0.02) for turn in outcome.went]
    ended_early = [(turn, own) for turn, own in turns if turn.load_end_ns < own.end_ns]
    assert sum(turn.in_flight > 0 for turn, _ in ended_early) >= 7 * len(many(law, 0.02))
    assert all(turn.in_flight <= own.service.permits // 2 for turn, own in ended_early)


def any_free_permit(*, start_ns: int, duration_ns: int, end_ns: int, connections: int) -> Ending:
    """The rule that was tried first: nobody waits."""
    return Ending(
        planned_ns=min(start_ns + duration_ns, end_ns),
        unqueued_ns=min(start_ns + 2 * duration_ns, end_ns),
        end_ns=end_ns,
        few=connections,
        fresh_ns=end_ns,
    )


def test_it_is_not_enough_that_nobody_waits() -> None:
    """What is in flight at such a moment is likely to be slow: the next ones would have waited for it."""
    services = [Service(permits=8, utilisation=0.9, law="rare", mean_s=0.05)] * 3
    errors = {
        cut.__name__: [
            outcome.error_p95(launch_id)
            for seed in range(3)
            for outcome in [take_turns(services, seed=seed, measure_s=11.5, cut=cut)]
            for launch_id in outcome.running
        ]
        for cut in (any_free_permit, ending)
    }
    assert math.fsum(errors["any_free_permit"]) / 9 < -0.05
    assert min(errors["any_free_permit"]) < -0.2
    assert abs(math.fsum(errors["ending"])) / 9 < 0.02
    assert min(errors["ending"]) > -0.15


def after_half_a_second(*, start_ns: int, duration_ns: int, end_ns: int, connections: int) -> Ending:
    """The old design: a turn is cut when its time is over, whatever is in flight."""
    at_ns = min(start_ns + NS_PER_S // 2, end_ns)
    return Ending(planned_ns=at_ns, unqueued_ns=at_ns, end_ns=end_ns, few=10**9, fresh_ns=end_ns)


@pytest.mark.parametrize("drained", [True, False])
def test_turns_of_half_a_second_that_are_cut_regardless_hide_what_a_queue_does(drained: bool) -> None:
    services = [Service(permits=permits, utilisation=0.95, mean_s=0.1) for permits in (1, 2, 8)]
    outcome = take_turns(services, seed=4, measure_s=19.5, cut=after_half_a_second, drained=drained)
    for launch_id, own in outcome.running.items():
        assert own.latencies_ns != outcome.truth_ns(launch_id)
        assert outcome.error_p95(launch_id) < -0.2


def test_a_service_that_is_never_clear_has_its_whole_measurement_in_one_turn_and_spoils_nobody() -> None:
    services = [
        Service(permits=1, utilisation=3.0),
        Service(permits=10, utilisation=4.0),
        Service(permits=2, utilisation=0.5),
    ]
    outcome = take_turns(services, seed=1)
    turns = Counter(turn.launch_id for turn in outcome.went)
    assert (turns["b1-c0"], turns["b1-c1"]) == (1, 1)
    assert turns["b1-c2"] > 4
    for launch_id, own in outcome.running.items():
        assert own.latencies_ns == outcome.truth_ns(launch_id)
