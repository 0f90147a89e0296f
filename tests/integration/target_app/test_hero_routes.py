"""The routes over repositories in memory: what they ask for and what they answer, without a database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from target_app.errors import is_passing
from target_app.main import create_app
from target_app.models import Hero, Team
from target_app.repository import (
    DuplicateTeamError,
    HeroRepository,
    RefusedError,
    SimultaneousChangeError,
    SyncHeroRepository,
    UnknownTeamError,
    apply_changes,
    move_all,
    new_hero,
)
from target_app.routes import dependencies
from target_app.schemas import HeroCreate, HeroUpdate, ImportResult, RefusedRow, TeamCreate
from target_app.settings import DriverMode, Loader, Settings

pytestmark = pytest.mark.anyio

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
HERO = {"name": "Nova", "secret_name": "Nora", "password": "correct horse", "team_id": 1}
URL = "postgresql://nobody@127.0.0.1:1/none"


class MemoryHeroes:
    """SyncHeroRepository without a database. `broken`, once set, is raised by every call."""

    def __init__(self) -> None:
        self.heroes: dict[int, Hero] = {}
        self.broken: Exception | None = None
        self.loaders: list[str] = []

    def create(self, body: HeroCreate) -> Hero:
        self._check(body.team_id)
        hero = new_hero(body)
        hero.id, hero.is_active, hero.created_at, hero.updated_at = len(self.heroes) + 1, True, MOMENT, MOMENT
        self.heroes[hero.id] = hero
        return hero

    def get(self, hero_id: int) -> Hero | None:
        self._check()
        return self.heroes.get(hero_id)

    def page(self, *, offset: int, limit: int) -> Sequence[Hero]:
        self._check()
        return list(self.heroes.values())[offset : offset + limit]

    def page_after(self, hero_id: int, *, limit: int) -> Sequence[Hero]:
        self._check()
        return [hero for hero in self.heroes.values() if hero.id > hero_id][:limit]

    def import_heroes(self, bodies: Sequence[HeroCreate]) -> ImportResult:
        result = ImportResult(imported=[], refused=[])
        for row, body in enumerate(bodies):
            try:
                result.imported.append(self.create(body).id)
            except RefusedError as error:
                result.refused.append(RefusedRow(row=row, reason=error.detail))
        return result

    def move(self, hero_ids: Sequence[int], team_id: int) -> Sequence[Hero]:
        self._check(team_id)
        heroes = [hero for hero in self.heroes.values() if hero.id in hero_ids]
        move_all(heroes, hero_ids, team_id)
        return heroes

    def create_team(self, body: TeamCreate) -> Team:
        self._check()
        if body.name == "Team 1":
            raise DuplicateTeamError
        return Team(id=2, **body.model_dump())

    def rosters(self, *, offset: int, limit: int, loader: Loader) -> Sequence[Team]:
        self.loaders.append(loader)
        team = Team(id=1, name="Team 1", headquarters="Tower 1", heroes=list(self.heroes.values()))
        return [team][offset : offset + limit]

    def update(self, hero_id: int, body: HeroUpdate) -> Hero | None:
        self._check(body.team_id)
        hero = self.heroes.get(hero_id)
        if hero is not None:
            apply_changes(hero, body)
        return hero

    def delete(self, hero_id: int) -> bool:
        self._check()
        return self.heroes.pop(hero_id, None) is not None

    def team(self, team_id: int) -> Team | None:
        self._check()
        return next(iter(self.teams(offset=team_id - 1, limit=1)), None)

    def teams(self, *, offset: int, limit: int) -> Sequence[Team]:
        return [Team(id=1, name="Team 1", headquarters="Tower 1")][offset : offset + limit]

    def _check(self, team_id: int | None = None) -> None:
        if self.broken is not None:
            raise self.broken
        if team_id not in {None, 1}:
            raise UnknownTeamError


class AsyncMemoryHeroes:
    """HeroRepository over MemoryHeroes."""

    def __init__(self, heroes: MemoryHeroes) -> None:
        self._heroes = heroes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._heroes, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return call


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def heroes() -> MemoryHeroes:
    return MemoryHeroes()


@pytest.fixture(params=["asyncpg", "psycopg_sync", "psycopg_blocking"])
async def client(request: pytest.FixtureRequest, heroes: MemoryHeroes) -> AsyncIterator[httpx.AsyncClient]:
    driver: DriverMode = request.param
    app = create_app(Settings(database_url=URL, driver=driver))
    sync_heroes: SyncHeroRepository = heroes
    async_heroes: HeroRepository = AsyncMemoryHeroes(heroes)
    app.dependency_overrides = {
        dependencies.get_heroes: lambda: async_heroes,
        dependencies.get_heroes_sync: lambda: sync_heroes,
        dependencies.get_heroes_blocking: lambda: sync_heroes,
    }
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://heroes") as client:
        yield client


async def test_a_hero_from_birth_to_deletion(client: httpx.AsyncClient, heroes: MemoryHeroes) -> None:
    assert (await client.post("/heroes", json=HERO)).status_code == 201
    assert (await client.get("/heroes/1")).json()["name"] == "Nova"
    assert (await client.patch("/heroes/1", json={"name": "Supernova"})).json()["name"] == "Supernova"
    assert [hero["name"] for hero in (await client.get("/heroes")).json()] == ["Supernova"]
    assert (await client.delete("/heroes/1")).status_code == 204
    assert heroes.heroes == {}


async def test_what_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    answers = [
        await client.get("/heroes/5"),
        await client.patch("/heroes/5", json={"age": 1}),
        await client.delete("/heroes/5"),
        await client.get("/teams/5"),
    ]

    assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [
        (404, "hero not found"),
        (404, "hero not found"),
        (404, "hero not found"),
        (404, "team not found"),
    ]


async def test_pages(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.post("/heroes", json=HERO | {"name": f"Hero {number}"})

    page = (await client.get("/heroes", params={"offset": 1, "limit": 2})).json()

    assert [hero["name"] for hero in page] == ["Hero 1", "Hero 2"]
    assert len((await client.get("/teams")).json()) == 1


async def test_pages_by_key(client: httpx.AsyncClient) -> None:
    for number in range(4):
        await client.post("/heroes", json=HERO | {"name": f"Hero {number}"})

    page = (await client.get("/heroes", params={"after": 1, "limit": 2})).json()
    both = await client.get("/heroes", params={"after": 1, "offset": 1})

    assert [hero["id"] for hero in page] == [2, 3]
    assert (both.status_code, both.json()["detail"]) == (422, "offset and after: give one of them")


async def test_an_import_says_which_rows_were_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/heroes/import", json=[HERO, HERO | {"team_id": 7}])

    assert answer.json() == {"imported": [1], "refused": [{"row": 1, "reason": "team_id: there is no such team"}]}


async def test_moving_heroes_that_are_not_there(client: httpx.AsyncClient) -> None:
    await client.post("/heroes", json=HERO)

    moved = await client.post("/teams/1/heroes", json={"hero_ids": [1]})
    refused = await client.post("/teams/1/heroes", json={"hero_ids": [1, 8, 9]})

    assert [hero["id"] for hero in moved.json()] == [1]
    assert (refused.status_code, refused.json()["detail"]) == (422, "hero_ids: there is no hero 8")


async def test_a_taken_name_is_a_conflict(client: httpx.AsyncClient) -> None:
    statuses = [
        (await client.post("/teams", json={"name": name, "headquarters": "h"})).status_code
        for name in ("Team 1", "Team 2")
    ]

    assert statuses == [409, 201]


async def test_rosters_are_loaded_as_the_setting_says_unless_the_request_does(
    client: httpx.AsyncClient, heroes: MemoryHeroes
) -> None:
    await client.post("/heroes", json=HERO)

    (roster,) = (await client.get("/rosters")).json()
    await client.get("/rosters?loader=lazy")

    assert [hero["name"] for hero in roster["heroes"]] == ["Nova"]
    assert heroes.loaders == ["selectin", "lazy"]


class DriverError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def database_error(kind: type[DBAPIError], sqlstate: str | None, *, invalidated: bool = False) -> DBAPIError:
    return kind("SELECT 1", {}, DriverError(sqlstate), connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PoolTimeoutError("QueuePool limit"), 503),
        (ConnectionRefusedError(111, "refused"), 503),
        (database_error(OperationalError, "57P03"), 503),
        (database_error(ProgrammingError, "42703"), 500),
        (UnknownTeamError(), 422),
        (SimultaneousChangeError(), 409),
        (ZeroDivisionError("secret detail"), 500),
    ],
)
async def test_errors_become_answers_without_details(
    client: httpx.AsyncClient, heroes: MemoryHeroes, error: Exception, status: int
) -> None:
    heroes.broken = error

    answer = await client.get("/heroes/1")

    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    assert not any(word in answer.text for word in ("Traceback", "SELECT", "secret", "QueuePool"))


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (database_error(OperationalError, None), True),  # no server to give a state
        (database_error(DBAPIError, None), False),
        (database_error(DBAPIError, None, invalidated=True), True),
        (database_error(DBAPIError, "53300"), True),  # too many connections
        (database_error(DBAPIError, "40001"), True),  # serialization failure
        (database_error(OperationalError, "57014"), True),  # statement timeout
        (database_error(OperationalError, "55P03"), True),  # lock not available
        (database_error(OperationalError, "55000"), False),
        (database_error(DBAPIError, "23505"), False),
        (database_error(DBAPIError, "22003"), False),
    ],
)
def test_which_database_errors_pass(error: DBAPIError, passing: bool) -> None:
    assert is_passing(error) == passing
