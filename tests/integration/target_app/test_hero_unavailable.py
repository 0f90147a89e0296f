"""While the database cannot serve, the service says so: 503, when to come back, and nothing of its insides."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


def assert_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["retry-after"] == "1"
    assert "Traceback" not in response.text
    assert response.json().keys() == {"detail"}


async def test_an_exhausted_pool(serve: Any, driver: str) -> None:
    async with serve(driver=driver, pool_size=1, max_overflow=0, pool_timeout_s=0.05) as client:
        engine = client.app.state.database.engine
        held = engine.connect()
        if hasattr(engine, "sync_engine"):
            await held.start()
        refused = await client.get("/heroes/1")
        if hasattr(engine, "sync_engine"):
            await held.close()
        else:
            held.close()

        assert_unavailable(refused)
        assert (await client.get("/heroes/1")).status_code == 200


@pytest.mark.parametrize(("in_flight", "can_stand_still"), [(2, False), (8, True)])
async def test_threads_and_connections_that_wait_for_each_other(
    serve: Any, in_flight: int, can_stand_still: bool
) -> None:
    """The trap of def endpoints (see sync_routes): two threads and one connection, two or eight requests at once."""
    settings = {"driver": "psycopg_sync", "threadpool_tokens": 2, "pool_size": 1, "max_overflow": 0}
    async with serve(**settings, pool_timeout_s=1.5, pool_prewarm=True) as client:
        answers = await asyncio.gather(*[client.get("/heroes/1") for _ in range(in_flight)])
        assert (await client.get("/heroes/1")).status_code == 200

    assert (503 in {answer.status_code for answer in answers}) == can_stand_still


async def test_no_server(serve: Any, driver: str, seeded_url: str) -> None:
    with socket.socket() as unused:  # bound, never listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = make_url(seeded_url).set(port=unused.getsockname()[1]).render_as_string(hide_password=False)
        async with serve(driver=driver, database_url=url) as client:
            assert_unavailable(await client.get("/heroes/1"))
            assert_unavailable(await client.patch("/heroes/1", json={"age": 1}))
            assert (await client.get("/health")).status_code == 200


@pytest.mark.parametrize(("database", "password"), [("no_such_database", None), (None, "wrong")])
async def test_a_server_that_refuses_the_login(
    serve: Any, driver: str, seeded_url: str, database: str | None, password: str | None
) -> None:
    url = make_url(seeded_url).set(database=database, password=password).render_as_string(hide_password=False)
    async with serve(driver=driver, database_url=url) as client:
        assert_unavailable(await client.get("/heroes/1"))


@pytest.mark.parametrize(("pre_ping", "first_status"), [(False, 503), (True, 200)])
async def test_a_connection_that_was_cut(
    serve: Any, driver: str, seeded_url: str, pre_ping: bool, first_status: int
) -> None:
    name = f"cut {driver} {pre_ping}"
    async with serve(driver=driver, application_name=name, pool_size=1, pool_pre_ping=pre_ping) as client:
        assert (await client.get("/heroes/1")).status_code == 200
        with psycopg.connect(seeded_url, autocommit=True) as admin:
            killed = admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", [name]
            ).fetchall()
        assert killed == [(True,)]

        statuses = [(await client.get("/heroes/1")).status_code for _ in range(2)]

    assert statuses == [first_status, 200]


async def test_a_missing_table_is_a_bare_500(serve: Any, driver: str, scratch_database: str) -> None:
    """SQL that the server refuses will not go away by itself; and the service makes no tables of its own."""
    async with serve(driver=driver, database_url=scratch_database) as client:
        response = await client.get("/teams/1")

    assert (response.status_code, response.text) == (500, "Internal Server Error")
