"""How many round trips an operation of the service costs, with every driver: counted by the relay, and felt as time.

The service is served in this process, as its environment has it. Sessions are closed before the answer leaves: when it
is there, so is everything that the operation cost.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import httpx
import pytest

from harness.deploy import Relay, clone, distances, template
from harness.deploy.launcher import environment_of
from harness.domain.cell import Cell
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec, Load, Network, Pool, Session, Target
from harness.domain.load import Launch
from harness.domain.observed import RelayReadings
from target_app.main import create_app
from target_app.settings import Settings

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]

RTT_MS = 10.0
DRIVERS = ("asyncpg", "psycopg", "psycopg_sync", "psycopg_blocking", "psycopg2")
WARM_UPS = 8  # psycopg prepares a statement at its sixth use, at the cost of a round trip
OPERATIONS = 6
PING = {"asyncpg": 3, "psycopg": 1, "psycopg_sync": 1, "psycopg_blocking": 1, "psycopg2": 2}
"""asyncpg pings in a transaction; psycopg2 leaves autocommit again, and resets the isolation level as it does."""


class Service:
    """The service, one request at a time, and the relay behind it."""

    def __init__(self, client: httpx.AsyncClient, relay: Relay, readings: Callable[[], RelayReadings]) -> None:
        self._client = client
        self._relay = relay
        self.readings = readings

    async def request(self, method: str, path: str, body: object = None) -> float:
        """How long it took, in ms."""
        began = time.perf_counter()
        response = await self._client.request(method, path, json=body)
        took_ms = (time.perf_counter() - began) * 1000
        assert response.status_code == 200, response.text
        return took_ms

    async def get(self, _number: int) -> float:
        return await self.request("GET", "/heroes/1")

    async def patch(self, number: int) -> float:
        """A change each time: a PATCH that changes nothing would not write."""
        return await self.request("PATCH", "/heroes/1", {"age": 20 + number % 50})

    async def cost(self, operation: Operation) -> tuple[float, float]:
        """Round trips per operation, and the quickest one's milliseconds, once everything is warm."""
        for number in range(WARM_UPS):
            await operation(number)
        before = self._relay.read()["round_trips"]
        times_ms = [await operation(WARM_UPS + number) for number in range(OPERATIONS)]
        return (self._relay.read()["round_trips"] - before) / OPERATIONS, min(times_ms)


Operation = Callable[[int], Awaitable[float]]
FarAway = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def seeded(postgres_server: Server) -> Iterator[str]:
    with template(postgres_server, DatabaseSpec(rows=100)) as name:
        yield name


@pytest.fixture
def far_away(postgres_server: Server, seeded: str) -> FarAway:
    """A service whose Postgres is 10 ms away."""

    @asynccontextmanager
    async def served(driver: str, *, pre_ping: bool = False, **session: object) -> AsyncIterator[Service]:
        cell = Cell(
            id="c1",
            label=driver,
            factors=(),
            pool=Pool(pool_size=1, max_overflow=0, pool_pre_ping=pre_ping),
            session=Session(session_scope="function", **session),  # type: ignore[arg-type]  # any field may be given
            target=Target(driver=driver, gc_freeze=False),  # type: ignore[arg-type]  # one of DRIVERS
            database=DatabaseSpec(),
            load=Load(),
            network=Network(rtt_ms=RTT_MS),
        )
        each = Launch(id=f"b1-{uuid4().hex[:8]}", cell=cell, block=1)
        with (
            clone(postgres_server, seeded, f"poolbench_trips_{uuid4().hex[:8]}") as name,
            distances(postgres_server, [each], {each.id: postgres_server.app_url(name)}) as far,
        ):
            told = environment_of(cell, launch_id=each.id, database_url=far.urls[each.id])
            app = create_app(Settings(**{variable.lower(): value for variable, value in told.items()}))
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://heroes") as client,
            ):
                yield Service(client, far.relays[each.id], lambda: far.readings()[each.id])

    return served


async def assert_cost(service: Service, operation: Operation, trips: int) -> None:
    counted, quickest_ms = await service.cost(operation)
    assert counted == trips
    assert quickest_ms >= trips * RTT_MS - 0.5  # how much longer depends on the machine; how many trips is counted


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_read_costs_three_and_a_change_four(driver: str, far_away: FarAway) -> None:
    """BEGIN, SELECT, ROLLBACK; BEGIN, SELECT, UPDATE, COMMIT."""
    async with far_away(driver) as service:
        await assert_cost(service, service.get, 3)
        await assert_cost(service, service.patch, 4)
        readings = service.readings()
    assert readings.rtt_ms == RTT_MS
    assert RTT_MS / 2 < readings.rtt_ms_measured < RTT_MS * 5
    assert readings.round_trips >= (WARM_UPS + OPERATIONS) * 7
    assert readings.connections >= 2  # the measuring one, and the pool's
    assert readings.cpu_s > 0


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_ping_before_each_checkout_costs_what_the_driver_makes_of_it(driver: str, far_away: FarAway) -> None:
    async with far_away(driver, pre_ping=True) as service:
        await assert_cost(service, service.get, 3 + PING[driver])


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_refresh_after_a_change_costs_three_more(driver: str, far_away: FarAway) -> None:
    """The commit gave the connection back: BEGIN, SELECT and ROLLBACK once more."""
    async with far_away(driver, refresh_after_write=True) as service:
        await assert_cost(service, service.patch, 7)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_autocommit_read_costs_one(driver: str, far_away: FarAway) -> None:
    async with far_away(driver, isolation="AUTOCOMMIT") as service:
        await assert_cost(service, service.get, 1)
