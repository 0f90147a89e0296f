"""A server of the test's own that goes away and comes back, and one that has no connection left."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, get_args

import httpx
import psutil
import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from harness.deploy import start_database
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec
from target_app.prepare import prepare
from target_app.settings import DriverMode, Settings

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

VARIANTS: list[dict[str, Any]] = [
    *({"driver": driver} for driver in get_args(DriverMode)),
    {"driver": "asyncpg", "pool_pre_ping": True},
    {"driver": "psycopg", "pool_class": "psycopg_pool", "pool_timeout_s": 0.5},
]
MAX_CONNECTIONS = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start_database(DatabaseSpec(settings={"max_connections": MAX_CONNECTIONS})) as server:
        asyncio.run(prepare(Settings(database_url=server.url("postgres")), rows=10))
        yield server


class Postmaster:
    """The server's process, to be ended and started again over the same data and port."""

    def __init__(self, url: str) -> None:
        self.url = url
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        assert row is not None
        self._process = psutil.Process(int(row[0].split()[0]))
        self._command, self._folder = self._process.cmdline(), self._process.cwd()
        self._environment, self._uid = self._process.environ(), self._process.uids().real
        self._again: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """At once, as a crash would: whoever is connected finds the connection gone."""
        self._process.send_signal(signal.SIGQUIT)
        psutil.wait_procs([self._process], timeout=20)

    def start(self) -> None:
        self._again = subprocess.Popen(
            self._command, cwd=self._folder, env=self._environment, user=self._uid, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            else:
                return

    def end(self) -> None:
        if self._again is not None:
            self._again.send_signal(signal.SIGQUIT)
            self._again.wait(20)


async def statuses(clients: list[httpx.AsyncClient]) -> list[int]:
    answers = [await client.get("/heroes/1") for client in clients]
    for answer in answers:
        assert answer.status_code == 200 or answer.headers["retry-after"] == "1"
        assert "Traceback" not in answer.text
    return [answer.status_code for answer in answers]


async def test_a_server_that_goes_away_and_comes_back_needs_no_restart_of_the_service(serve: Any) -> None:
    with start_database(DatabaseSpec()) as own:
        url = own.url("postgres")
        await prepare(Settings(database_url=url), rows=10)
        postmaster = Postmaster(url)
        everybody = len(VARIANTS)
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(serve(database_url=url, pool_size=1, **settings))
                for settings in VARIANTS
            ]
            try:
                assert await statuses(clients) == [200] * everybody
                await asyncio.to_thread(postmaster.stop)
                assert await statuses(clients) == [503] * everybody
                assert await statuses(clients) == [503] * everybody
                await asyncio.to_thread(postmaster.start)
                deadline_s = time.monotonic() + 20
                while await statuses(clients) != [200] * everybody:
                    assert time.monotonic() < deadline_s
            finally:
                postmaster.end()


def take_every_connection(url: str, held: ExitStack) -> None:
    for _ in range(MAX_CONNECTIONS + 1):
        held.enter_context(psycopg.connect(url))


async def test_a_server_without_a_connection_left(serve: Any, driver: str, server: Server) -> None:
    url = server.url("postgres")
    async with serve(driver=driver, database_url=url) as client:
        with ExitStack() as held:
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                take_every_connection(url, held)
            refused = await client.get("/heroes/1")
            written = await client.post("/teams", json={"name": "Full", "headquarters": "House"})

        assert (refused.status_code, written.status_code) == (503, 503)
        assert refused.headers["retry-after"] == "1"
        deadline_s = time.monotonic() + 10  # the server takes a moment to see that its clients are gone
        while (await client.get("/heroes/1")).status_code != 200:
            assert time.monotonic() < deadline_s


@pytest.mark.parametrize(
    ("pool_size", "error", "said"),
    [
        (2, PoolTimeoutError, "QueuePool limit of size 2 overflow 0 reached"),
        (MAX_CONNECTIONS + 1, DBAPIError, "too many clients already"),
    ],
)
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_which_error_a_pool_of_the_wrong_size_ends_in(  # noqa: PLR0917 -- parameters and fixtures come by name
    serve: Any, driver: str, pool_size: int, error: type[Exception], said: str, server: Server
) -> None:
    pool = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout_s": 0.05}
    async with serve(driver=driver, database_url=server.url("postgres"), **pool) as client:
        with pytest.raises(error, match=said):
            await take_them_through(client.app.state.database.engine)


async def take_them_through(engine: AsyncEngine) -> None:
    async with AsyncExitStack() as held:
        for _ in range(MAX_CONNECTIONS + 1):
            await held.enter_async_context(engine.connect())
