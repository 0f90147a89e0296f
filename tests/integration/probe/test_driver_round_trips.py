"""Round trips and transactions of what SQLAlchemy does with each driver, beside what a relay counted on the wire.

A pause between the two ends makes what is sent together arrive together. What comes first dials and looks around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from accounts import new_account
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from harness.deploy import clone
from harness.deploy.relay import Relay, at_port, start_relay
from harness.domain.deployed import Server
from harness.domain.experiment import Network
from harness.probe.accounting import Account, current
from harness.probe.process import ProcessProbe

pytestmark = pytest.mark.postgres

RTT_MS = 2.0
EVERY_DRIVER = ("asyncpg", "psycopg", "psycopg_sync", "psycopg2")
Work = Callable[[Engine], Any]
Make = Callable[..., Any]
Far = Callable[..., Any]


@pytest.fixture(params=EVERY_DRIVER)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def relay(postgres_server: Server) -> Iterator[Relay]:
    with start_relay(host=postgres_server.host, port=postgres_server.port, network=Network(rtt_ms=RTT_MS)) as relay:
        yield relay


@pytest.fixture(scope="module")
def database(postgres_server: Server) -> Iterator[str]:
    """URL of one that all of them share: their tables are temporary."""
    with clone(postgres_server, "template1", f"poolbench_far_{uuid4().hex[:12]}") as name:
        yield postgres_server.url(name)


@pytest.fixture
def far(make_service: Make, relay: Relay, database: str, driver: str) -> Far:
    """A service whose database is beyond the relay, its pool open."""

    def make(**options: Any) -> Any:
        options = {"pool_size": 1, "max_overflow": 0, **options}
        service = make_service(url=at_port(database, relay.port), **options)
        service.run(lambda engine: engine.connect().close())
        return service

    return make


@contextmanager
def account() -> Iterator[Account]:
    """As a request has it."""
    account = new_account()
    token = current.set(account)
    try:
        yield account
    finally:
        current.reset(token)


def counted(service: Any, relay: Relay, work: Work) -> tuple[Account, int]:
    """What the probe counted of this work, and the round trips on the wire."""

    def accounted(engine: Engine) -> Account:
        with account() as kept:
            work(engine)
        return kept

    relay.restart()
    kept = service.run(accounted)
    return kept, int(relay.read()["round_trips"])


def many(rows: int) -> Work:
    """executemany, twice: the second time it is prepared."""

    def insert(engine: Engine) -> None:
        values = [{"n": n, "s": "x" * 50} for n in range(rows)]
        with engine.begin() as connection:
            connection.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS t (n int, s text)"))
            for _ in range(2):
                connection.execute(text("INSERT INTO t VALUES (:n, :s)"), values)

    return insert


def read(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def streamed(engine: Engine) -> None:
    with engine.connect().execution_options(stream_results=True, yield_per=50) as connection:
        assert sum(1 for _ in connection.execute(text("SELECT generate_series(1, 230)"))) == 230


def levels(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT 1"))
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        connection.execute(text("SELECT 1"))
    with engine.connect().execution_options(postgresql_readonly=True, postgresql_deferrable=True) as connection:
        connection.execute(text("SELECT 1"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT", postgresql_readonly=True) as connection:
        connection.execute(text("SELECT 1"))


def failing(engine: Engine) -> None:
    for statement in ("SELECT 1/0", "SELEC", "SELECT 1/:n"):
        with engine.connect() as connection, pytest.raises(DBAPIError):
            connection.execute(text(statement), {"n": 0} if ":n" in statement else {})


def unencodable(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("SELECT CAST(:n AS int)"), {"n": object()})


def nested(engine: Engine) -> None:
    with engine.begin() as connection:
        for _ in range(8):
            savepoint = connection.begin_nested()
            connection.execute(text("SELECT 1"))
            savepoint.rollback()
            with connection.begin_nested():
                connection.execute(text("SELECT 2"))


def nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.begin()
    with engine.begin():
        pass


WORK: dict[str, Work] = {
    "read": read,
    "many": many(3),
    "streamed": streamed,
    "levels": levels,
    "failing": failing,
    "nested": nested,
    "nothing": nothing,
}
COUNTED = {
    "read": (1, 1, 1),
    "many": (3, 1, 1),
    "streamed": (1, 1, 1),
    "levels": (4, 2, 4),  # the others are in AUTOCOMMIT
    "failing": (3, 3, 3),
    "nested": (48, 1, 1),  # eight times SAVEPOINT, SELECT, ROLLBACK TO, and SAVEPOINT, SELECT, RELEASE
    "nothing": (0, 0, 2),
}
"""statements, transactions, checkouts"""
UNTOLD = {"psycopg2": {"streamed"}}
"""what a driver does where nobody sees it"""


@pytest.mark.parametrize(
    "options", [{}, {"isolation_level": "REPEATABLE READ", "pool_pre_ping": True}], ids=["plain", "pinged"]
)
def test_round_trips_are_those_on_the_wire(far: Far, relay: Relay, driver: str, options: dict[str, Any]) -> None:
    service = far(**options)
    for name, work in WORK.items():
        for time in range(7 if name == "read" else 2):
            kept, on_the_wire = counted(service, relay, work)
            if name in UNTOLD.get(driver, ()):
                assert math.isnan(kept.round_trips)
            else:
                assert (name, time, kept.round_trips) == (name, time, on_the_wire)


def test_statements_transactions_and_checkouts_are_the_same_with_every_driver(far: Far, relay: Relay) -> None:
    service = far()
    for name, expected in COUNTED.items():
        kept, _ = counted(service, relay, WORK[name])
        assert (name, (kept.statements, kept.transactions, kept.checkouts)) == (name, expected)


def test_a_ping_is_no_statement_but_asyncpgs_is_a_transaction(far: Far, relay: Relay, driver: str) -> None:
    service = far(pool_pre_ping=True)
    kept, on_the_wire = counted(service, relay, lambda engine: engine.connect().close())
    assert (kept.statements, kept.transactions, kept.checkouts) == (0, 1 if driver == "asyncpg" else 0, 1)
    assert kept.round_trips == on_the_wire > 0


def typed(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT CAST(:mood AS mood)"), {"mood": "glad"})


@pytest.mark.parametrize("work", [read, many(3), typed], ids=["read", "many", "typed"])
def test_what_a_connection_meets_for_the_first_time_is_told_apart(
    far: Far, relay: Relay, driver: str, work: Work
) -> None:
    """What is left is the same each time."""
    service = far()

    def prepare(engine: Engine) -> None:
        with engine.begin() as connection:
            connection.execute(text("DROP TYPE IF EXISTS mood"))
            connection.execute(text("CREATE TYPE mood AS ENUM ('glad')"))
            connection.execute(text("CREATE TEMPORARY TABLE t (n int, s text)"))

    service.run(prepare)
    found = [counted(service, relay, work)[0] for _ in range(3)]
    assert [kept.first_round_trips > 0 for kept in found] == [driver == "asyncpg", False, False]
    assert len({kept.round_trips - kept.first_round_trips for kept in found}) == 1


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_statement_that_is_prepared_again_is_no_first_use(far: Far, relay: Relay, driver: str) -> None:
    """Without a cache each request prepares, which is what it takes."""
    without = {
        "asyncpg": {"prepared_statement_cache_size": 0, "statement_cache_size": 0},
        "psycopg": {"prepare_threshold": 0},  # and forgets with the ROLLBACK
    }
    service = far(connect_args=without[driver])
    found = [counted(service, relay, read)[0] for _ in range(3)]
    assert [kept.first_round_trips for kept in found] == [1, 0, 0]
    assert [kept.round_trips for kept in found[1:]] == [found[0].round_trips] * 2


def test_a_large_executemany_waits_as_often_as_a_small_one_where_rows_are_sent_together(
    far: Far, relay: Relay, driver: str
) -> None:
    service = far()
    service.run(many(3))
    small, _ = counted(service, relay, many(3))
    large, on_the_wire = counted(service, relay, many(100))
    if driver == "psycopg2":  # a round trip for each row
        assert (small.round_trips, large.round_trips) == (9, 203) == (9, on_the_wire)
    else:  # the server may begin to answer before all is sent
        assert small.round_trips == large.round_trips <= on_the_wire


def test_what_cannot_be_sent_is_no_round_trip(far: Far, relay: Relay, driver: str) -> None:
    kept, on_the_wire = counted(far(), relay, unencodable)
    assert kept.statements == 1
    if driver == "psycopg2":
        assert math.isnan(kept.round_trips)  # it does not say whether the server heard of it
    else:
        assert kept.round_trips == on_the_wire


def test_a_connection_that_was_cut_is_not_the_next_requests(far: Far, relay: Relay, driver: str) -> None:
    service = far(pool_pre_ping=True)
    relay.reset()
    kept, _ = counted(service, relay, read)  # finds out, dials again and reads
    again, on_the_wire = counted(service, relay, read)
    assert (kept.statements, kept.checkouts) == (again.statements, again.checkouts) == (1, 1)
    assert again.round_trips == on_the_wire


def test_of_a_driver_nobody_knows_round_trips_and_transactions_are_unknown() -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=QueuePool)
    probe.watch(engine)
    with account() as kept:
        read(engine)
    probe.stop()
    assert (kept.statements, kept.checkouts) == (1, 1)
    assert math.isnan(kept.transactions)
    assert math.isnan(kept.round_trips)


def test_turned_off_the_driver_has_its_own_functions_back(far: Far, relay: Relay, driver: str) -> None:
    service = far()
    service.probe.toggle(False)
    off, on_the_wire = counted(service, relay, read)
    assert (off.statements, off.transactions, off.checkouts, off.round_trips) == (0, 0, 0, 0)
    assert on_the_wire > 0
    service.probe.toggle(True)
    on, on_the_wire = counted(service, relay, read)
    assert (on.statements, on.round_trips) == (1, on_the_wire)
