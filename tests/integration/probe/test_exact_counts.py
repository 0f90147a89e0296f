"""What the probe counts for each request of the hero API, beside what the relay and Postgres itself counted.

The relay counts round trips on the wire, with every driver; pg_stat_statements counts statements and transactions that
succeeded. Counting begins with the pool open and nothing prepared, so that each first execution is in it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from harness.deploy import clone, start_database, template
from harness.deploy.connection import Connection, admin
from harness.deploy.relay import Relay, at_port, start_relay
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec, Network
from harness.probe.counts import Counts
from harness.probe.left import Endpoints
from harness.probe.process import ProcessProbe
from harness.probe.request import TimedApp
from target_app.main import create_app
from target_app.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

DRIVERS = ("asyncpg", "psycopg", "psycopg_sync", "psycopg2")
ROWS = 300
RTT_MS = 1.0
HERO = {"name": "Vera", "secret_name": "s", "password": "12345678", "age": 20, "team_id": 1}
Counted = tuple[int, float, int, float]
"""statements, transactions, checkouts, round trips"""

STATEMENTS = """
    SELECT query, calls FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s) AND toplevel
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What others than the probe counted."""

    statements: int
    """that succeeded, without those that begin and end transactions"""
    transactions: int
    round_trips: int


class Audited:
    """The service over a relay, and whoever counts."""

    def __init__(
        self, client: httpx.AsyncClient, probe: ProcessProbe, relay: Relay, counts: Connection, database: str
    ) -> None:
        self.client = client
        self._probe = probe
        self._relay = relay
        self._counts = counts
        self._database = database

    async def ask(self, method: str, path: str, body: Any = None, *, times: int = 1, arrival: str = "2-7") -> None:
        """Each request in a task of its own, as a server runs it."""
        for _ in range(times):
            headers = {"x-poolbench-arrival": arrival}
            await asyncio.create_task(self.client.request(method, path, json=body, headers=headers))

    def begin(self) -> None:
        """Count from here."""
        assert self._probe.left is not None
        self._probe.left.clear()
        self._relay.restart()
        self._counts.execute(
            "SELECT pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = %s), 0)", [self._database]
        )

    def lines(self) -> list[dict[str, Any]]:
        """What the requests since left, as it is written."""
        assert self._probe.left is not None
        requests = [self._probe.left.popleft() for _ in range(len(self._probe.left))]
        return [json.loads(line) for line in Counts().lines(Endpoints().keyed(requests))]

    def counted(self) -> Counted:
        """The sums over all requests since."""
        return self.counted_with_first_uses()[:-1]

    def counted_with_first_uses(self) -> tuple[int, float, int, float, int]:
        """The same, and how many of the round trips were first uses."""
        names = ("statements", "transactions", "checkouts", "round_trips", "first_round_trips")
        totals = self.lines()
        return tuple(sum(line[name] for line in totals) for name in names)  # type: ignore[return-value]

    def truth(self) -> Truth:
        rows = self._counts.execute(STATEMENTS, [self._database]).fetchall()
        calls: dict[str, int] = {}
        for query, count in rows:
            words = str(query).upper().split()
            ending = words[0] in {"BEGIN", "COMMIT", "ROLLBACK"} and words[1:2] != ["TO"]
            # What drivers send of their own: settings (psycopg2), what is prepared (psycopg), types (asyncpg).
            own = (
                words[0] in {"SET", "DEALLOCATE"}
                or "PG_CATALOG.PG_TYPE" in str(query).upper()
                or "JIT" in str(query).upper()
            )
            kind = words[0] if ending else "own" if own else "statement"
            calls[kind] = calls.get(kind, 0) + count
        return Truth(
            statements=calls.get("statement", 0),
            transactions=calls.get("BEGIN", 0),
            round_trips=int(self._relay.read()["round_trips"]),
        )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def counting_server() -> Iterator[Server]:
    """A Postgres that counts what it executes."""
    settings: dict[str, str | int | float | bool] = {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track": "top",
        "pg_stat_statements.track_utility": True,
    }
    with start_database(DatabaseSpec(settings=settings)) as server:
        yield server


@pytest.fixture(scope="module")
def counts(counting_server: Server) -> Iterator[Connection]:
    """What it counted, asked on one connection: a service's hundred requests are each looked at."""
    with admin(counting_server) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        yield connection


@pytest.fixture(scope="module")
def seeded(counting_server: Server) -> Iterator[str]:
    with template(counting_server, DatabaseSpec(rows=ROWS)) as name:
        yield name


Serve = Callable[..., AbstractAsyncContextManager[Audited]]


@pytest.fixture
def audited(counting_server: Server, counts: Connection, seeded: str) -> Serve:
    """`async with audited(driver, **settings)`: a service in this process with one open connection, to be counted."""

    @asynccontextmanager
    async def served(driver: str, **settings: Any) -> AsyncIterator[Audited]:
        with (
            clone(counting_server, seeded, f"poolbench_counts_{uuid4().hex[:8]}") as name,
            start_relay(host=counting_server.host, port=counting_server.port, network=Network(rtt_ms=RTT_MS)) as relay,
        ):
            chosen = {
                "pool_size": 1,
                "max_overflow": 0,
                "pool_prewarm": True,
                "gc_freeze": False,
                "lab": True,
                **settings,
            }
            url = at_port(counting_server.url(name), relay.port)
            app = create_app(Settings(database_url=url, driver=driver, **chosen))  # type: ignore[arg-type]
            probe = ProcessProbe(None)
            probe.left = deque()
            probe.watch(app.state.database.engine)
            transport = httpx.ASGITransport(TimedApp(app, probe), raise_app_exceptions=False)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://heroes", timeout=30) as client,
            ):
                service = Audited(client, probe, relay, counts, name)
                service.begin()
                try:
                    yield service
                finally:
                    probe.stop()

    return served


def requests(number: int) -> dict[str, tuple[Any, ...]]:
    """Each endpoint once: a name, method, path, body. Changes change something each time."""
    imported = [HERO, HERO | {"team_id": 99_999}, HERO]
    return {
        "get": ("GET", "/heroes/1"),
        "page": ("GET", "/heroes?limit=100"),
        "post": ("POST", "/heroes", HERO),
        "patch": ("PATCH", "/heroes/1", {"age": 20 + number}),
        "delete": ("DELETE", f"/heroes/{30 + number}"),
        "lazy": ("GET", "/rosters?limit=3&loader=lazy"),
        "joined": ("GET", "/rosters?limit=3&loader=joined"),
        "selectin": ("GET", "/rosters?limit=3&loader=selectin"),
        "move": ("POST", f"/teams/{1 + number % 2}/heroes", {"hero_ids": [11, 12, 13]}),
        "stream": ("GET", "/lab/stream?events=3&gap_ms=1"),
        "background": ("POST", "/lab/background?ms=1"),
        "commit after the response": ("POST", "/lab/commit-after-response", HERO),
        "missing": ("GET", "/heroes/999999"),
        "refused": ("POST", "/heroes", HERO | {"team_id": 99_999}),
        "import": ("POST", "/heroes/import", imported),
    }


WARM: dict[str, Counted] = {
    "get": (1, 1, 1, 3),  # BEGIN, SELECT, ROLLBACK
    "page": (1, 1, 1, 3),
    "post": (1, 1, 1, 3),
    "patch": (2, 1, 1, 4),
    "delete": (1, 1, 1, 3),
    "lazy": (4, 1, 1, 6),  # one query for the teams and one for each of them
    "joined": (1, 1, 1, 3),
    "selectin": (2, 1, 1, 4),
    "move": (4, 1, 1, 6),  # SELECT FOR UPDATE, and an UPDATE for each hero
    "stream": (1, 1, 1, 3),
    "background": (2, 2, 2, 6),  # the task's session is one of its own
    "commit after the response": (1, 1, 1, 3),
    "missing": (1, 1, 1, 3),
    "refused": (1, 1, 1, 3),
    "import": (9, 1, 1, 11),  # three savepoints, three INSERTs, two releases and a rollback to one
}
"""once everything is prepared that will be"""
PING = {"asyncpg": 3, "psycopg": 1, "psycopg_sync": 1, "psycopg2": 2}
FORGETS = {"psycopg", "psycopg_sync"}
"""with every ROLLBACK, of savepoints too, they have the server forget what is prepared, which takes a round trip"""
FAILS = {"refused": 1, "import": 1}
"""statements that fail, which pg_stat_statements leaves out"""
WARM_UPS = 7
"""psycopg prepares a statement at its sixth use without a ROLLBACK between"""


@pytest.mark.parametrize("driver", DRIVERS)
async def test_every_endpoint_is_counted_as_on_the_wire_from_its_first_request_on(driver: str, audited: Serve) -> None:
    async with audited(driver, pool_size=2) as service:
        for name in requests(0):
            for number in range(WARM_UPS):
                await service.ask(*requests(number)[name])
                statements, transactions, _, round_trips, first = service.counted_with_first_uses()
                truth = service.truth()
                assert (name, number, transactions, round_trips) == (
                    name,
                    number,
                    truth.transactions,
                    truth.round_trips,
                )
                # Of SAVEPOINT and the like, prepared, Postgres counts the first only.
                if name != "import" or driver == "psycopg2":
                    assert (name, statements) == (name, truth.statements + FAILS.get(name, 0))
                if (name, number) != ("move", 0):  # of fewer heroes
                    assert (name, number, round_trips - first) == (name, number, WARM[name][3])
                service.begin()
            await service.ask(*requests(WARM_UPS)[name])
            found = service.counted()
            if not (name == "import" and driver in FORGETS):
                assert (name, found) == (name, WARM[name])
            service.begin()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("settings", "read", "change"),
    [
        ({"pool_pre_ping": True}, (1, 1, 1, 3), (2, 1, 1, 4)),
        ({"refresh_after_write": True}, (1, 1, 1, 3), (3, 2, 2, 7)),
        ({"isolation": "AUTOCOMMIT"}, (1, 0, 1, 1), (2, 0, 1, 2)),
        ({"autocommit_reads": True, "isolation": "REPEATABLE READ"}, (1, 0, 1, 1), (2, 1, 1, 4)),
    ],
    ids=["ping", "refresh", "autocommit", "autocommit reads"],
)
async def test_settings_change_what_a_request_takes(
    driver: str, settings: dict[str, Any], read: Counted, change: Counted, audited: Serve
) -> None:
    async with audited(driver, **settings) as service:
        for name, expected in (("get", read), ("patch", change)):
            for number in range(WARM_UPS):
                await service.ask(*requests(number)[name])
            before, truth = service.counted(), service.truth()
            assert (before[1], before[3]) == (truth.transactions, truth.round_trips)
            service.begin()
            await service.ask(*requests(WARM_UPS)[name])
            statements, transactions, checkouts, round_trips = expected
            if settings.get("pool_pre_ping"):
                transactions += driver == "asyncpg"
                round_trips += PING[driver]
            if settings.get("autocommit_reads") and driver == "psycopg2" and name == "get":
                round_trips += 1  # leaving AUTOCOMMIT resets the isolation level
            assert service.counted() == (statements, transactions, checkouts, round_trips)
            assert service.truth().round_trips == round_trips
            service.begin()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_two_sessions_in_one_request_take_two_of_everything(driver: str, audited: Serve) -> None:
    async with audited(driver, pool_size=2) as service:
        await service.ask("GET", "/lab/two-sessions?ms=1", times=2 * WARM_UPS)
        service.begin()
        await service.ask("GET", "/lab/two-sessions?ms=1")
        assert service.counted() == (2, 2, 2, 6)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_no_count_lands_on_another_request(driver: str, audited: Serve) -> None:
    """Requests of different kinds side by side, coroutines or threads, waiting for each other's connections.

    Fewer than there are threads: more would wait for each other for good (see target_app.routes.sync_routes).
    """
    kinds = {"/heroes/{hero_id}": "/heroes/1", "/rosters": "/rosters?limit=3&loader=lazy", "/health": "/health"}
    async with audited(driver, pool_size=3, pool_pre_ping=False) as service:
        await service.ask("GET", "/heroes/1", times=3 * WARM_UPS)
        await service.ask("GET", "/rosters?limit=3&loader=lazy", times=3 * WARM_UPS)
        await asyncio.gather(*(service.ask("GET", path) for path in kinds.values() for _ in range(10)))
        service.begin()
        work = [
            service.ask("GET", path, arrival=f"{segment}-{number}")
            for segment in (1, 2)
            for path in kinds.values()
            for number in range(6)
        ]
        await asyncio.gather(*work)
        lines = {(line["segment"], line["route"]): line for line in service.lines()}
        on_the_wire = service.truth().round_trips
    assert set(lines) == {(segment, route) for segment in (1, 2) for route in kinds}
    for (_, route), line in lines.items():
        statements, begun = {"/rosters": (4, 1), "/health": (0, 0)}.get(route, (1, 1))
        assert (line["method"], line["status"], line["requests"]) == ("GET", 200, 6)
        assert (line["statements"], line["transactions"], line["checkouts"]) == (
            6 * statements,
            6 * begun,
            6 * begun,
        )
    # A connection may still have prepared something: whose request it was cannot be told beforehand, the sum can.
    assert sum(line["round_trips"] for line in lines.values()) == on_the_wire


@pytest.mark.parametrize("driver", DRIVERS)
async def test_errors_are_counted_by_their_status(driver: str, audited: Serve) -> None:
    async with audited(driver) as service:
        await service.ask("GET", "/heroes/999999")
        await service.ask("GET", "/heroes/none")
        await service.ask("GET", "/nowhere/4711/at/all", arrival="x")
        await service.ask("PUT", "/heroes/1")
        lines = {(line["method"], line["route"], line["status"]): line for line in service.lines()}
    assert {key: (line["segment"], line["statements"], line["checkouts"]) for key, line in lines.items()} == {
        ("GET", "/heroes/{hero_id}", 404): (2, 1, 1),
        ("GET", "/heroes/{hero_id}", 422): (2, 0, 0),
        ("GET", "/nowhere/{id}/at/all", 404): (-1, 0, 0),
        ("PUT", "/heroes/{hero_id}", 405): (2, 0, 0),
    }


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_cancelled_request_is_counted_as_far_as_it_came(driver: str, audited: Serve) -> None:
    async with audited(driver) as service:
        task = asyncio.create_task(service.ask("GET", "/lab/sleep?ms=5000"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (line,) = service.lines()
        assert (line["route"], line["status"], line["requests"]) == ("/lab/sleep", 0, 1)
        assert (line["statements"], line["transactions"], line["checkouts"]) == (1, 1, 1)
        await service.ask("GET", "/heroes/1")
        (line,) = service.lines()
        assert (line["statements"], line["transactions"], line["checkouts"]) == (1, 1, 1)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_shared_session_counts_for_who_uses_it(driver: str, audited: Serve) -> None:
    """The mistake: one session for all requests. The second finds the connection that the first checked out."""
    async with audited(driver, mistake="global_session") as service:
        await service.ask("GET", "/heroes/1")
        await service.ask("GET", "/heroes/2")
        assert service.counted()[:3] == (2, 1, 1)
