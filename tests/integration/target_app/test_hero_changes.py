"""Changes that meet, and what the answer to a change is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, get_args

import httpx
import psycopg
import pytest

from target_app.settings import DriverMode

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HERO = {"name": "Rival", "secret_name": "s", "password": "12345678", "age": 20}
# A blocked event loop serves one request at a time, so no two can meet there.
MEETING = [driver for driver in get_args(DriverMode) if driver != "psycopg_blocking"]


async def make_hero(client: httpx.AsyncClient) -> dict[str, Any]:
    hero: dict[str, Any] = (await client.post("/heroes", json=HERO)).json()
    return hero


@asynccontextmanager
async def locked(
    url: str, hero_id: int, name: str, eventually: Any
) -> AsyncIterator[tuple[psycopg.Connection, Callable[[int], Any]]]:
    """In the block, the connection it gives has the hero's row locked; `await waiting(n)` until n of the app's wait."""
    queue = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as observer:
        holder.execute("SELECT 1 FROM heroes WHERE id = %s FOR UPDATE", [hero_id])

        async def waiting(count: int) -> None:
            await eventually(lambda: observer.execute(queue, [name]).fetchall(), [(count,)])

        yield holder, waiting


@pytest.mark.parametrize(
    ("mode", "statuses"),
    [
        ("last_wins", [200, 200]),
        ("for_update", [200, 200]),
        ("version", [200, 409]),
        ("repeatable_read", [200, 409]),
    ],
)
@pytest.mark.parametrize("driver", MEETING)
async def test_two_simultaneous_changes(  # noqa: PLR0917 -- parameters and fixtures come by name
    serve: Any, driver: str, mode: str, statuses: list[int], seeded_url: str, eventually: Any
) -> None:
    name = f"two {driver} {mode}"
    async with serve(driver=driver, update_mode=mode, application_name=name) as client:
        path = f"/heroes/{(await make_hero(client))['id']}"
        async with locked(seeded_url, int(path.rpartition("/")[2]), name, eventually) as (_, waiting):
            changes = [asyncio.create_task(client.patch(path, json={"age": age})) for age in (30, 40)]
            await waiting(2)
        answers = await asyncio.gather(*changes)
        stored = (await client.get(path)).json()

    assert sorted(answer.status_code for answer in answers) == statuses
    assert stored in [answer.json() for answer in answers if answer.status_code == 200]
    for refused in (answer for answer in answers if answer.status_code == 409):
        assert "read it again" in refused.json()["detail"]


@pytest.mark.parametrize("driver", MEETING)
async def test_a_change_of_what_is_removed_meanwhile_is_a_conflict(
    serve: Any, driver: str, seeded_url: str, eventually: Any
) -> None:
    name = f"gone {driver}"
    async with serve(driver=driver, application_name=name) as client:
        hero_id = (await make_hero(client))["id"]
        async with locked(seeded_url, hero_id, name, eventually) as (holder, waiting):
            change = asyncio.create_task(client.patch(f"/heroes/{hero_id}", json={"age": 30}))
            await waiting(1)
            holder.execute("DELETE FROM heroes WHERE id = %s", [hero_id])
        refused = await change

        assert (refused.status_code, (await client.get(f"/heroes/{hero_id}")).status_code) == (409, 404)


async def test_a_version_is_raised_by_each_change_where_it_is_used(serve: Any, driver: str, ask: Any) -> None:
    versions = []
    for mode in ("last_wins", "version"):
        async with serve(driver=driver, update_mode=mode) as client:
            hero_id = (await make_hero(client))["id"]
            for age in (1, 2):
                assert (await client.patch(f"/heroes/{hero_id}", json={"age": age})).status_code == 200
            versions += ask("SELECT version FROM heroes WHERE id = %s", hero_id)

    assert versions == [(1,), (3,)]


@pytest.mark.parametrize("mode", ["last_wins", "version"])
@pytest.mark.parametrize(
    ("settings", "is_stale"),
    [
        ({}, False),
        ({"returning": False}, True),
        ({"returning": False, "refresh_after_write": True}, False),
        ({"returning": False, "expire_on_commit": True}, False),
    ],
)
async def test_without_returning_and_refresh_the_answer_shows_the_old_time(
    serve: Any, driver: str, mode: str, settings: dict[str, bool], is_stale: bool
) -> None:
    async with serve(driver=driver, update_mode=mode, **settings) as client:
        before = await make_hero(client)
        answer = (await client.patch(f"/heroes/{before['id']}", json={"age": 33})).json()
        truth = (await client.get(f"/heroes/{before['id']}")).json()

    assert answer["age"] == truth["age"] == 33  # what was assigned is never stale
    assert truth["updated_at"] > before["updated_at"]
    assert (answer["updated_at"] == before["updated_at"]) == is_stale
    assert (answer == truth) == (not is_stale)


@pytest.mark.parametrize(("mode", "rows_left"), [("soft", [(True,)]), ("hard", [])])
async def test_what_a_deletion_leaves(
    serve: Any, driver: str, mode: str, rows_left: list[tuple[bool]], ask: Any
) -> None:
    async with serve(driver=driver, delete_mode=mode) as client:
        hero_id = (await make_hero(client))["id"]

        statuses = [(await client.delete(f"/heroes/{hero_id}")).status_code for _ in range(2)]

        assert statuses == [204, 404]
        assert (await client.get(f"/heroes/{hero_id}")).status_code == 404
    assert ask("SELECT is_deleted FROM heroes WHERE id = %s", hero_id) == rows_left
