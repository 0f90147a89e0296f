"""The endpoints over a sync session, as def functions that FastAPI runs in the threadpool (psycopg_sync and psycopg2).

A trap comes with it, kept because it is real: a request holds its connection from its first statement until it is
answered, and needs a thread once more to validate the answer. From threadpool_tokens + pool_size + max_overflow
requests in flight on, every thread may wait for a connection while every connection waits for a thread; nothing moves
until pool_timeout_s has passed.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request

from target_app.models import Hero, Team
from target_app.routes.dependencies import SyncHeroes
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
def create_hero(body: HeroCreate, heroes: SyncHeroes) -> Hero:
    return heroes.create(body)


@router.post("/heroes/import", response_model=ImportResult)
def import_heroes(body: HeroesImport, heroes: SyncHeroes) -> ImportResult:
    """One transaction with a savepoint for each row: rows that are refused are reported, the others stay."""
    return heroes.import_heroes(body.root)


@router.get("/heroes", response_model=list[HeroPublic])
def list_heroes(heroes: SyncHeroes, offset: Offset = 0, limit: Limit = 20, after: After = None) -> Sequence[Hero]:
    one_start(offset=offset, after=after)
    if after is not None:
        return heroes.page_after(after, limit=limit)
    return heroes.page(offset=offset, limit=limit)


@router.get("/heroes/{hero_id}", response_model=HeroPublic)
def get_hero(hero_id: RowId, heroes: SyncHeroes) -> Hero:
    return found(heroes.get(hero_id), "hero")


@router.patch("/heroes/{hero_id}", response_model=HeroPublic)
def update_hero(hero_id: RowId, body: HeroUpdate, heroes: SyncHeroes) -> Hero:
    return found(heroes.update(hero_id, body), "hero")


@router.delete("/heroes/{hero_id}", status_code=204)
def delete_hero(hero_id: RowId, heroes: SyncHeroes) -> None:
    found(heroes.delete(hero_id) or None, "hero")


@router.post("/teams", status_code=201, response_model=TeamPublic)
def create_team(body: TeamCreate, heroes: SyncHeroes) -> Team:
    return heroes.create_team(body)


@router.get("/teams", response_model=list[TeamPublic])
def list_teams(heroes: SyncHeroes, offset: Offset = 0, limit: Limit = 20) -> Sequence[Team]:
    return heroes.teams(offset=offset, limit=limit)


@router.get("/teams/{team_id}", response_model=TeamPublic)
def get_team(team_id: RowId, heroes: SyncHeroes) -> Team:
    return found(heroes.team(team_id), "team")


@router.post("/teams/{team_id}/heroes", response_model=list[HeroPublic])
def move_heroes(team_id: RowId, body: Move, heroes: SyncHeroes) -> Sequence[Hero]:
    """Heroes join the team together; where one of them does not exist, none does."""
    return heroes.move(body.hero_ids, team_id)


@router.get("/rosters", response_model=list[Roster])
def list_rosters(
    request: Request, heroes: SyncHeroes, offset: Offset = 0, limit: FewTeams = 10, loader: LoaderChoice = None
) -> Sequence[Team]:
    """Teams with their heroes."""
    loader = loader or request.app.state.settings.team_loader
    return heroes.rosters(offset=offset, limit=limit, loader=loader)
