"""Schedule, striping, cap and drop, exactly, on a virtual clock."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.domain.load import Segment
from harness.generator.arrivals import (
    NS_PER_S,
    Dispatcher,
    InFlight,
    Timeline,
    is_saturated,
    schedule,
    users_to_make,
)

SEGMENT = Segment(
    index=0,
    launch_id="L",
    phase="measure",
    round=0,
    start_s=0.0,
    duration_s=10.0,
    guard_s=0.5,
    model="open",
    rate_rps=500.0,
    users=None,
    arrivals="poisson",
    seed=11,
)
seeds = st.integers(min_value=0, max_value=2**31)


def test_poisson_gaps_are_exponential() -> None:
    offsets_s = [arrival.offset_ns / NS_PER_S for arrival in schedule(SEGMENT, [1.0])]
    gaps_s = [later - earlier for earlier, later in zip([0.0, *offsets_s], offsets_s, strict=False)]
    assert stats.kstest(gaps_s, "expon", args=(0, 1 / 500.0)).pvalue > 0.01
    assert len(offsets_s) == pytest.approx(5000, abs=5 * math.sqrt(5000))


def test_a_wrong_rate_would_be_noticed() -> None:
    offsets_s = [arrival.offset_ns / NS_PER_S for arrival in schedule(replace(SEGMENT, rate_rps=450.0), [1.0])]
    gaps_s = [later - earlier for earlier, later in zip([0.0, *offsets_s], offsets_s, strict=False)]
    assert stats.kstest(gaps_s, "expon", args=(0, 1 / 500.0)).pvalue < 0.01


@settings(deadline=None)  # the machine is shared
@given(seed=seeds)
def test_uniform_gaps_are_equal_and_the_phase_is_drawn(seed: int) -> None:
    segment = replace(SEGMENT, arrivals="uniform", rate_rps=100.0, duration_s=1.0, seed=seed)
    offsets = [arrival.offset_ns for arrival in schedule(segment, [1.0])]
    assert len(offsets) == 100
    gaps = {later - earlier for earlier, later in pairwise(offsets)}
    assert all(abs(gap - 10_000_000) <= 1 for gap in gaps)
    assert 0 <= offsets[0] < 10_000_000


@settings(deadline=None)  # the machine is shared
@given(seed=seeds, weights=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=5), stripes=st.integers(1, 5))
def test_stripes_together_are_the_whole_schedule(seed: int, weights: list[float], stripes: int) -> None:
    segment = replace(SEGMENT, duration_s=0.2, seed=seed)
    whole = list(schedule(segment, weights))
    parts = [list(schedule(segment, weights, stripe=k, stripes=stripes)) for k in range(stripes)]
    assert sorted(arrival for part in parts for arrival in part) == whole
    assert [arrival.number for arrival in whole] == list(range(len(whole)))
    assert all(arrival.number % stripes == k for k, part in enumerate(parts) for arrival in part)


@settings(deadline=None)  # the machine is shared
@given(seed=seeds)
def test_weights_choose_tasks_and_leave_the_times_alone(seed: int) -> None:
    segment = replace(SEGMENT, duration_s=0.5, seed=seed)
    even, uneven = (list(schedule(segment, weights)) for weights in ([1.0, 1.0], [9.0, 1.0, 3.0]))
    assert [arrival.offset_ns for arrival in even] == [arrival.offset_ns for arrival in uneven]


def test_tasks_come_in_proportion_to_their_weights() -> None:
    counts = Counter(arrival.task for arrival in schedule(SEGMENT, [70.0, 20.0, 10.0]))
    total = counts.total()
    assert stats.chisquare([counts[0], counts[1], counts[2]], [total * 0.7, total * 0.2, total * 0.1]).pvalue > 0.01


def test_other_seeds_give_other_schedules() -> None:
    first, second = (list(schedule(replace(SEGMENT, duration_s=0.1, seed=seed), [1.0, 1.0])) for seed in (1, 2))
    assert first != second


def serve(segment: Segment, *, service_ns: int, cap: int, stall: range = range(0)) -> tuple[list[int], list[int], int]:
    """The engine's decisions on a virtual clock, each arrival served in `service_ns`.

    The clock only shows times outside `stall`. Returns latencies, dropped numbers and the peak in flight.
    """
    dispatcher, in_flight = Dispatcher(schedule(segment, [1.0]), start_ns=0), InFlight(cap)
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
                latencies.append(now_ns + service_ns - arrival.offset_ns)
            else:
                dropped.append(arrival.number)
    return latencies, dropped, in_flight.peak


def test_without_contention_latency_is_the_service_time() -> None:
    latencies, dropped, _ = serve(SEGMENT, service_ns=5_000_000, cap=900)
    assert set(latencies) == {5_000_000}
    assert dropped == []


@settings(deadline=None)  # the machine is shared
@given(seed=seeds, cap=st.integers(1, 20), service_ms=st.integers(1, 400))
def test_every_arrival_is_served_or_dropped_and_the_cap_holds(seed: int, cap: int, service_ms: int) -> None:
    segment = replace(SEGMENT, duration_s=1.0, rate_rps=200.0, seed=seed)
    latencies, dropped, peak = serve(segment, service_ns=service_ms * 1_000_000, cap=cap)
    assert len(latencies) + len(dropped) == len(list(schedule(segment, [1.0])))
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
    arrivals = list(schedule(SEGMENT, [1.0]))
    expected = [
        (stall.stop if arrival.offset_ns in stall else arrival.offset_ns) + 1_000_000 - arrival.offset_ns
        for arrival in arrivals
    ]
    assert (latencies, dropped) == (expected, [])
    assert max(latencies) > 0.99 * NS_PER_S


def test_nothing_is_handed_out_early() -> None:
    dispatcher = Dispatcher(schedule(SEGMENT, [1.0]), start_ns=1000)
    due_ns = dispatcher.due_ns
    assert due_ns is not None
    assert dispatcher.pop(due_ns - 1) is None
    arrival = dispatcher.pop(due_ns)
    assert arrival is not None
    assert arrival.number == 0
    assert dispatcher.due_ns != due_ns


def test_the_rest_of_a_saturated_staircase_is_skipped_and_the_others_move_forward() -> None:
    def step(index: int, launch_id: str, phase: str, start_s: float) -> Segment:
        return replace(SEGMENT, index=index, launch_id=launch_id, phase=phase, start_s=start_s, duration_s=1.0)  # type: ignore[arg-type]

    segments = [
        step(0, "A", "staircase", 0.0),
        step(1, "A", "staircase", 1.5),
        step(2, "A", "staircase", 3.0),
        step(3, "B", "staircase", 4.5),
        step(4, "A", "measure", 6.0),
    ]
    timeline = Timeline(segments, start_ns=100 * NS_PER_S)
    walked = []
    for walk in timeline:
        walked.append((walk.segment.index, walk.skipped, (walk.start_ns - 100 * NS_PER_S) / NS_PER_S))
        if walk.segment.index == 0:
            timeline.saturated("A")
    assert walked == [(0, False, 0.0), (1, True, 1.5), (2, True, 1.5), (3, False, 1.5), (4, False, 3.0)]


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
