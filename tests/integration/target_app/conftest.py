"""The hero API over a real, seeded database, in-process: no port, but its real lifespan, engine and driver."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, NamedTuple, get_args
from uuid import uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import event, make_url

from target_app.main import create_app
from target_app.prepare import prepare
from target_app.settings import DriverMode, Settings

SEEDED_HEROES = 200

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def seeded_url(postgres_url: str) -> Iterator[str]:
    """A database with heroes 1 to 200 and teams 1 and 2, shared: tests change only rows they made."""
    name = f"heroes_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
            asyncio.run(prepare(Settings(database_url=url), rows=SEEDED_HEROES))
            yield url
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=get_args(DriverMode))
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver mode in turn."""
    return str(request.param)


@pytest.fixture
def serve(seeded_url: str) -> Serve:
    """`async with serve(driver=..., ...) as client`: a started app; `client.app` is the application itself."""

    @asynccontextmanager
    async def started(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(Settings(**{"database_url": seeded_url, "gc_freeze": False, **settings}))
        # As over the network: an exception inside the app is a 500 for the client.
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://heroes") as client,
        ):
            client.app = app  # type: ignore[attr-defined]
            yield client

    return started


class Statement(NamedTuple):
    word: str
    """the first one"""
    thread: int
    autocommit: bool


@pytest.fixture
def recorded() -> Callable[[httpx.AsyncClient], AbstractContextManager[list[Statement]]]:
    """`with recorded(client) as statements:` every statement that a served app executes."""

    @contextmanager
    def recording(client: Any) -> Iterator[list[Statement]]:
        engine = client.app.state.database.engine
        engine = getattr(engine, "sync_engine", engine)
        seen: list[Statement] = []

        def record(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            autocommit = connection.dialect.detect_autocommit_setting(connection.connection.dbapi_connection)
            seen.append(Statement(statement.split(maxsplit=1)[0], threading.get_ident(), autocommit))

        event.listen(engine, "before_cursor_execute", record)
        try:
            yield seen
        finally:
            event.remove(engine, "before_cursor_execute", record)

    return recording


@pytest.fixture
def checked_out() -> Callable[[httpx.AsyncClient], int]:
    """How many connections a served app has out of its pool."""

    def count(client: Any) -> int:
        return int(client.app.state.database.engine.pool.checkedout())

    return count


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any], Any], Awaitable[None]]:
    """`await eventually(read, expected)`: wait until `read()` says so; fails with what it says after ten seconds."""

    async def wait(read: Callable[[], Any], expected: Any) -> None:
        deadline_s = time.monotonic() + 10
        while (actual := read()) != expected:
            assert time.monotonic() < deadline_s, f"still {actual}, not {expected}"
            await asyncio.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def ask(seeded_url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """`ask(sql, *values)`: rows, past the app, on a connection of its own."""
    with psycopg.connect(seeded_url, autocommit=True) as connection:
        yield lambda sql, *values: connection.execute(sql, values).fetchall()
