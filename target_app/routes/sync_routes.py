"""The endpoints over a sync session, as def functions that FastAPI runs in the threadpool (psycopg_sync).

A trap comes with it, kept because it is real: a request holds its connection from its first statement until it is
answered, and needs a thread once more to validate the answer. From threadpool_tokens + pool_size + max_overflow
requests in flight on, every thread may wait for a connection while every connection waits for a thread; nothing moves
until pool_timeout_s has passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session

from target_app.database import get_db_sync
from target_app.models import Hero, Team
from target_app.repository import SqlSyncHeroRepository, SyncHeroRepository
from target_app.routes.parameters import Limit, Offset, found
from target_app.schemas import HeroCreate, HeroPublic, HeroUpdate, RowId, TeamPublic

router = APIRouter()


# async def, although nothing is awaited: a def dependency would take a trip through the threadpool to build an object.
async def get_heroes(request: Request, session: Annotated[Session, Depends(get_db_sync)]) -> SyncHeroRepository:
    return SqlSyncHeroRepository(session, refresh=request.app.state.database.refresh_after_write)


Heroes = Annotated[SyncHeroRepository, Depends(get_heroes)]


@router.post("/heroes", status_code=201, response_model=HeroPublic)
def create_hero(body: HeroCreate, heroes: Heroes) -> Hero:
    return heroes.create(body)


@router.get("/heroes", response_model=list[HeroPublic])
def list_heroes(heroes: Heroes, offset: Offset = 0, limit: Limit = 20) -> Sequence[Hero]:
    return heroes.page(offset=offset, limit=limit)


@router.get("/heroes/{hero_id}", response_model=HeroPublic)
def get_hero(hero_id: RowId, heroes: Heroes) -> Hero:
    return found(heroes.get(hero_id), "hero")


@router.patch("/heroes/{hero_id}", response_model=HeroPublic)
def update_hero(hero_id: RowId, body: HeroUpdate, heroes: Heroes) -> Hero:
    return found(heroes.update(hero_id, body), "hero")


@router.delete("/heroes/{hero_id}", status_code=204)
def delete_hero(hero_id: RowId, heroes: Heroes) -> None:
    found(heroes.delete(hero_id) or None, "hero")


@router.get("/teams", response_model=list[TeamPublic])
def list_teams(heroes: Heroes, offset: Offset = 0, limit: Limit = 20) -> Sequence[Team]:
    return heroes.teams(offset=offset, limit=limit)


@router.get("/teams/{team_id}", response_model=TeamPublic)
def get_team(team_id: RowId, heroes: Heroes) -> Team:
    return found(heroes.team(team_id), "team")
