"""A pool's queue against answers found by other means: Erlang's C, Lindley's recursion, and a clock that ticks."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lengths import length

from harness.analyse.pool_queue import erlang_wait_s, waits_s

TICKS = st.integers(0, 12)
"""whole numbers: sums of them are exact, and things happen at the same moment now and then"""


def lindley(due_s: list[float], holds_s: list[float]) -> list[float]:
    """Waits at one server, each from the one before alone (Lindley, 1952)."""
    waits = [0.0]
    for gap_s, hold_s in zip(np.diff(due_s), holds_s, strict=False):
        waits.append(max(0.0, waits[-1] + hold_s - gap_s))
    return waits


def ticking(due: list[int], holds: list[int], *, size: int, overflow: int, timeout: int, dial: int) -> list[float]:
    """The same pool as a service lives through it: a queue, connections, and one moment after another."""
    waiting: deque[int] = deque()
    out: list[int] = []  # when each connection comes back
    idle, waits = 0, [math.nan] * len(due)
    for now in range(max(due) + sum(holds) + len(due) * dial + 1):
        while waiting and now - due[waiting[0]] > timeout:
            waits[waiting.popleft()] = math.inf
        for _ in range(out.count(now)):
            out.remove(now)
            if waiting:
                one = waiting.popleft()
                waits[one] = now - due[one]
                out.append(now + holds[one])
            else:
                idle = min(size, idle + 1)
        for one in (place for place, at in enumerate(due) if at == now):
            if idle:
                idle, waits[one] = idle - 1, 0
                out.append(now + holds[one])
            elif len(out) < size + overflow:
                waits[one] = dial
                out.append(now + dial + holds[one])
            else:
                waiting.append(one)
    return waits


@given(st.lists(st.tuples(TICKS, st.integers(1, 12)), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_one_connection_is_lindleys_queue(drawn: list[tuple[int, int]]) -> None:
    due = np.cumsum([gap for gap, _ in drawn]).astype(float).tolist()
    holds = [float(hold) for _, hold in drawn]
    assert waits_s(due, holds, 1).tolist() == lindley(due, holds)


@given(
    drawn=st.lists(st.tuples(TICKS, st.integers(1, 12)), min_size=1, max_size=30),
    size=st.integers(1, 3),
    overflow=st.integers(0, 2),
    timeout=st.integers(1, 20),
    dial=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_sizes_overflow_and_patience_are_what_a_living_pool_does(
    drawn: list[tuple[int, int]], size: int, overflow: int, timeout: int, dial: int
) -> None:
    due = np.cumsum([gap for gap, _ in drawn]).tolist()
    holds = [hold for _, hold in drawn]
    expected = ticking(due, holds, size=size, overflow=overflow, timeout=timeout, dial=dial)
    assert waits_s(due, holds, size, overflow, timeout, dial_s=dial).tolist() == expected


@pytest.mark.parametrize(("connections", "utilisation"), [(1, 0.7), (2, 0.8), (5, 0.85), (15, 0.9)])
def test_exponential_gaps_and_holds_wait_as_erlang_has_it(connections: int, utilisation: float) -> None:
    random = np.random.default_rng(connections)
    count, rate = length(300_000, 100_000), connections * utilisation  # of holds of 1 s
    due = np.cumsum(random.exponential(1 / rate, count)).tolist()
    found = np.sort(waits_s(due, random.exponential(1.0, count).tolist(), connections))
    for share in (0.9, 0.95):
        assert found[int(share * count)] == pytest.approx(erlang_wait_s(rate, 1.0, connections, share), rel=0.08)


def test_erlangs_chance_to_wait_is_that_of_his_tables() -> None:
    """Two servers and a load of 1 Erlang: a third of all waits (C = 1/3); ten and 8: 0.409."""
    for connections, load, waiting in ((2, 1.0, 1 / 3), (10, 8.0, 0.409)):
        longest = erlang_wait_s(load, 1.0, connections, 0.95)
        assert waiting * math.exp(-longest * (connections - load)) == pytest.approx(0.05, rel=0.002)
    assert erlang_wait_s(1.0, 1.0, 10, 0.95) == 0.0
    assert math.isinf(erlang_wait_s(2.0, 1.0, 2, 0.95))


def test_what_lies_between_two_holders_is_nobodys() -> None:
    """Two who come at once share a connection that takes a second to be taken up: the third waits for both."""
    assert waits_s([0, 0, 0], [5, 5, 5], 1, handover_s=1).tolist() == [0, 6, 12]


def test_connections_that_are_open_need_no_dial() -> None:
    assert waits_s([0, 0, 0], [9, 9, 9], 2, 1, dial_s=1, open_=1).tolist() == [0, 1, 1]
