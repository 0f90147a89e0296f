"""One contract for every driver mode: the same requests get the same answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NEW_HERO = {"name": "Nova", "secret_name": "Nora Vane", "password": "correct horse", "age": 31, "team_id": 2}
PUBLIC_FIELDS = {"id", "name", "age", "is_active", "team_id", "created_at", "updated_at"}


@pytest.fixture
async def client(serve: Any, driver: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(driver=driver) as client:
        yield client


async def make_hero(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/heroes", json=NEW_HERO | fields)
    assert response.status_code == 201, response.text
    hero: dict[str, Any] = response.json()
    return hero


async def test_health(client: httpx.AsyncClient) -> None:
    response = await client.get("/health")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_a_created_hero_can_be_read_and_shows_no_secret(client: httpx.AsyncClient) -> None:
    created = await make_hero(client)

    read = await client.get(f"/heroes/{created['id']}")

    assert read.status_code == 200
    assert read.json() == created
    assert created.keys() == PUBLIC_FIELDS
    assert (created["name"], created["age"], created["team_id"], created["is_active"]) == ("Nova", 31, 2, True)
    assert created["created_at"] == created["updated_at"]


async def test_a_seeded_hero(client: httpx.AsyncClient) -> None:
    response = await client.get("/heroes/150")

    assert response.json() == {
        "id": 150,
        "name": "Hero 150",
        "age": 48,
        "is_active": True,
        "team_id": 2,
        "created_at": "2026-01-01T00:02:30Z",
        "updated_at": "2026-01-01T00:02:30Z",
    }


async def test_pages_are_ordered_by_id_and_do_not_overlap(client: httpx.AsyncClient) -> None:
    pages = [(await client.get("/heroes", params={"offset": o, "limit": 25})).json() for o in (100, 125)]

    assert [[hero["id"] for hero in page] for page in pages] == [list(range(101, 126)), list(range(126, 151))]
    assert all(hero.keys() == PUBLIC_FIELDS for hero in pages[0])


async def test_a_changed_hero_keeps_its_place(client: httpx.AsyncClient) -> None:
    """Without an order, Postgres would list a row where its newest version lies: behind those made since."""
    first, second = await make_hero(client), await make_hero(client)
    await client.patch(f"/heroes/{first['id']}", json={"age": 99})

    ids = await listed_ids(client)

    assert {first["id"], second["id"]} <= set(ids)
    assert ids == sorted(ids)


async def test_a_page_has_20_heroes_unless_asked_otherwise(client: httpx.AsyncClient) -> None:
    assert len((await client.get("/heroes")).json()) == 20


async def test_a_page_beyond_the_end_is_empty(client: httpx.AsyncClient) -> None:
    response = await client.get("/heroes", params={"offset": 2**31 - 1})

    assert (response.status_code, response.json()) == (200, [])


async def test_patch_changes_what_was_sent_and_the_time(client: httpx.AsyncClient) -> None:
    before = await make_hero(client)

    response = await client.patch(f"/heroes/{before['id']}", json={"age": 32, "is_active": False})

    after = response.json()
    assert response.status_code == 200
    assert after["updated_at"] > before["updated_at"]
    assert after == before | {"age": 32, "is_active": False, "updated_at": after["updated_at"]}
    assert (await client.get(f"/heroes/{before['id']}")).json() == after


async def test_patch_with_null_empties_and_with_nothing_changes_nothing(client: httpx.AsyncClient) -> None:
    hero = await make_hero(client)

    emptied = (await client.patch(f"/heroes/{hero['id']}", json={"age": None, "team_id": None})).json()
    untouched = (await client.patch(f"/heroes/{hero['id']}", json={})).json()

    assert (emptied["age"], emptied["team_id"], emptied["name"]) == (None, None, "Nova")
    assert untouched == emptied


async def test_patch_cannot_reach_internal_fields(client: httpx.AsyncClient) -> None:
    hero = await make_hero(client)

    response = await client.patch(f"/heroes/{hero['id']}", json={"id": 1, "is_deleted": True, "hashed_password": "x"})

    assert response.json() == hero
    assert (await client.get(f"/heroes/{hero['id']}")).status_code == 200


async def listed_ids(client: httpx.AsyncClient) -> list[int]:
    """Every id there is, page by page."""
    ids: list[int] = []
    while page := (await client.get("/heroes", params={"offset": len(ids), "limit": 100})).json():
        ids += [hero["id"] for hero in page]
    return ids


async def test_a_deleted_hero_is_gone(client: httpx.AsyncClient) -> None:
    hero_id = (await make_hero(client))["id"]
    path = f"/heroes/{hero_id}"
    assert hero_id in await listed_ids(client)

    deleted = await client.delete(path)

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await client.get(path)).status_code == 404
    assert (await client.patch(path, json={"age": 1})).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert hero_id not in await listed_ids(client)


async def test_teams(client: httpx.AsyncClient) -> None:
    team = {"id": 2, "name": "Team 2", "headquarters": "Tower 2"}

    assert (await client.get("/teams/2")).json() == team
    assert (await client.get("/teams", params={"offset": 1, "limit": 1})).json() == [team]
    assert (await client.get(f"/teams/{2**31 - 1}")).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_hero_is_404(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, f"/heroes/{2**31 - 1}", json={} if method == "PATCH" else None)

    assert (response.status_code, response.json()) == (404, {"detail": "hero not found"})


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_an_unknown_team_is_the_callers_error(client: httpx.AsyncClient, method: str) -> None:
    path = "/heroes" if method == "POST" else f"/heroes/{(await make_hero(client))['id']}"

    response = await client.request(method, path, json=NEW_HERO | {"team_id": 999_999})

    assert response.status_code == 422
    assert "team" in response.json()["detail"]


async def test_an_impossible_id_is_refused(client: httpx.AsyncClient) -> None:
    for path in ("/heroes/0", "/heroes/-1", f"/heroes/{2**31}", "/heroes/abc", f"/teams/{10**30}"):
        assert (await client.get(path)).status_code == 422, path


async def test_an_impossible_page_is_refused(client: httpx.AsyncClient) -> None:
    for query in ("offset=-1", f"offset={2**31}", "limit=0", "limit=101", "limit=x"):
        assert (await client.get(f"/heroes?{query}")).status_code == 422, query


async def test_a_body_that_makes_no_sense_is_refused(client: httpx.AsyncClient) -> None:
    for body in (
        b'{"name": "a\\u0000b", "secret_name": "s", "password": "12345678"}',
        b'{"name": "\\ud800", "secret_name": "s", "password": "12345678"}',
        b'{"name": "n", "secret_name": "s", "password": "12345678", "age": NaN}',
        b'{"name": "n", "secret_name": "s", "password": "12345678", "age": 2147483648}',
        b'{"name": "n", "secret_name": "s", "password": "12345678", "age": 1' + b"0" * 5000 + b"}",
        b'{"name": "", "secret_name": "s", "password": "12345678"}',
        b'{"secret_name": "s", "password": "12345678"}',
        b"[]",
        b"{",
        b"\xff",
    ):
        response = await client.post("/heroes", content=body, headers={"content-type": "application/json"})
        assert response.status_code in {400, 422}, (body, response.text)


async def test_a_refusal_does_not_repeat_the_password(client: httpx.AsyncClient) -> None:
    response = await client.post("/heroes", json=NEW_HERO | {"password": "hush"})

    assert response.status_code == 422
    assert "hush" not in response.text
