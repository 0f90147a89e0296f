"""Schedule, striping, cap and drop, exactly, on a virtual clock."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise, zip_longest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtrc, kolmogorov

from harness.domain.load import Segment
from harness.generator.arrivals import (
    NS_PER_S,
    Arrival,
    Dispatcher,
    InFlight,
    each_once,
    ending,
    is_saturated,
    schedule,
    users_to_make,
)

SEGMENT = Segment(
    index=0,
    launch_id="L",
    phase="measure",
    start_s=0.0,
    duration_s=10.0,
    model="open",
    rate_rps=500.0,
    users=None,
    arrivals="poisson",
    seed=11,
)
seeds = st.integers(min_value=0, max_value=2**31)


def test_a_check_sends_each_task_once_at_the_start_of_its_own_segment() -> None:
    segments = [replace(SEGMENT, index=number, start_s=0.3 * number, duration_s=0.3) for number in range(3)]
    assert list(each_once(segments)) == [
        Arrival(segment=0, number=0, due_ns=0, task=0),
        Arrival(segment=1, number=0, due_ns=300_000_000, task=1),
        Arrival(segment=2, number=0, due_ns=600_000_000, task=2),
    ]


def exponential_p_value(offsets_s: list[float], rate_rps: float) -> float:
    """By Kolmogorov and Smirnov, of the gaps between offsets; scipy.stats would take half a second to import."""
    gaps_s = np.sort(np.diff(offsets_s, prepend=0.0))
    expected, count = -np.expm1(-rate_rps * gaps_s), len(gaps_s)
    places = np.arange(count + 1) / count
    largest = max(np.max(places[1:] - expected), np.max(expected - places[:-1]))
    return float(kolmogorov(largest * math.sqrt(count)))


def test_poisson_gaps_are_exponential() -> None:
    offsets_s = [arrival.due_ns / NS_PER_S for arrival in schedule([SEGMENT], [1.0])]
    assert exponential_p_value(offsets_s, 500.0) > 0.01
    assert len(offsets_s) == pytest.approx(5000, abs=5 * math.sqrt(5000))


def test_a_wrong_rate_would_be_noticed() -> None:
    offsets_s = [arrival.due_ns / NS_PER_S for arrival in schedule([replace(SEGMENT, rate_rps=450.0)], [1.0])]
    assert exponential_p_value(offsets_s, 500.0) < 0.01


@given(seed=seeds)
def test_uniform_gaps_are_equal_and_the_phase_is_drawn(seed: int) -> None:
    segment = replace(SEGMENT, arrivals="uniform", rate_rps=100.0, duration_s=1.0, seed=seed)
    offsets = [arrival.due_ns for arrival in schedule([segment], [1.0])]
    assert len(offsets) == 100
    gaps = {later - earlier for earlier, later in pairwise(offsets)}
    assert all(abs(gap - 10_000_000) <= 1 for gap in gaps)
    assert 0 <= offsets[0] < 10_000_000


@given(seed=seeds, weights=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=5), stripes=st.integers(1, 5))
def test_stripes_together_are_the_whole_schedule(seed: int, weights: list[float], stripes: int) -> None:
    segment = replace(SEGMENT, duration_s=0.2, seed=seed)
    whole = list(schedule([segment], weights))
    parts = [list(schedule([segment], weights, stripe=k, stripes=stripes)) for k in range(stripes)]
    assert sorted(arrival for part in parts for arrival in part) == whole
    assert [arrival.number for arrival in whole] == list(range(len(whole)))
    assert all(arrival.number % stripes == k for k, part in enumerate(parts) for arrival in part)


@given(seed=seeds)
def test_weights_choose_tasks_and_leave_the_times_alone(seed: int) -> None:
    segment = replace(SEGMENT, duration_s=0.5, seed=seed)
    even, uneven = (list(schedule([segment], weights)) for weights in ([1.0, 1.0], [9.0, 1.0, 3.0]))
    assert [arrival.due_ns for arrival in even] == [arrival.due_ns for arrival in uneven]


def test_tasks_come_in_proportion_to_their_weights() -> None:
    counts = Counter(arrival.task for arrival in schedule([SEGMENT], [70.0, 20.0, 10.0]))
    expected = counts.total() * np.array([0.7, 0.2, 0.1])
    squares = (np.array([counts[0], counts[1], counts[2]]) - expected) ** 2
    assert chdtrc(2, float((squares / expected).sum())) > 0.01


def test_other_seeds_give_other_schedules() -> None:
    first, second = (list(schedule([replace(SEGMENT, duration_s=0.1, seed=seed)], [1.0, 1.0])) for seed in (1, 2))
    assert first != second


def serve(segment: Segment, *, service_ns: int, cap: int, stall: range = range(0)) -> tuple[list[int], list[int], int]:
    """The engine's decisions on a virtual clock, each arrival served in `service_ns`.

    The clock only shows times outside `stall`. Returns latencies, dropped numbers and the peak in flight.
    """
    dispatcher, in_flight = Dispatcher(schedule([segment], [1.0])), InFlight(cap)
    finishing: list[int] = []
    latencies: list[int] = []
    dropped: list[int] = []
    while (due_ns := dispatcher.due_ns) is not None:
        now_ns = stall.stop if due_ns in stall else due_ns
        while finishing and finishing[0] <= now_ns:
            heapq.heappop(finishing)
            in_flight.leave()
        while (arrival := dispatcher.pop(now_ns)) is not None:
            if in_flight.enter():
                heapq.heappush(finishing, now_ns + service_ns)
                latencies.append(now_ns + service_ns - arrival.due_ns)
            else:
                dropped.append(arrival.number)
    return latencies, dropped, in_flight.peak


def test_without_contention_latency_is_the_service_time() -> None:
    latencies, dropped, _ = serve(SEGMENT, service_ns=5_000_000, cap=900)
    assert set(latencies) == {5_000_000}
    assert dropped == []


@given(seed=seeds, cap=st.integers(1, 20), service_ms=st.integers(1, 400))
def test_every_arrival_is_served_or_dropped_and_the_cap_holds(seed: int, cap: int, service_ms: int) -> None:
    segment = replace(SEGMENT, duration_s=1.0, rate_rps=200.0, seed=seed)
    latencies, dropped, peak = serve(segment, service_ns=service_ms * 1_000_000, cap=cap)
    assert len(latencies) + len(dropped) == len(list(schedule([segment], [1.0])))
    assert peak <= cap


def test_drops_are_exactly_those_beyond_the_cap() -> None:
    """100 a second evenly, served in 95 ms: ten places are enough, five let every second burst of five through."""
    segment = replace(SEGMENT, arrivals="uniform", rate_rps=100.0, duration_s=1.0)
    assert serve(segment, service_ns=95_000_000, cap=10)[1] == []
    dropped = serve(segment, service_ns=95_000_000, cap=5)[1]
    assert dropped == [number for number in range(100) if number % 10 >= 5]


def test_a_stall_is_in_the_latencies_and_moves_nothing() -> None:
    stall = range(2 * NS_PER_S, 3 * NS_PER_S)
    latencies, dropped, _ = serve(SEGMENT, service_ns=1_000_000, cap=900, stall=stall)
    arrivals = list(schedule([SEGMENT], [1.0]))
    expected = [
        (stall.stop if arrival.due_ns in stall else arrival.due_ns) + 1_000_000 - arrival.due_ns for arrival in arrivals
    ]
    assert (latencies, dropped) == (expected, [])
    assert max(latencies) > 0.99 * NS_PER_S


def test_nothing_is_handed_out_early() -> None:
    dispatcher = Dispatcher(schedule([SEGMENT], [1.0]))
    dispatcher.resume(zero_ns=1000)
    due_ns = dispatcher.due_ns
    assert due_ns is not None
    assert dispatcher.pop(due_ns - 1) is None
    arrival = dispatcher.pop(due_ns)
    assert arrival is not None
    assert arrival.number == 0
    assert dispatcher.due_ns != due_ns


@given(
    seed=seeds, cuts_ms=st.lists(st.integers(1, 400), max_size=5), pauses_ms=st.lists(st.integers(0, 5000), max_size=6)
)
def test_what_is_offered_does_not_depend_on_where_turns_end(
    seed: int, cuts_ms: list[int], pauses_ms: list[int]
) -> None:
    """Between turns the load clock stands still: nothing is lost, moved or offered twice."""
    segments = [
        replace(SEGMENT, duration_s=0.3, phase="warmup", seed=seed),
        replace(SEGMENT, index=1, start_s=0.3, duration_s=0.7, rate_rps=200.0, seed=seed + 1),
    ]
    whole = list(schedule(segments, [2.0, 1.0]))
    dispatcher, handed = Dispatcher(schedule(segments, [2.0, 1.0])), []
    clock_ns, now_ns = 0, 5 * NS_PER_S
    for cut_ms, pause_ms in zip_longest([*cuts_ms, 1000], pauses_ms[: len(cuts_ms) + 1], fillvalue=0):
        end_ns = min(clock_ns + cut_ms * 1_000_000, NS_PER_S)
        dispatcher.resume(zero_ns=now_ns - clock_ns)
        while (arrival := dispatcher.pop(now_ns - clock_ns + end_ns)) is not None:
            handed.append(arrival)
            assert clock_ns < arrival.due_ns <= end_ns
            assert dispatcher.zero_ns + arrival.due_ns == now_ns + arrival.due_ns - clock_ns
        now_ns += end_ns - clock_ns + pause_ms * 1_000_000
        clock_ns = end_ns
    assert handed == whole


def test_a_turn_may_end_where_the_service_is_clear_and_later_where_nobody_waits() -> None:
    few = ending(start_ns=100, duration_ns=50, end_ns=1000, connections=3)
    assert [few.low(at) for at in (149, 150, 250, 999)] == [-1, 0, 0, 0]
    assert [few.next_ns(at) for at in (100, 149, 150, 999, 1000)] == [150, 150, 1000, 1000, 1000]
    many = ending(start_ns=100, duration_ns=50, end_ns=1000, connections=4)
    assert [many.low(at) for at in (149, 150, 199, 200)] == [-1, 0, 0, 2]
    assert [many.next_ns(at) for at in (100, 150, 200)] == [150, 200, 1000]
    long = ending(start_ns=0, duration_ns=1000, end_ns=9000, connections=4)
    assert [long.may_end(2000, count, 1980) for count in (0, 1, 2, 3)] == [True, True, True, False]
    assert not long.may_end(2000, 1, 1979), "it is in flight for longer than a fiftieth of a turn"
    assert long.may_end(1000, 0, -1)
    assert not long.may_end(1999, 1, 1999)
    unlimited = ending(start_ns=100, duration_ns=50, end_ns=1000, connections=None)
    assert unlimited.low(999) == 0


def test_a_turn_never_goes_on_beyond_its_load() -> None:
    due = ending(start_ns=100, duration_ns=50, end_ns=120, connections=9)
    assert (due.planned_ns, due.unqueued_ns, due.end_ns) == (120, 120, 120)


def test_who_leaves_asks_whether_the_turn_may_end_only_when_few_enough_stay() -> None:
    asked: list[int] = []
    in_flight = InFlight(cap=9)
    in_flight.on_low = lambda: asked.append(in_flight.count)
    for _ in range(5):
        in_flight.enter()
    in_flight.leave()
    in_flight.low = 2
    for _ in range(3):
        in_flight.leave()
    assert asked == [2, 1]
    in_flight.low = -1
    in_flight.leave()
    assert asked == [2, 1]


@pytest.mark.parametrize(
    ("offered", "served", "dropped", "expected"),
    [(100, 100, 0, False), (100, 95, 0, False), (100, 94, 0, True), (100, 99, 1, True), (0, 0, 0, False)],
)
def test_saturation(offered: int, served: int, dropped: int, expected: bool) -> None:
    assert is_saturated(offered=offered, served=served, dropped=dropped) is expected


@pytest.mark.parametrize(
    ("rate_rps", "cap", "expected"), [(1.0, 900, 4), (300.0, 900, 30), (300.0, 10, 10), (9e3, 900, 100)]
)
def test_users_to_make(rate_rps: float, cap: int, expected: int) -> None:
    assert users_to_make(rate_rps=rate_rps, cap=cap) == expected
