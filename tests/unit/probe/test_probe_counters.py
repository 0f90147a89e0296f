"""The counters are exact, from many threads and out of order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.probe.counters import Counters


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """The interpreter changes threads as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_no_update_is_lost_between_threads() -> None:
    counters, threads, rounds = Counters(), 8, 5_000
    start_ns = counters.enabled_ns

    def work(_: int) -> None:
        for step in range(rounds):
            now_ns = start_ns + step
            counters.checked_out(now_ns)
            counters.waited(3)
            counters.transaction_ended(2)
            counters.checked_in(now_ns + 5, now_ns)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    done = threads * rounds
    assert counters.used == 0
    assert counters.checkouts == done
    assert (counters.wait_ns, counters.transaction_ns, counters.use_ns) == (3 * done, 2 * done, 5 * done)
    assert counters.used_integral_ns == 5 * done


def test_the_integral_is_exact_when_clocks_come_out_of_order() -> None:
    counters = Counters()
    start_ns = counters.enabled_ns
    counters.checked_out(start_ns + 12)
    counters.checked_out(start_ns + 10)
    counters.checked_in(start_ns + 30, start_ns + 10)
    counters.checked_in(start_ns + 20, start_ns + 12)
    totals = counters.totals(start_ns + 50)
    assert totals["connection_used_integral_s"] == totals["connection_use_time_s"] == 28e-9


def test_carried_connections_are_used_but_their_unknown_hold_is_not_counted() -> None:
    counters = Counters()
    start_ns = counters.enabled_ns
    counters.carry(2, start_ns)
    counters.checked_in(start_ns + 10, None)
    assert (counters.used, counters.carried, counters.use_ns) == (1, 1, 0)
    counters.bound_carried(0, start_ns + 20)
    assert (counters.used, counters.carried) == (0, 0)
    counters.checked_in(start_ns + 30, None)  # of nothing we know
    assert counters.used == 0
    assert counters.used_integral_ns == 10 + 20


def test_a_pause_keeps_sums_and_forgets_what_is_out() -> None:
    counters = Counters()
    start_ns = counters.enabled_ns
    counters.checked_out(start_ns)
    counters.pause(start_ns + 10)
    counters.resume(start_ns + 100)
    counters.checked_in(start_ns + 110, start_ns)  # checked out before the pause
    assert (counters.used, counters.use_ns, counters.used_integral_ns, counters.checkouts) == (0, 0, 10, 1)
