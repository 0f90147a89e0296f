"""The endpoints over an async session (driver modes asyncpg and psycopg)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from target_app.database import get_db
from target_app.models import Hero, Team
from target_app.repository import HeroRepository, SqlHeroRepository
from target_app.routes.parameters import Limit, Offset, found
from target_app.schemas import HeroCreate, HeroPublic, HeroUpdate, RowId, TeamPublic

router = APIRouter()


async def get_heroes(request: Request, session: Annotated[AsyncSession, Depends(get_db)]) -> HeroRepository:
    return SqlHeroRepository(session, refresh=request.app.state.database.refresh_after_write)


Heroes = Annotated[HeroRepository, Depends(get_heroes)]


@router.post("/heroes", status_code=201, response_model=HeroPublic)
async def create_hero(body: HeroCreate, heroes: Heroes) -> Hero:
    return await heroes.create(body)


@router.get("/heroes", response_model=list[HeroPublic])
async def list_heroes(heroes: Heroes, offset: Offset = 0, limit: Limit = 20) -> Sequence[Hero]:
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


@router.get("/teams", response_model=list[TeamPublic])
async def list_teams(heroes: Heroes, offset: Offset = 0, limit: Limit = 20) -> Sequence[Team]:
    return await heroes.teams(offset=offset, limit=limit)


@router.get("/teams/{team_id}", response_model=TeamPublic)
async def get_team(team_id: RowId, heroes: Heroes) -> Team:
    return found(await heroes.team(team_id), "team")
