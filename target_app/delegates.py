"""Repositories that perform each operation in another way, whatever the operation is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import methodcaller
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from target_app.database import AsyncDatabase, SyncDatabase
from target_app.repository import Behaviour, HeroRepository, SyncHeroRepository
from target_app.sql_repository import SqlHeroRepository
from target_app.sql_sync_repository import SqlSyncHeroRepository

Operation = Callable[[Any], Any]
"""takes a repository and calls one of its methods"""


class _Delegate:
    """Has every method a repository has: `perform` gets the call and finds a repository for it."""

    def __init__(self, perform: Callable[[Operation], Any]) -> None:
        self._perform = perform

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def method(*args: Any, **kwargs: Any) -> Any:
            return self._perform(methodcaller(name, *args, **kwargs))

        return method


def async_repository(session: AsyncSession, behaviour: Behaviour) -> HeroRepository:
    """Each statement awaited, or a whole operation of the sync repository in the greenlet of run_sync."""
    if not behaviour.run_sync:
        return SqlHeroRepository(session, behaviour)

    async def perform(operation: Operation) -> Any:
        return await session.run_sync(lambda inner: operation(SqlSyncHeroRepository(inner, behaviour)))

    return cast("HeroRepository", _Delegate(perform))


def async_repository_per_operation(database: AsyncDatabase) -> HeroRepository:
    """A session for each operation: its connection is back before anything else is done."""

    async def perform(operation: Callable[[Any], Awaitable[Any]]) -> Any:
        async with database.sessions() as session:
            return await operation(async_repository(session, database.behaviour))

    return cast("HeroRepository", _Delegate(perform))


def sync_repository(session: Session, behaviour: Behaviour) -> SyncHeroRepository:
    return SqlSyncHeroRepository(session, behaviour)


def sync_repository_per_operation(database: SyncDatabase) -> SyncHeroRepository:
    """A session for each operation: its connection is back before anything else is done."""

    def perform(operation: Operation) -> Any:
        with database.sessions() as session:
            return operation(sync_repository(session, database.behaviour))

    return cast("SyncHeroRepository", _Delegate(perform))
