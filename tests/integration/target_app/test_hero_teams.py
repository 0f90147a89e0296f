"""Several rows at a time: rosters through three loaders, imports with savepoints, moves that all happen or none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HERO = {"name": "Member", "secret_name": "s", "password": "12345678"}


@pytest.fixture
async def client(serve: Any, driver: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(driver=driver) as client:
        yield client


async def make_team(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/teams", json={"name": f"Team {uuid4()}", "headquarters": "Basement"})
    assert answer.status_code == 201, answer.text
    team: dict[str, Any] = answer.json()
    return team


async def make_members(client: httpx.AsyncClient, team_id: int | None, count: int) -> list[int]:
    answer = await client.post("/heroes/import", json=[HERO | {"team_id": team_id}] * count)
    ids: list[int] = answer.json()["imported"]
    assert len(ids) == count
    return ids


async def team_of(client: httpx.AsyncClient, hero_id: int) -> int | None:
    team_id: int | None = (await client.get(f"/heroes/{hero_id}")).json()["team_id"]
    return team_id


async def test_a_team_can_be_read_and_its_name_is_taken(client: httpx.AsyncClient) -> None:
    team = await make_team(client)

    again = await client.post("/teams", json={"name": team["name"], "headquarters": "Attic"})

    assert (await client.get(f"/teams/{team['id']}")).json() == team
    assert (again.status_code, again.json()) == (409, {"detail": "name: a team of that name exists"})


@pytest.mark.parametrize(("loader", "statements_for_two_teams"), [("lazy", 3), ("joined", 1), ("selectin", 2)])
async def test_a_roster_is_the_same_through_every_loader_but_not_its_cost(
    serve: Any, driver: str, recorded: Any, loader: str, statements_for_two_teams: int
) -> None:
    async with serve(driver=driver, pool_prewarm=True, team_loader=loader) as client:
        with recorded(client) as statements:
            by_setting = (await client.get("/rosters?limit=2")).json()
            cost = len(statements)
            statements.clear()
            by_request = (await client.get(f"/rosters?limit=2&loader={loader}")).json()
            reference = (await client.get("/rosters?limit=2&loader=selectin")).json()

    assert cost == statements_for_two_teams
    assert by_setting == by_request == reference
    assert [(team["id"], team["name"]) for team in by_setting] == [(1, "Team 1"), (2, "Team 2")]
    for team in by_setting:
        ids = [hero["id"] for hero in team["heroes"]]
        assert ids == sorted(ids)
        assert len([number for number in ids if number <= 200]) == 100
        assert "secret_name" not in team["heroes"][0]


@pytest.mark.parametrize("loader", ["lazy", "joined", "selectin"])
async def test_a_roster_leaves_out_the_deleted(client: httpx.AsyncClient, loader: str) -> None:
    team_id = (await make_team(client))["id"]
    kept, deleted = await make_members(client, team_id, 2)
    await client.delete(f"/heroes/{deleted}")

    rosters = (await client.get(f"/rosters?offset=2&limit=20&loader={loader}")).json()
    while team_id not in {roster["id"] for roster in rosters}:
        offset = 2 + len(rosters)
        rosters += (await client.get(f"/rosters?offset={offset}&limit=20&loader={loader}")).json()

    (roster,) = [roster for roster in rosters if roster["id"] == team_id]
    assert [hero["id"] for hero in roster["heroes"]] == [kept]


async def test_an_unknown_loader_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/rosters?loader=eager")).status_code == 422
    assert (await client.get("/rosters?limit=21")).status_code == 422


async def test_a_refused_row_takes_nothing_else_of_the_import_with_it(client: httpx.AsyncClient, recorded: Any) -> None:
    rows = [HERO, HERO | {"team_id": 999_999}, HERO | {"name": "Last"}]

    with recorded(client) as statements:
        answer = await client.post("/heroes/import", json=rows)

    result = answer.json()
    assert answer.status_code == 200
    assert result["refused"] == [{"row": 1, "reason": "team_id: there is no such team"}]
    names = [(await client.get(f"/heroes/{hero_id}")).json()["name"] for hero_id in result["imported"]]
    assert names == ["Member", "Last"]
    assert [s.word for s in statements].count("SAVEPOINT") == 3
    assert [s.word for s in statements].count("ROLLBACK") == 1


async def test_an_import_works_without_transactions_elsewhere(serve: Any, driver: str) -> None:
    async with serve(driver=driver, isolation="AUTOCOMMIT") as client:
        result = (await client.post("/heroes/import", json=[HERO | {"team_id": 999_999}, HERO])).json()

        assert (len(result["imported"]), [refused["row"] for refused in result["refused"]]) == (1, [0])


async def test_an_import_that_makes_no_sense_is_refused_whole(client: httpx.AsyncClient) -> None:
    for body in ([], [HERO] * 1001, [{}], {"heroes": [HERO]}, [HERO, HERO | {"name": ""}]):
        assert (await client.post("/heroes/import", json=body)).status_code == 422, str(body)[:80]


async def test_heroes_move_together(client: httpx.AsyncClient) -> None:
    team_id = (await make_team(client))["id"]
    ids = await make_members(client, None, 3)

    answer = await client.post(f"/teams/{team_id}/heroes", json={"hero_ids": ids})

    assert answer.status_code == 200
    assert [(hero["id"], hero["team_id"]) for hero in answer.json()] == [(hero_id, team_id) for hero_id in ids]
    assert [await team_of(client, hero_id) for hero_id in ids] == [team_id] * 3


async def test_where_one_cannot_move_none_does(client: httpx.AsyncClient) -> None:
    team_id = (await make_team(client))["id"]
    ids = await make_members(client, None, 2)

    no_hero = await client.post(f"/teams/{team_id}/heroes", json={"hero_ids": [*ids, 2**31 - 1]})
    no_team = await client.post("/teams/999999/heroes", json={"hero_ids": ids})

    assert (no_hero.status_code, no_hero.json()["detail"]) == (422, f"hero_ids: there is no hero {2**31 - 1}")
    assert (no_team.status_code, no_team.json()["detail"]) == (422, "team_id: there is no such team")
    assert [await team_of(client, hero_id) for hero_id in ids] == [None, None]


async def test_pages_by_key_follow_each_other_without_gap(client: httpx.AsyncClient) -> None:
    first = (await client.get("/heroes?after=0&limit=3")).json()
    second = (await client.get(f"/heroes?after={first[-1]['id']}&limit=3")).json()

    assert [hero["id"] for hero in first + second] == [1, 2, 3, 4, 5, 6]
    assert (await client.get(f"/heroes?after={2**31 - 1}")).json() == []


async def test_a_page_by_key_that_makes_no_sense_is_refused(client: httpx.AsyncClient) -> None:
    for query in ("after=-1", f"after={2**31}", "after=x", "after=5&offset=5"):
        assert (await client.get(f"/heroes?{query}")).status_code == 422, query
