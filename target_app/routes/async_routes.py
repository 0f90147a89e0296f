"""The endpoints over an async session (driver modes asyncpg and psycopg)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request

from target_app.models import Hero, Team
from target_app.routes.dependencies import Heroes
from target_app.routes.parameters import After, FewTeams, Limit, LoaderChoice, Offset, found, one_start
from target_app.schemas import (
    HeroCreate,
    HeroesImport,
    HeroPublic,
    HeroUpdate,
    ImportResult,
    Move,
    Roster,
    RowId,
    TeamCreate,
    TeamPublic,
)

router = APIRouter()


@router.post("/heroes", status_code=201, response_model=HeroPublic)
async def create_hero(body: HeroCreate, heroes: Heroes) -> Hero:
    return await heroes.create(body)


@router.post("/heroes/import", response_model=ImportResult)
async def import_heroes(body: HeroesImport, heroes: Heroes) -> ImportResult:
    """One transaction with a savepoint for each row: rows that are refused are reported, the others stay."""
    return await heroes.import_heroes(body.root)


@router.get("/heroes", response_model=list[HeroPublic])
async def list_heroes(heroes: Heroes, offset: Offset = 0, limit: Limit = 20, after: After = None) -> Sequence[Hero]:
    one_start(offset=offset, after=after)
    if after is not None:
        return await heroes.page_after(after, limit=limit)
    return await heroes.page(offset=offset, limit=limit)


@router.get("/heroes/{hero_id}", response_model=HeroPublic)
async def get_hero(hero_id: RowId, heroes: Heroes) -> Hero:
    return found(await heroes.get(hero_id), "hero")


@router.patch("/heroes/{hero_id}", response_model=HeroPublic)
async def update_hero(hero_id: RowId, body: HeroUpdate, heroes: Heroes) -> Hero:
    return found(await heroes.update(hero_id, body), "hero")


@router.delete("/heroes/{hero_id}", status_code=204)
async def delete_hero(hero_id: RowId, heroes: Heroes) -> None:
    found(await heroes.delete(hero_id) or None, "hero")


@router.post("/teams", status_code=201, response_model=TeamPublic)
async def create_team(body: TeamCreate, heroes: Heroes) -> Team:
    return await heroes.create_team(body)


@router.get("/teams", response_model=list[TeamPublic])
async def list_teams(heroes: Heroes, offset: Offset = 0, limit: Limit = 20) -> Sequence[Team]:
    return await heroes.teams(offset=offset, limit=limit)


@router.get("/teams/{team_id}", response_model=TeamPublic)
async def get_team(team_id: RowId, heroes: Heroes) -> Team:
    return found(await heroes.team(team_id), "team")


@router.post("/teams/{team_id}/heroes", response_model=list[HeroPublic])
async def move_heroes(team_id: RowId, body: Move, heroes: Heroes) -> Sequence[Hero]:
    """Heroes join the team together; where one of them does not exist, none does."""
    return await heroes.move(body.hero_ids, team_id)


@router.get("/rosters", response_model=list[Roster])
async def list_rosters(
    request: Request, heroes: Heroes, offset: Offset = 0, limit: FewTeams = 10, loader: LoaderChoice = None
) -> Sequence[Team]:
    """Teams with their heroes."""
    loader = loader or request.app.state.settings.team_loader
    return await heroes.rosters(offset=offset, limit=limit, loader=loader)
