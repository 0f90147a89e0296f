"""How many round trips an operation of the service costs, with every driver: counted by the relay, and felt as time.

Sessions are closed before the answer leaves: when it is there, so is everything that the operation cost.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from harness.deploy import Relay, clone, distances, launch, template
from harness.domain.cell import Cell
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec, Load, Network, Pool, Session, Target
from harness.domain.load import Launch
from harness.domain.observed import RelayReadings

pytestmark = pytest.mark.postgres

RTT_MS = 10.0
DRIVERS = ("asyncpg", "psycopg", "psycopg_sync", "psycopg_blocking", "psycopg2")
WARM_UPS = 8  # psycopg prepares a statement at its sixth use, at the cost of a round trip
OPERATIONS = 6
PING = {"asyncpg": 3, "psycopg": 1, "psycopg_sync": 1, "psycopg_blocking": 1, "psycopg2": 2}
"""asyncpg pings in a transaction; psycopg2 leaves autocommit again, and resets the isolation level as it does."""


class Service:
    """The service, one request at a time, and the relay behind it."""

    def __init__(self, host: str, relay: Relay, readings: Callable[[], RelayReadings]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(host).netloc, timeout=20)
        self._relay = relay
        self.readings = readings

    def request(self, method: str, path: str, body: object = None) -> float:
        """How long it took, in ms."""
        began = time.perf_counter()
        self._connection.request(
            method, path, body=None if body is None else json.dumps(body), headers={"content-type": "application/json"}
        )
        response = self._connection.getresponse()
        assert response.status == 200, response.read()
        response.read()
        return (time.perf_counter() - began) * 1000

    def get(self, _number: int) -> float:
        return self.request("GET", "/heroes/1")

    def patch(self, number: int) -> float:
        """A change each time: a PATCH that changes nothing would not write."""
        return self.request("PATCH", "/heroes/1", {"age": 20 + number % 50})

    def cost(self, operation: Callable[[int], float]) -> tuple[float, float]:
        """Round trips per operation, and the quickest one's milliseconds, once everything is warm."""
        for number in range(WARM_UPS):
            operation(number)
        before = self._relay.read()["round_trips"]
        times_ms = [operation(WARM_UPS + number) for number in range(OPERATIONS)]
        return (self._relay.read()["round_trips"] - before) / OPERATIONS, min(times_ms)


@pytest.fixture(scope="module")
def seeded(postgres_server: Server) -> Iterator[str]:
    with template(postgres_server, DatabaseSpec(rows=100)) as name:
        yield name


@pytest.fixture
def far_away(postgres_server: Server, seeded: str, tmp_path: Path) -> Callable[..., object]:
    """A service whose Postgres is 10 ms away."""

    @contextmanager
    def started(driver: str, *, pre_ping: bool = False, **session: object) -> Iterator[Service]:
        cell = Cell(
            id="c1",
            label=driver,
            factors=(),
            pool=Pool(pool_size=1, max_overflow=0, pool_pre_ping=pre_ping),
            session=Session(session_scope="function", **session),  # type: ignore[arg-type]  # any field may be given
            target=Target(driver=driver),  # type: ignore[arg-type]  # one of DRIVERS
            database=DatabaseSpec(),
            load=Load(),
            network=Network(rtt_ms=RTT_MS),
        )
        each = Launch(id=f"b1-{uuid4().hex[:8]}", cell=cell, block=1)
        with (
            clone(postgres_server, seeded, f"poolbench_trips_{uuid4().hex[:8]}") as name,
            distances(postgres_server, [each], {each.id: postgres_server.app_url(name)}) as far,
            launch(
                each,
                database_url=far.urls[each.id],
                probe=False,
                probe_dir=tmp_path / "probe",
                log=tmp_path / "target.log",
            ) as target,
        ):
            assert target.database == name
            yield Service(target.host, far.relays[each.id], lambda: far.readings()[each.id])

    return started


def assert_cost(service: Service, operation: Callable[[int], float], trips: int) -> None:
    counted, quickest_ms = service.cost(operation)
    assert counted == trips
    assert quickest_ms >= trips * RTT_MS - 0.5  # how much longer depends on the machine; how many trips is counted


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_read_costs_three_and_a_change_four(driver: str, far_away) -> None:
    """BEGIN, SELECT, ROLLBACK; BEGIN, SELECT, UPDATE, COMMIT."""
    with far_away(driver) as service:
        assert_cost(service, service.get, 3)
        assert_cost(service, service.patch, 4)
        readings = service.readings()
    assert readings.rtt_ms == RTT_MS
    assert RTT_MS / 2 < readings.rtt_ms_measured < RTT_MS * 5
    assert readings.round_trips >= (WARM_UPS + OPERATIONS) * 7
    assert readings.connections >= 2  # the measuring one, and the pool's
    assert readings.cpu_s > 0


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_ping_before_each_checkout_costs_what_the_driver_makes_of_it(driver: str, far_away) -> None:
    with far_away(driver, pre_ping=True) as service:
        assert_cost(service, service.get, 3 + PING[driver])


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_refresh_after_a_change_costs_three_more(driver: str, far_away) -> None:
    """The commit gave the connection back: BEGIN, SELECT and ROLLBACK once more."""
    with far_away(driver, refresh_after_write=True) as service:
        assert_cost(service, service.patch, 7)


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_autocommit_read_costs_one(driver: str, far_away) -> None:
    with far_away(driver, isolation="AUTOCOMMIT") as service:
        assert_cost(service, service.get, 1)
