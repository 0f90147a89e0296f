"""The counters are exact, from many threads and out of order."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.pool import QueuePool

from harness.probe.counters import Counters
from harness.probe.pool import PoolInstrument


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """The interpreter changes threads as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


@pytest.fixture
def watched() -> Iterator[tuple[Counters, QueuePool]]:
    """A pool of eight connections, measured."""
    counters = Counters()
    pool = QueuePool(lambda: sqlite3.connect(":memory:", check_same_thread=False), pool_size=8)
    instrument = PoolInstrument(counters)
    instrument.active = True
    instrument.install(pool)
    yield counters, pool
    pool.dispose()


@pytest.mark.usefixtures("hasty_threads")
def test_no_update_is_lost_between_threads(watched: tuple[Counters, QueuePool]) -> None:
    counters, pool = watched
    threads, rounds = 8, 1_000

    def work(_: int) -> None:
        for _ in range(rounds):
            pool.connect().close()

    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(work, range(threads)))
    assert counters.used == 0
    assert counters.checkouts == threads * rounds
    assert counters.used_integral_ns == counters.use_ns > 0


def integral_and_use_ns(counters: Counters, now_ns: int) -> tuple[int, int]:
    *_, use_ns, integral_ns, _transaction_ns, _handovers, _handover_ns = counters.read(now_ns)
    return integral_ns, use_ns


def test_what_is_out_counts_up_to_now(watched: tuple[Counters, QueuePool]) -> None:
    counters, pool = watched
    first, second = pool.connect(), pool.connect()
    now_ns = time.monotonic_ns()
    assert counters.used == 2
    assert integral_and_use_ns(counters, now_ns + 10**9)[0] - integral_and_use_ns(counters, now_ns)[0] == 2 * 10**9
    first.close()
    second.close()
    integral_ns, use_ns = integral_and_use_ns(counters, now_ns + 10**12)
    assert integral_ns == use_ns


def test_carried_connections_are_used_but_their_unknown_hold_is_not_counted() -> None:
    counters = Counters()
    start_ns = counters.enabled_ns
    counters.carry(2, start_ns)
    counters.carried_in(start_ns + 10)
    assert (counters.used, counters.carried, counters.use_ns) == (1, 1, 0)
    counters.bound_carried(0, start_ns + 20)
    assert (counters.used, counters.carried) == (0, 0)
    counters.carried_in(start_ns + 30)  # of nothing we know
    assert counters.used == 0
    assert counters.used_integral_ns == 10 + 20


def test_a_pause_keeps_sums_and_forgets_what_is_out(watched: tuple[Counters, QueuePool]) -> None:
    counters, pool = watched
    connection = pool.connect()
    counters.pause(time.monotonic_ns())
    kept_ns = counters.used_integral_ns
    counters.resume(time.monotonic_ns())
    connection.close()  # checked out before the pause
    assert (counters.used, counters.use_ns, counters.used_integral_ns, counters.checkouts) == (0, 0, kept_ns, 1)
    assert kept_ns > 0
