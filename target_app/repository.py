"""Heroes and teams, stored: one protocol for each way to wait, one implementation each, over shared statements.

A write commits before it returns, so that the answer follows the commit. What the answer is made of afterwards:

- neither setting: the object as it is; the server's values came back with the statement.
- `refresh_after_write`: the row is read again, in a transaction of its own.
- `expire_on_commit`: the commit empties the object. The sync session reads the row again when the response touches
  it; the async session cannot (MissingGreenlet), so here a refresh is awaited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from target_app import statements
from target_app.models import Hero, Team
from target_app.passwords import hash_password
from target_app.schemas import HeroCreate, HeroUpdate

_FOREIGN_KEY_VIOLATION = "23503"


class UnknownTeamError(Exception):
    """The hero's team does not exist."""


class HeroRepository(Protocol):
    """`None` and `False` mean that there is no such row. Writes raise UnknownTeamError."""

    async def create(self, body: HeroCreate) -> Hero: ...
    async def get(self, hero_id: int) -> Hero | None: ...
    async def page(self, *, offset: int, limit: int) -> Sequence[Hero]: ...
    async def update(self, hero_id: int, body: HeroUpdate) -> Hero | None: ...
    async def delete(self, hero_id: int) -> bool: ...
    async def team(self, team_id: int) -> Team | None: ...
    async def teams(self, *, offset: int, limit: int) -> Sequence[Team]: ...


class SyncHeroRepository(Protocol):
    """HeroRepository, waiting in its thread."""

    def create(self, body: HeroCreate) -> Hero: ...
    def get(self, hero_id: int) -> Hero | None: ...
    def page(self, *, offset: int, limit: int) -> Sequence[Hero]: ...
    def update(self, hero_id: int, body: HeroUpdate) -> Hero | None: ...
    def delete(self, hero_id: int) -> bool: ...
    def team(self, team_id: int) -> Team | None: ...
    def teams(self, *, offset: int, limit: int) -> Sequence[Team]: ...


def new_hero(body: HeroCreate) -> Hero:
    values = body.model_dump(exclude={"password"})
    return Hero(**values, hashed_password=hash_password(body.password))


def apply_changes(hero: Hero, body: HeroUpdate) -> None:
    """Set what was sent, and nothing else."""
    changes = body.changes()
    if "password" in changes:
        changes["hashed_password"] = hash_password(changes.pop("password"))
    for field, value in changes.items():
        setattr(hero, field, value)


def _write_error(error: IntegrityError) -> Exception:
    is_unknown_team = getattr(error.orig, "sqlstate", None) == _FOREIGN_KEY_VIOLATION
    return UnknownTeamError() if is_unknown_team else error


class SqlHeroRepository:
    """HeroRepository over an async session; `refresh` re-reads the row after each write."""

    def __init__(self, session: AsyncSession, *, refresh: bool) -> None:
        self._session = session
        self._refresh = refresh

    async def create(self, body: HeroCreate) -> Hero:
        hero = new_hero(body)
        self._session.add(hero)
        return await self._saved(hero)

    async def get(self, hero_id: int) -> Hero | None:
        return await self._session.scalar(statements.HERO_BY_ID, {"hero_id": hero_id})

    async def page(self, *, offset: int, limit: int) -> Sequence[Hero]:
        return (await self._session.scalars(statements.HERO_PAGE, {"offset": offset, "limit": limit})).all()

    async def update(self, hero_id: int, body: HeroUpdate) -> Hero | None:
        hero = await self.get(hero_id)
        if hero is None:
            return None
        apply_changes(hero, body)
        return await self._saved(hero)

    async def delete(self, hero_id: int) -> bool:
        deleted = await self._session.scalar(statements.MARK_HERO_DELETED, {"hero_id": hero_id})
        await self._session.commit()
        return deleted is not None

    async def team(self, team_id: int) -> Team | None:
        return await self._session.scalar(statements.TEAM_BY_ID, {"team_id": team_id})

    async def teams(self, *, offset: int, limit: int) -> Sequence[Team]:
        return (await self._session.scalars(statements.TEAM_PAGE, {"offset": offset, "limit": limit})).all()

    async def _saved(self, hero: Hero) -> Hero:
        try:
            await self._session.commit()
        except IntegrityError as error:
            raise _write_error(error) from error
        if self._refresh:
            await self._session.refresh(hero)
        return hero


class SqlSyncHeroRepository:
    """SyncHeroRepository over a session; `refresh` re-reads the row after each write."""

    def __init__(self, session: Session, *, refresh: bool) -> None:
        self._session = session
        self._refresh = refresh

    def create(self, body: HeroCreate) -> Hero:
        hero = new_hero(body)
        self._session.add(hero)
        return self._saved(hero)

    def get(self, hero_id: int) -> Hero | None:
        return self._session.scalar(statements.HERO_BY_ID, {"hero_id": hero_id})

    def page(self, *, offset: int, limit: int) -> Sequence[Hero]:
        return self._session.scalars(statements.HERO_PAGE, {"offset": offset, "limit": limit}).all()

    def update(self, hero_id: int, body: HeroUpdate) -> Hero | None:
        hero = self.get(hero_id)
        if hero is None:
            return None
        apply_changes(hero, body)
        return self._saved(hero)

    def delete(self, hero_id: int) -> bool:
        deleted = self._session.scalar(statements.MARK_HERO_DELETED, {"hero_id": hero_id})
        self._session.commit()
        return deleted is not None

    def team(self, team_id: int) -> Team | None:
        return self._session.scalar(statements.TEAM_BY_ID, {"team_id": team_id})

    def teams(self, *, offset: int, limit: int) -> Sequence[Team]:
        return self._session.scalars(statements.TEAM_PAGE, {"offset": offset, "limit": limit}).all()

    def _saved(self, hero: Hero) -> Hero:
        try:
            self._session.commit()
        except IntegrityError as error:
            raise _write_error(error) from error
        if self._refresh:
            self._session.refresh(hero)
        return hero
