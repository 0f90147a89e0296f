"""Each quantity the probe reports is forced, with three drivers, and compared with the test's own clock."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest
from accounts import new_account
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool

from harness.probe.accounting import Account, current

pytestmark = pytest.mark.postgres

Make = Callable[..., Any]

SLEEP_S = 0.05
CLOSE_S = 0.001
"""how near the probe must come to the test's clock around the same call"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What the test's own clock says of one use of a connection, in seconds, beside the account the probe kept."""

    checkout_s: float
    query_s: float
    held_s: float
    account: Account


def sleep(connection: Connection, seconds: float = SLEEP_S) -> None:
    connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


def use(seconds: float = SLEEP_S) -> Callable[[Engine], Timing]:
    """Check out, query for so long, roll back, return."""

    def used(engine: Engine) -> Timing:
        account = new_account()
        token = current.set(account)
        began = monotonic()
        connection = engine.connect()
        got = monotonic()
        sleep(connection, seconds)
        answered = monotonic()
        connection.close()
        held = monotonic() - got
        current.reset(token)
        return Timing(checkout_s=got - began, query_s=answered - got, held_s=held, account=account)

    return used


def smallest(errors: list[float]) -> float:
    """The instrument's own error shows in every attempt; a preemption between two clocks does not."""
    return min(abs(error) for error in errors)


def test_the_second_request_waits_as_long_as_the_first_holds(make_service: Make) -> None:
    service = make_service()
    service.run(use(0.0))
    wait_errors, pool_errors, query_errors = [], [], []
    for _ in range(4):
        before = service.probe.read()
        timings = service.together(use(), use())
        after = service.probe.read()
        waited = max(timings, key=lambda timing: timing.checkout_s)
        assert after["connection_handovers"] - before["connection_handovers"] == 1
        handed_over_s = after["connection_handover_time_s"] - before["connection_handover_time_s"]
        assert 0 < handed_over_s < waited.checkout_s
        assert waited.checkout_s > SLEEP_S * 0.9
        wait_errors.append(after["connection_wait_time_s"] - before["connection_wait_time_s"] - waited.checkout_s)
        pool_errors.append(waited.account.pool_ns / 1e9 - waited.checkout_s)
        query_errors.append(waited.account.db_ns / 1e9 - waited.query_s)
    assert smallest(wait_errors) < CLOSE_S
    assert smallest(pool_errors) < CLOSE_S
    assert smallest(query_errors) < 2 * CLOSE_S  # the test's clock leaves the rollback out


def test_waiters_and_used_connections_show_while_they_wait(make_service: Make) -> None:
    service = make_service()
    with service.sampled() as lines:
        service.together(*[use(0.1)] * 3)
    assert max(line["connection_pending_requests"] for line in lines) == 2
    assert max(line["connection_count_used"] for line in lines) == 1
    assert {line["connection_max"] for line in lines} == {1}
    after = service.probe.read()
    assert after["connection_pending_requests"] == after["connection_count_used"] == 0
    assert after["connection_count_idle"] == 1
    assert after["connection_checkouts"] == 3


def test_overflow_is_opened_and_closed_again(make_service: Make) -> None:
    service = make_service(pool_size=1, max_overflow=2)
    with service.sampled() as lines:
        service.together(*[use(0.1)] * 3)
    after = service.probe.read()
    assert max(line["connection_overflow"] for line in lines) == 2
    assert max(line["connection_count_used"] for line in lines) == 3
    assert {line["connection_max"] for line in lines} == {3}
    assert (after["connection_connects"], after["connection_closes"]) == (3, 2)
    assert (after["connection_overflow"], after["connection_count_idle"]) == (0, 1)


def test_a_dial_counts_as_creation_not_as_wait_or_database_time(make_service: Make) -> None:
    service = make_service()
    timing = service.run(use(0.0))
    line = service.probe.read()
    assert line["connection_connects"] == 1
    assert 0 < line["connection_create_time_s"] <= timing.checkout_s
    assert line["connection_wait_time_s"] < line["connection_create_time_s"]
    # The dialect's own statements on a first connection are part of the checkout, never of the request's statements.
    assert timing.account.db_ns / 1e9 <= timing.held_s


def test_the_first_words_on_a_connection_belong_to_its_creation(make_service: Make) -> None:
    """A listener of the app's, such as one that sets the time zone, runs within the checkout and before its use."""
    service = make_service()

    @event.listens_for(service.engine, "connect")
    def first_words(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SELECT pg_sleep({SLEEP_S})")
        cursor.close()

    service.run(use(0.0))
    created = service.probe.read()
    service.run(use(0.0))
    assert created["connection_create_time_s"] > SLEEP_S
    assert service.probe.read()["connection_create_time_s"] == created["connection_create_time_s"]


def test_a_failed_dial_leaves_nothing_in_use(make_service: Make, postgres_url: str) -> None:
    service = make_service(url=postgres_url.rsplit("/", 1)[0] + "/no_such_database")
    (error,) = service.together(use())
    line = service.probe.read()
    assert isinstance(error, SQLAlchemyError) or "no_such_database" in str(error)
    assert line["connection_connects"] == line["connection_checkouts"] == 0
    assert line["connection_count_used"] == 0


def test_pre_ping_is_timed_on_a_connection_that_was_used_before(make_service: Make) -> None:
    service = make_service(pool_size=1, max_overflow=0, pool_pre_ping=True)
    service.run(use(0.0))
    assert service.probe.read()["connection_ping_time_s"] == 0
    timing = service.run(use(0.0))
    ping_s = service.probe.read()["connection_ping_time_s"]
    assert 0 < ping_s <= timing.account.pool_ns / 1e9 <= timing.checkout_s


def test_a_ping_that_fails_invalidates_and_reconnects(make_service: Make) -> None:
    service = make_service(pool_size=2, max_overflow=0, pool_pre_ping=True)

    def kill_the_other(engine: Engine) -> None:
        with engine.connect() as victim, engine.connect() as killer:
            pid = victim.execute(text("SELECT pg_backend_pid()")).scalar_one()
            victim.rollback()
            killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    service.run(kill_the_other)
    service.together(use(), use())
    line = service.probe.read()
    assert line["connection_invalidations"] >= 1
    assert line["connection_connects"] - line["connection_closes"] == line["connection_count_idle"] == 2


def test_a_request_that_gives_up_counts_as_a_timeout(make_service: Make) -> None:
    service = make_service(pool_size=1, max_overflow=0, pool_timeout=0.05)
    began = monotonic()
    results = service.together(use(0.5), use(0.5))
    elapsed_s = monotonic() - began
    line = service.probe.read()
    assert sum(isinstance(result, PoolTimeoutError) for result in results) == 1
    assert (line["connection_timeouts"], line["connection_checkouts"]) == (1, 1)
    assert 0.04 <= line["connection_wait_time_s"] < elapsed_s
    assert line["connection_count_used"] == line["connection_pending_requests"] == 0


def test_an_invalidated_connection_is_closed_and_replaced(make_service: Make) -> None:
    service = make_service()

    def invalidate(engine: Engine) -> None:
        with engine.connect() as connection:
            sleep(connection, 0.0)
            connection.invalidate()

    service.run(invalidate)
    line = service.probe.read()
    assert (line["connection_invalidations"], line["connection_closes"]) == (1, 1)
    assert line["connection_count_used"] == 0
    assert line["transaction_time_s"] > 0  # lost with its connection, but it was open until then
    service.run(use(0.0))
    assert service.probe.read()["connection_connects"] == 2


def test_recycling_reconnects_at_checkout(make_service: Make) -> None:
    service = make_service(pool_size=1, max_overflow=0, pool_recycle=0)  # too old as soon as time has passed
    service.run(use(0.0))
    service.run(use(0.0))
    line = service.probe.read()
    assert line["connection_connects"] >= 2
    assert line["connection_closes"] == line["connection_connects"] - 1
    assert (line["connection_invalidations"], line["connection_count_idle"]) == (0, 1)


def test_a_null_pool_dials_every_time_and_has_no_limit(make_service: Make) -> None:
    service = make_service(poolclass=NullPool)
    with service.sampled() as lines:
        service.together(use(0.1), use(0.1))
    service.run(use(0.0))
    line = service.probe.read()
    assert max(reading["connection_count_used"] for reading in lines) == 2
    assert (line["connection_checkouts"], line["connection_connects"], line["connection_closes"]) == (3, 3, 3)
    assert (line["connection_max"], line["connection_count_idle"], line["connection_count_used"]) == (-1, 0, 0)


def test_the_integral_of_used_connections_is_the_sum_of_the_holds(make_service: Make) -> None:
    service = make_service(pool_size=3, max_overflow=0)
    service.together(*[use(0.0)] * 3)
    errors = []
    for _ in range(4):
        before = service.probe.read()
        timings = service.together(use(0.02), use(0.04), use(0.06), use(0.05))
        after = service.probe.read()
        integral_s = after["connection_used_integral_s"] - before["connection_used_integral_s"]
        use_s = after["connection_use_time_s"] - before["connection_use_time_s"]
        assert integral_s == pytest.approx(use_s, abs=1e-6)
        errors.append(integral_s - sum(timing.held_s for timing in timings))
    assert smallest(errors) < 4 * CLOSE_S


def test_the_integral_grows_while_a_connection_is_held(make_service: Make) -> None:
    service = make_service()

    def hold(engine: Engine) -> tuple[Any, Any]:
        with engine.connect() as connection:
            first = service.probe.read()
            sleep(connection)
            return first, service.probe.read()

    first, second = service.run(hold)
    elapsed_s = (second["t_ns"] - first["t_ns"]) / 1e9
    grown_s = second["connection_used_integral_s"] - first["connection_used_integral_s"]
    assert grown_s == pytest.approx(elapsed_s, abs=1e-6)
    assert second["connection_use_time_s"] == first["connection_use_time_s"]


def test_a_transaction_lasts_from_begin_to_commit(make_service: Make) -> None:
    service = make_service()
    service.run(use(0.0))

    def transact(engine: Engine) -> float:
        with engine.connect() as connection:
            began = monotonic()
            with connection.begin():
                sleep(connection)
            return monotonic() - began

    errors = []
    for _ in range(4):
        before = service.probe.read()["transaction_time_s"]
        measured_s = service.run(transact)
        errors.append(service.probe.read()["transaction_time_s"] - before - measured_s)
    assert smallest(errors) < CLOSE_S


def test_in_autocommit_there_is_no_transaction(make_service: Make) -> None:
    service = make_service(isolation_level="AUTOCOMMIT")
    timing = service.run(use())
    line = service.probe.read()
    assert line["transaction_time_s"] == 0
    assert line["connection_use_time_s"] == pytest.approx(timing.held_s, abs=0.05)


def test_autocommit_of_one_connection_is_noticed_and_ends_with_it(make_service: Make) -> None:
    service = make_service()

    def in_autocommit(engine: Engine) -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            sleep(connection, 0.05)

    service.run(in_autocommit)
    assert service.probe.read()["transaction_time_s"] == 0
    service.run(use(0.05))
    assert service.probe.read()["transaction_time_s"] >= 0.05


def test_dispose_keeps_the_counters_going(make_service: Make) -> None:
    service = make_service()
    service.run(use(0.0))
    before = service.probe.read()

    def dispose_while_held(engine: Engine) -> Any:
        with engine.connect() as connection:
            engine.dispose()
            held = service.probe.read()
            sleep(connection, 0.0)
        return held

    held = service.run(dispose_while_held)
    service.run(use(0.0))
    after = service.probe.read()
    assert held["connection_count_used"] == 1
    assert (after["connection_checkouts"], after["connection_connects"]) == (before["connection_checkouts"] + 2, 2)
    assert after["connection_use_time_s"] > before["connection_use_time_s"]
    assert (after["connection_count_used"], after["connection_count_idle"]) == (0, 1)


def test_a_detached_and_a_forgotten_connection_are_no_longer_used(make_service: Make) -> None:
    service = make_service()

    def detach(engine: Engine) -> Any:
        with engine.connect() as connection:
            connection.detach()
            return service.probe.read()["connection_count_used"]

    def forget(engine: Engine) -> None:
        connection: Connection | None = engine.connect()
        assert connection is not None
        assert service.probe.read()["connection_count_used"] == 1
        del connection
        gc.collect()

    assert service.run(detach) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy says, rightly, that it was not returned
        service.run(forget)
    assert service.probe.read()["connection_count_used"] == 0


def test_off_restores_everything_and_on_finds_what_is_out(make_service: Make) -> None:
    service = make_service(pool_size=2, max_overflow=0)
    plain_class = type(service.engine.pool).__base__
    plain_queue = type(service.engine.pool._pool).__base__  # type: ignore[attr-defined]  # a queue pool's
    service.run(use(0.0))

    def across(engine: Engine) -> list[Any]:
        held_before = engine.connect()
        service.probe.toggle(False)
        assert type(engine.pool) is plain_class
        assert type(engine.pool._pool) is plain_queue  # type: ignore[attr-defined]
        assert not {"do_execute", "do_commit", "do_begin", "do_ping"} & set(vars(engine.dialect))
        off = service.probe.read()
        held_while_off = engine.connect()
        sleep(held_while_off, 0.0)
        service.probe.toggle(True)
        readings = [off, service.probe.read()]
        held_before.close()
        readings.append(service.probe.read())
        held_while_off.close()
        readings.append(service.probe.read())
        return readings

    off, both, one, none = service.run(across)
    assert [line["connection_count_used"] for line in (both, one, none)] == [2, 1, 0]
    assert [line["connection_checkouts"] for line in (off, both, none)] == [2, 2, 2]
    service.run(use(0.0))
    after = service.probe.read()
    assert after["connection_checkouts"] == 3
    assert (after["connection_count_used"], after["connection_count_idle"]) == (0, 2)


def test_several_engines_are_summed_and_watching_twice_changes_nothing(make_service: Make) -> None:
    service, other = make_service(pool_size=2, max_overflow=1), make_service(pool_size=4, max_overflow=0)
    service.probe.watch(service.engine)
    service.probe.watch(service.engine.execution_options(stream_results=False))
    service.run(use(0.0))
    line = service.probe.read()
    assert (line["connection_checkouts"], line["connection_connects"], line["connection_max"]) == (1, 1, 3)
    other.probe.engines.off()  # an engine belongs to one probe; hand it over
    service.probe.watch(other.engine)
    assert service.probe.read()["connection_max"] == 7
