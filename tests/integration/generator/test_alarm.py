"""Both alarms ring once, never early, at the time that was set last."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
import pytest

from harness.generator.alarm import Alarm, LoopAlarm, TimerFdAlarm, make_alarm

ALARMS = [LoopAlarm, pytest.param(TimerFdAlarm, marks=pytest.mark.skipif("sys.platform != 'linux'"))]


@pytest.mark.parametrize("make", ALARMS)
def test_it_rings_once_and_not_early(make: Callable[[Callable[[], None]], Alarm]) -> None:
    rung: list[int] = []
    with make(lambda: rung.append(time.monotonic_ns())) as alarm:
        due_ns = time.monotonic_ns() + 20_000_000
        alarm.set(due_ns + 60_000_000_000)
        alarm.set(due_ns)
        gevent.sleep(0.2)
    assert len(rung) == 1
    assert rung[0] >= due_ns


@pytest.mark.parametrize("make", ALARMS)
def test_it_can_be_set_again_from_its_own_call(make: Callable[[Callable[[], None]], Alarm]) -> None:
    rung: list[int] = []

    def ring() -> None:
        rung.append(time.monotonic_ns())
        if len(rung) < 5:
            alarm.set(time.monotonic_ns() - 1 if len(rung) == 2 else time.monotonic_ns() + 2_000_000)

    with make(ring) as alarm:
        alarm.set(1)  # long past: at once
        gevent.sleep(0.3)
    assert len(rung) == 5


@pytest.mark.parametrize("make", ALARMS)
def test_after_the_block_it_is_silent(make: Callable[[Callable[[], None]], Alarm]) -> None:
    rung: list[int] = []
    with make(lambda: rung.append(1)) as alarm:
        alarm.set(time.monotonic_ns() + 20_000_000)
    gevent.sleep(0.1)
    assert rung == []


def test_the_finest_one_is_taken() -> None:
    with make_alarm(lambda: None) as alarm:
        assert isinstance(alarm, TimerFdAlarm | LoopAlarm)
