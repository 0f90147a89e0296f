"""What several generator processes have in common, as pure logic: shares, clocks, ledgers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.load import SETUP_SEGMENT, EndpointCount, Ledger, TaskCount, TurnRun
from harness.generator.arrivals import Share
from harness.generator.clocks import Ping, offset_from
from harness.generator.merge import is_silent, merge_ledgers


@given(count=st.integers(0, 2000), stripes=st.integers(1, 16))
def test_shares_together_are_everything(count: int, stripes: int) -> None:
    shares = [Share(stripe=k, stripes=stripes) for k in range(stripes)]
    assert sum(share.of(count) for share in shares) == count
    assert max(share.of(count) for share in shares) - min(share.of(count) for share in shares) <= 1
    numbers = [share.number(own) for share in shares for own in range(share.of(count))]
    assert sorted(numbers) == list(range(count))


@given(
    apart=st.integers(-(10**15), 10**15),
    there=st.lists(st.integers(0, 10**8), min_size=1, max_size=20),
    back=st.integers(0, 10**8),
)
def test_an_offset_is_right_within_its_uncertainty(apart: int, there: list[int], back: int) -> None:
    pings = [
        Ping(asked_ns=10, received_ns=10 + way + apart, answered_ns=15 + way + apart, heard_ns=15 + way + back)
        for way in there
    ]
    offset = offset_from(pings)
    assert abs(offset.offset_ns - apart) <= offset.uncertainty_ns
    assert offset.uncertainty_ns <= (min(there) + back + 1) // 2


def run(**changes: object) -> TurnRun:
    values: dict[str, object] = {
        "launch_id": "L",
        "start_ns": 100,
        "end_ns": 200,
        "load_start_ns": 40,
        "cut": "end",
        "idle_ns": 210,
        "idle": True,
        "in_flight_peak": 3,
    }
    return TurnRun(**(values | changes))  # type: ignore[arg-type]


def a_ledger(task: str, *, ok: int, dropped: int, **changes: object) -> Ledger:
    return Ledger(
        tasks=(TaskCount(segment=0, task=task, offered=ok + dropped, done=ok, dropped=dropped, unfinished=0),),
        endpoints=(EndpointCount(segment=0, endpoint="GET /", requests=ok, ok=ok, error=0, timeout=0),),
        turns=(run(**changes),),
    )


def test_counts_are_added_and_a_turn_lasts_from_the_first_to_the_last() -> None:
    one = a_ledger("read", ok=5, dropped=1)
    two = a_ledger("read", ok=7, dropped=0, start_ns=90, end_ns=190, idle=False, in_flight_peak=2)
    three = a_ledger("write", ok=1, dropped=0, end_ns=250, idle_ns=260)
    merged = merge_ledgers([one, two, three])
    assert merged.tasks == (
        TaskCount(segment=0, task="read", offered=13, done=12, dropped=1, unfinished=0),
        TaskCount(segment=0, task="write", offered=1, done=1, dropped=0, unfinished=0),
    )
    assert merged.endpoints == (EndpointCount(segment=0, endpoint="GET /", requests=13, ok=13, error=0, timeout=0),)
    assert merged.turns == (run(start_ns=90, end_ns=250, idle_ns=260, idle=False, in_flight_peak=8),)


def test_one_ledger_stays_as_it_is() -> None:
    ledger = a_ledger("read", ok=5, dropped=1)
    assert merge_ledgers([ledger]) == ledger


def test_silence_is_known_only_when_every_arrival_came_to_its_end() -> None:
    quiet = TaskCount(segment=0, task="read", offered=5, done=4, dropped=1, unfinished=0)
    hung = replace(quiet, done=3, unfinished=1)
    nothing = EndpointCount(segment=0, endpoint="", requests=4, ok=4, error=0, timeout=0)
    login = replace(nothing, segment=SETUP_SEGMENT, endpoint="POST /login")
    sent = replace(nothing, endpoint="GET /")
    cases = {
        True: [([quiet], [nothing]), ([quiet], []), ([quiet], [nothing, login])],
        False: [([quiet], [nothing, sent]), ([hung], [nothing]), ([], [])],
    }
    for silent, ledgers in cases.items():
        for tasks, endpoints in ledgers:
            assert is_silent(Ledger(tasks=tuple(tasks), endpoints=tuple(endpoints), turns=())) is silent


def test_ledgers_of_different_plans_do_not_add_up() -> None:
    other = Ledger(tasks=(), endpoints=(), turns=())
    with pytest.raises(ValueError, match="shorter"):
        merge_ledgers([a_ledger("read", ok=1, dropped=0), other])
