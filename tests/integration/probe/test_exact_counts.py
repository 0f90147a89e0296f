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
from harness.deploy.connection import admin
from harness.deploy.relay import Relay, at_port, start_relay
from harness.domain.evidence import Server
from harness.domain.experiment import DatabaseSpec, Network
from harness.probe.counts import Counts
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

    def __init__(self, client: httpx.AsyncClient, probe: ProcessProbe, relay: Relay, server: Server, name: str) -> None:
        self.client = client
        self._probe = probe
        self._relay = relay
        self._server = server
        self._database = name

    async def ask(self, method: str, path: str, body: Any = None, *, times: int = 1, arrival: str = "2-7") -> None:
        """Each request in a task of its own, as a server runs it."""
        for _ in range(times):
            headers = {"x-poolbench-arrival": arrival}
            await asyncio.create_task(self.client.request(method, path, json=body, headers=headers))

    def begin(self) -> None:
        """Count from here."""
        assert self._probe.counted is not None
        self._probe.counted.clear()
        self._relay.restart()
        with admin(self._server) as connection:
            connection.execute(
                "SELECT pg_stat_statements_reset(0, (SELECT oid FROM pg_database WHERE datname = %s), 0)",
                [self._database],
            )

    def lines(self) -> list[dict[str, Any]]:
        """What the requests since left, as it is written."""
        assert self._probe.counted is not None
        requests = [self._probe.counted.popleft() for _ in range(len(self._probe.counted))]
        return [json.loads(line) for line in Counts().lines(requests)]

    def counted(self) -> Counted:
        """The sums over all requests since."""
        totals = self.lines()
        return tuple(
            sum(line[name] for line in totals) for name in ("statements", "transactions", "checkouts", "round_trips")
        )  # type: ignore[return-value]

    def truth(self) -> Truth:
        with admin(self._server) as connection:
            rows = connection.execute(STATEMENTS, [self._database]).fetchall()
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
        with admin(server) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        yield server


@pytest.fixture(scope="module")
def seeded(counting_server: Server) -> str:
    return template(counting_server, DatabaseSpec(rows=ROWS))


Serve = Callable[..., AbstractAsyncContextManager[Audited]]


@pytest.fixture
def audited(counting_server: Server, seeded: str) -> Serve:
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
            probe.counted = deque()
            probe.watch(app.state.database.engine)
            transport = httpx.ASGITransport(TimedApp(app, probe), raise_app_exceptions=False)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://heroes", timeout=30) as client,
            ):
                service = Audited(client, probe, relay, counting_server, name)
                service.begin()
                try:
                    yield service
                finally:
                    probe.stop()

    return served


VARIANTS = [
    dict(pool_pre_ping=True),
    dict(isolation="AUTOCOMMIT"),
    dict(isolation="AUTOCOMMIT", pool_pre_ping=True),
    dict(autocommit_reads=True, pool_pre_ping=True),
    dict(refresh_after_write=True),
    dict(expire_on_commit=True),
    dict(update_mode="for_update", delete_mode="hard"),
    dict(update_mode="repeatable_read"),
    dict(session_scope="operation"),
    dict(pool_class="null", pool_prewarm=False),
    dict(isolation="SERIALIZABLE", autocommit_reads=True),
    dict(pgbouncer=True),
    dict(mistake="global_session"),
    dict(mistake="missing_commit"),
    dict(returning=False),
]
EX = {
    "asyncpg": [
        dict(repository="run_sync"),
        dict(statement_cache_size=0),
        dict(prepared_statement_cache_size=0),
        dict(prepared_statement_cache_size=2, statement_cache_size=2),
    ],
    "psycopg": [dict(prepare_threshold=0), dict(prepare_threshold=-1), dict(pool_class="psycopg_pool")],
    "psycopg_sync": [dict(prepare_threshold=0), dict(pool_class="psycopg_pool")],
    "psycopg2": [],
}


@pytest.mark.parametrize("driver,variant", [(d, v) for d in DRIVERS for v in VARIANTS + EX[d]])
async def test_explore(driver: str, variant, audited: Serve) -> None:
    bad = []
    async with audited(driver, **variant) as service:
        for what, *request in (
            ("get", "GET", "/heroes/1"),
            ("page", "GET", "/heroes?limit=100"),
            ("patch", "PATCH", "/heroes/1", {"age": 33}),
            ("post", "POST", "/heroes", HERO),
            ("delete", "DELETE", "/heroes/9"),
            ("lazy", "GET", "/rosters?limit=3&loader=lazy"),
            ("import", "POST", "/heroes/import", [HERO, HERO | {"team_id": 99999}, HERO]),
            ("move", "POST", "/teams/2/heroes", {"hero_ids": [11, 12, 13]}),
            ("moveback", "POST", "/teams/1/heroes", {"hero_ids": [11, 12, 13]}),
            ("twosessions", "GET", "/lab/two-sessions?ms=1"),
        ):
            if what == "twosessions":
                continue
            for times in (1, 6):
                await service.ask(*request, times=times)
                c, t = service.counted(), service.truth()
                if (c[1], c[3]) != (t.transactions, t.round_trips) or (c[0] != t.statements and what != "import"):
                    bad.append((what, times, c, t))
                print(driver, variant, what, times, c, t) if times == 6 else None
                service.begin()
    assert not bad, bad
