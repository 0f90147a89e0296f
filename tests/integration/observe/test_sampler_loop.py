"""The loop around a sampler: when it reads, when it rests, and what it calls a gap."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest
from fakes import FakeSampler

from harness.observe.sampler import GapTracker, SamplerLoop

S = 1_000_000_000


def test_each_reading_is_stamped_at_its_middle() -> None:
    sampler = FakeSampler(lambda _: time.sleep(0.05))
    loop = SamplerLoop(sampler, interval_s=0.01)
    before_ns = time.monotonic_ns()
    loop.start()
    sampler.wait_for(2)
    loop.stop()
    first = loop.rows[0]
    assert first["number"] == 1
    assert isinstance(first["t_ns"], int)
    assert first["t_ns"] - before_ns >= 0.02 * S
    stamps = [row["t_ns"] for row in loop.rows]
    assert stamps == sorted(stamps)  # type: ignore[type-var]  # all are ints


def test_one_that_is_to_be_read_last_is_read_as_it_stops() -> None:
    for last in (False, True):
        sampler = FakeSampler()
        loop = SamplerLoop(sampler, interval_s=3600.0, last=last)
        loop.start()
        sampler.wait_for(1)
        loop.stop()
        loop.stop()
        assert sampler.readings == len(loop.rows) == 1 + last


def test_intervals_are_jittered_around_the_mean() -> None:
    sampler = FakeSampler()
    loop = SamplerLoop(sampler, interval_s=0.01)
    loop.start()
    sampler.wait_for(40)
    loop.stop()
    stamps = [int(row["t_ns"]) for row in loop.rows]  # type: ignore[call-overload]  # all are ints
    steps_s = [(later - earlier) / S for earlier, later in pairwise(stamps)]
    assert sum(steps_s) / len(steps_s) >= 0.008  # never faster than the shortest interval, however busy the machine
    assert max(steps_s) - min(steps_s) > 0.001


def test_a_slow_sampler_is_not_asked_in_a_burst_afterwards() -> None:
    sampler = FakeSampler(lambda number: time.sleep(0.3) if number == 1 else None)
    loop = SamplerLoop(sampler, interval_s=0.02)
    loop.start()
    sampler.wait_for(8)
    loop.stop()
    stamps = [int(row["t_ns"]) for row in loop.rows]  # type: ignore[call-overload]  # all are ints
    late = stamps[2:]
    assert (late[-1] - late[0]) / S >= 0.015 * (len(late) - 1)


def test_nothing_is_read_while_paused_and_it_is_no_gap() -> None:
    sampler = FakeSampler()
    loop = SamplerLoop(sampler, interval_s=0.01)
    loop.start()
    sampler.wait_for(3)
    loop.pause()
    paused_at = sampler.readings
    gaps_before = loop.gaps
    time.sleep(0.2)  # twenty intervals
    assert sampler.readings == paused_at
    loop.resume()
    sampler.wait_for(paused_at + 3)
    loop.stop()
    assert not any(gap.length_s >= 0.2 for gap in loop.gaps[len(gaps_before) :])


def test_no_interval_passes_while_paused() -> None:
    sampler = FakeSampler()
    loop = SamplerLoop(sampler, interval_s=0.02)
    loop.start()
    sampler.wait_for(1)
    loop.pause()
    observed_s = 0.0
    for _ in range(20):
        time.sleep(0.02)
        began_s = time.monotonic()
        loop.resume()
        time.sleep(0.004)
        loop.pause()
        observed_s += time.monotonic() - began_s
    loop.stop()
    assert 2 <= sampler.readings <= 3 + observed_s / (0.8 * 0.02)


def test_pause_waits_for_the_reading_under_way() -> None:
    ended = threading.Event()

    def slow(_: int) -> None:
        time.sleep(0.1)
        ended.set()

    sampler = FakeSampler(slow)
    loop = SamplerLoop(sampler, interval_s=0.01)
    loop.start()
    sampler.wait_for(1)
    loop.pause()
    assert ended.is_set()
    loop.stop()


def test_an_exception_is_a_gap_with_its_reason_and_reading_goes_on() -> None:
    def fail_twice(number: int) -> None:
        if number in (2, 3):
            raise ConnectionError("server closed the connection\nunexpectedly")

    sampler = FakeSampler(fail_twice)
    loop = SamplerLoop(sampler, interval_s=0.01)
    loop.start()
    sampler.wait_for(6)
    loop.stop()
    numbers = [row["number"] for row in loop.rows]
    assert numbers[:3] == [1, 4, 5]
    (gap,) = [gap for gap in loop.gaps if gap.reason]
    assert (gap.sampler, gap.reason) == ("fake", "ConnectionError: server closed the connection")
    assert gap.t_ns == loop.rows[0]["t_ns"]


def test_a_sampler_that_never_works_is_one_gap_over_all() -> None:
    def fail(_: int) -> None:
        raise ValueError("no")

    sampler = FakeSampler(fail)
    loop = SamplerLoop(sampler, interval_s=0.01)
    loop.start()
    sampler.wait_for(5)
    loop.stop()
    assert loop.rows == []
    assert [gap.reason for gap in loop.gaps] == ["ValueError: no"]


def test_stopping_twice_is_stopping_once() -> None:
    sampler = FakeSampler()
    loop = SamplerLoop(sampler, interval_s=0.01)
    loop.start()
    sampler.wait_for(1)
    loop.stop()
    rows, gaps = list(loop.rows), loop.gaps
    loop.stop()
    assert (loop.rows, loop.gaps) == (rows, gaps)


@pytest.mark.parametrize(("silence_s", "gaps"), [(0.1, 0), (0.5, 0), (0.51, 1), (3.0, 1)])
def test_more_than_five_intervals_without_a_reading_is_a_gap(silence_s: float, gaps: int) -> None:
    tracker = GapTracker("postgres", 0.1)
    tracker.opened(10 * S)
    tracker.reading(10 * S)
    tracker.reading(10 * S + int(silence_s * S))
    assert len(tracker.gaps) == gaps
    if gaps:
        assert tracker.gaps[0].t_ns == 10 * S
        assert tracker.gaps[0].length_s == pytest.approx(silence_s)
        assert tracker.gaps[0].reason == ""


@pytest.mark.parametrize(
    ("interval_s", "late_s", "gaps"),
    [(0.1, 0.14, 0), (0.1, 0.16, 1), (0.02, 0.14, 0), (0.02, 0.16, 1), (1.0, 1.4, 0), (1.0, 1.6, 1)],
)
def test_a_sampler_that_stood_still_begins_its_reading_late(interval_s: float, late_s: float, gaps: int) -> None:
    tracker = GapTracker("postgres", interval_s)
    tracker.opened(0)
    tracker.begun(late_s)
    tracker.reading(S // 1000)
    tracker.begun(0.0)
    tracker.reading(S // 500)
    assert len(tracker.gaps) == gaps


def test_silence_at_the_end_counts_and_silence_while_closed_does_not() -> None:
    tracker = GapTracker("postgres", 0.1)
    tracker.opened(0)
    tracker.closed(S)
    tracker.opened(100 * S)
    tracker.reading(100 * S + 1)
    assert [(gap.t_ns, gap.length_s) for gap in tracker.gaps] == [(0, 1.0)]


def test_the_first_reason_of_a_gap_is_kept() -> None:
    tracker = GapTracker("postgres", 0.1)
    tracker.opened(0)
    tracker.failed("the cause")
    tracker.failed("the consequence")
    tracker.reading(S // 10)
    tracker.reading(S // 5)
    assert [gap.reason for gap in tracker.gaps] == ["the cause"]


def test_a_reading_that_does_not_return_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.observe.sampler.STOP_TIMEOUT_S", 0.2)
    forever = threading.Event()
    sampler = FakeSampler(lambda _: forever.wait(60) and None)
    loop = SamplerLoop(sampler, interval_s=0.01)
    loop.start()
    sampler.wait_for(1)
    loop.stop()
    loop.stop()
    (gap,) = loop.gaps
    assert gap.reason == "a reading did not return within 0.2 s"
    forever.set()
