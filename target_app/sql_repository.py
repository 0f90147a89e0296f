"""HeroRepository over an async session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession

from target_app import statements
from target_app.models import Base, Hero, Team
from target_app.repository import (
    AUTOCOMMIT,
    REPEATABLE_READ,
    TRANSACTION,
    Behaviour,
    RefusedError,
    SimultaneousChangeError,
    apply_changes,
    move_all,
    new_hero,
    refusals,
)
from target_app.schemas import HeroCreate, HeroUpdate, ImportResult, RefusedRow, TeamCreate
from target_app.settings import Loader


class SqlHeroRepository:
    """HeroRepository over an async session."""

    def __init__(self, session: AsyncSession, behaviour: Behaviour) -> None:
        self._session = session
        self._behaviour = behaviour

    async def create(self, body: HeroCreate) -> Hero:
        hero = new_hero(body)
        self._session.add(hero)
        with refusals():
            await self._save(hero)
        return hero

    async def get(self, hero_id: int) -> Hero | None:
        await self._only_read()
        return await self._session.scalar(statements.HERO_BY_ID, {"hero_id": hero_id})

    async def page(self, *, offset: int, limit: int) -> Sequence[Hero]:
        await self._only_read()
        return (await self._session.scalars(statements.HERO_PAGE, {"offset": offset, "limit": limit})).all()

    async def page_after(self, hero_id: int, *, limit: int) -> Sequence[Hero]:
        await self._only_read()
        return (await self._session.scalars(statements.HERO_PAGE_AFTER, {"after": hero_id, "limit": limit})).all()

    async def update(self, hero_id: int, body: HeroUpdate) -> Hero | None:
        mode = self._behaviour.update_mode
        if mode == "repeatable_read":
            await self._session.connection(execution_options=REPEATABLE_READ)
        statement = statements.hero_to_change(mode, returning=self._behaviour.returning)
        with refusals():
            hero: Hero | None = await self._session.scalar(statement, {"hero_id": hero_id})
            if hero is not None:
                apply_changes(hero, body)
                await self._save(hero)
        return hero

    async def delete(self, hero_id: int) -> bool:
        statement = statements.DELETE_HERO if self._behaviour.hard_delete else statements.MARK_HERO_DELETED
        with refusals():
            deleted = await self._session.scalar(statement, {"hero_id": hero_id})
            await self._commit()
        return deleted is not None

    async def import_heroes(self, bodies: Sequence[HeroCreate]) -> ImportResult:
        """All in one transaction, each behind a savepoint: a row that is refused takes nothing else with it."""
        result = ImportResult(imported=[], refused=[])
        async with self._unit_of_work():
            for row, body in enumerate(bodies):
                hero = new_hero(body)
                try:
                    with refusals():
                        async with self._session.begin_nested():
                            self._session.add(hero)
                    result.imported.append(hero.id)
                except RefusedError as error:
                    result.refused.append(RefusedRow(row=row, reason=error.detail))
        return result

    async def create_team(self, body: TeamCreate) -> Team:
        team = Team(**body.model_dump())
        self._session.add(team)
        with refusals():
            await self._save(team)
        return team

    async def team(self, team_id: int) -> Team | None:
        await self._only_read()
        return await self._session.scalar(statements.TEAM_BY_ID, {"team_id": team_id})

    async def teams(self, *, offset: int, limit: int) -> Sequence[Team]:
        await self._only_read()
        return (await self._session.scalars(statements.TEAM_PAGE, {"offset": offset, "limit": limit})).all()

    async def rosters(self, *, offset: int, limit: int, loader: Loader) -> Sequence[Team]:
        await self._only_read()
        found = await self._session.scalars(statements.ROSTERS[loader], {"offset": offset, "limit": limit})
        teams = found.unique().all()
        for team in teams:
            await team.awaitable_attrs.heroes  # a query where they are lazy, nothing where they are there
        return teams

    async def move(self, hero_ids: Sequence[int], team_id: int) -> Sequence[Hero]:
        """All or none."""
        with refusals():
            async with self._unit_of_work():
                heroes = (await self._session.scalars(statements.HEROES_TO_MOVE, {"hero_ids": hero_ids})).all()
                move_all(heroes, hero_ids, team_id)
        if self._behaviour.refresh:
            heroes = (await self._session.scalars(statements.HEROES_BY_IDS, {"hero_ids": hero_ids})).all()
        return heroes

    async def _only_read(self) -> None:
        """Begin without BEGIN, if that is asked for."""
        if self._behaviour.autocommit_reads:
            await self._session.connection(execution_options=AUTOCOMMIT)

    @asynccontextmanager
    async def _unit_of_work(self) -> AsyncIterator[None]:
        """A transaction: committed at the end, rolled back on an exception."""
        if not self._behaviour.commit:
            yield
            await self._session.flush()
            return
        async with self._session.begin():
            if self._behaviour.autocommit:
                await self._session.connection(execution_options=TRANSACTION)
            yield

    async def _commit(self) -> None:
        if self._behaviour.commit:
            await self._session.commit()
        else:
            await self._session.flush()

    async def _save(self, row: Base) -> None:
        await self._commit()
        if self._behaviour.refresh:
            try:
                await self._session.refresh(row)
            except InvalidRequestError as error:  # the row is gone again
                raise SimultaneousChangeError from error
