"""What a session leaves behind, what a write reads again, and which thread waits for Postgres."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import psycopg
import pytest
from fastapi import Depends
from sqlalchemy import Engine, text

from target_app.models import Hero
from target_app.sessions import get_db, get_db_blocking, get_db_sync

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HERO = {"name": "Echo", "secret_name": "s", "password": "12345678"}


def sync_engine(client: Any) -> Engine:
    engine = client.app.state.database.engine
    return getattr(engine, "sync_engine", engine)  # type: ignore[no-any-return]


def add_failing_route(app: Any, driver: str) -> None:
    """POST /fail writes a hero and fails before the commit."""
    doomed = {"name": "Doomed", "secret_name": "s", "hashed_password": "x"}

    async def fail_async(session: Annotated[Any, Depends(get_db)]) -> None:
        session.add(Hero(**doomed))
        await session.flush()
        raise RuntimeError("after the write")

    def fail_sync(session: Annotated[Any, Depends(get_db_sync)]) -> None:
        session.add(Hero(**doomed))
        session.flush()
        raise RuntimeError("after the write")

    async def fail_blocking(session: Annotated[Any, Depends(get_db_blocking)]) -> None:
        fail_sync(session)

    app.add_api_route(
        "/fail",
        {"psycopg_sync": fail_sync, "psycopg2": fail_sync, "psycopg_blocking": fail_blocking}.get(driver, fail_async),
        methods=["POST"],
    )


async def test_an_exception_rolls_back_and_returns_the_connection(serve: Any, driver: str, seeded_url: str) -> None:
    async with serve(driver=driver, pool_size=1, max_overflow=0) as client:
        add_failing_route(client.app, driver)

        response = await client.post("/fail")

        assert (response.status_code, response.text) == (500, "Internal Server Error")
        assert sync_engine(client).pool.checkedout() == 0  # type: ignore[attr-defined]
        assert (await client.get("/heroes/1")).status_code == 200
    with psycopg.connect(seeded_url) as connection:
        assert connection.execute("SELECT count(*) FROM heroes WHERE name = 'Doomed'").fetchone() == (0,)


async def test_every_request_returns_its_connection(serve: Any, driver: str) -> None:
    async with serve(driver=driver, pool_size=1, max_overflow=0, pool_timeout_s=5) as client:
        hero = (await client.post("/heroes", json=HERO)).json()
        for method, path, body in [
            ("GET", "/heroes", None),
            ("GET", f"/heroes/{2**31 - 1}", None),
            ("POST", "/heroes", HERO | {"team_id": 999_999}),
            ("PATCH", f"/heroes/{hero['id']}", {"team_id": 999_999}),
            ("DELETE", f"/heroes/{hero['id']}", None),
            ("POST", "/heroes", {}),
        ]:
            await client.request(method, path, json=body)

            assert sync_engine(client).pool.checkedout() == 0, (method, path)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "create", "patch"),
    [
        ({}, ["INSERT"], ["SELECT", "UPDATE"]),
        ({"refresh_after_write": True}, ["INSERT", "SELECT"], ["SELECT", "UPDATE", "SELECT"]),
        ({"expire_on_commit": True}, ["INSERT", "SELECT"], ["SELECT", "UPDATE", "SELECT"]),
        (
            {"expire_on_commit": True, "refresh_after_write": True},
            ["INSERT", "SELECT"],
            ["SELECT", "UPDATE", "SELECT"],
        ),
    ],
)
async def test_what_a_write_costs(  # noqa: PLR0917 -- parameters and fixtures come by name
    serve: Any, driver: str, recorded: Any, settings: dict[str, bool], create: list[str], patch: list[str]
) -> None:
    async with serve(driver=driver, pool_prewarm=True, **settings) as client:
        with recorded(client) as statements:
            hero = (await client.post("/heroes", json=HERO)).json()
            created = [statement.word for statement in statements]
            statements.clear()
            changed = (await client.patch(f"/heroes/{hero['id']}", json={"age": 3})).json()

    assert (created, [statement.word for statement in statements]) == (create, patch)
    assert (changed["name"], changed["age"]) == ("Echo", 3)


async def test_which_thread_waits_for_postgres(serve: Any, driver: str, recorded: Any) -> None:
    async with serve(driver=driver, pool_prewarm=True) as client:
        with recorded(client) as statements:
            await client.get("/heroes/1")

    on_the_event_loop = {statement.thread for statement in statements} == {threading.get_ident()}
    assert on_the_event_loop == (driver not in {"psycopg_sync", "psycopg2"})


async def test_every_mode_offers_the_same_interface(serve: Any, driver: str) -> None:
    async with serve(driver="asyncpg") as reference, serve(driver=driver) as client:
        expected = (await reference.get("/openapi.json")).json()
        actual = (await client.get("/openapi.json")).json()

    assert actual == expected
    assert set(actual["paths"]) == {
        "/health",
        "/heroes",
        "/heroes/import",
        "/heroes/{hero_id}",
        "/rosters",
        "/teams",
        "/teams/{team_id}",
        "/teams/{team_id}/heroes",
    }


@pytest.fixture
async def connection_facts(serve: Any, driver: str) -> AsyncIterator[tuple[Any, ...]]:
    async with serve(driver=driver, application_name="cell-7", isolation="REPEATABLE READ") as client:
        engine = client.app.state.database.engine
        query = text(
            "SELECT current_setting('application_name'), current_setting('transaction_isolation'), ssl "
            "FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        )
        if hasattr(engine, "sync_engine"):
            async with engine.connect() as connection:
                yield tuple((await connection.execute(query)).one())
        else:
            with engine.connect() as connection:
                yield tuple(connection.execute(query).one())


async def test_connections_are_as_the_settings_say(connection_facts: tuple[Any, ...]) -> None:
    assert connection_facts == ("cell-7", "repeatable read", False)
