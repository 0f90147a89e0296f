"""Where endpoints get their session or repository from: one way for each life a session can have.

The endpoints are written with the usual one, a session for the request, closed once the response was sent. The other
settings put another annotation in its place (see rebinding): a dependency's scope is fixed where it is declared.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from target_app.delegates import (
    async_repository,
    async_repository_per_operation,
    sync_repository,
    sync_repository_per_operation,
)
from target_app.repository import HeroRepository, SyncHeroRepository
from target_app.sessions import get_db, get_db_blocking, get_db_of_everybody, get_db_of_everybody_sync, get_db_sync
from target_app.settings import Settings

# async def throughout, although most await nothing: a def dependency would take a trip through the threadpool to build
# an object.

AsyncDb = Annotated[AsyncSession, Depends(get_db)]
AsyncDbInFunction = Annotated[AsyncSession, Depends(get_db, scope="function")]
AsyncDbOfEverybody = Annotated[AsyncSession, Depends(get_db_of_everybody)]
SyncDb = Annotated[Session, Depends(get_db_sync)]
SyncDbInFunction = Annotated[Session, Depends(get_db_sync, scope="function")]
SyncDbOfEverybody = Annotated[Session, Depends(get_db_of_everybody_sync)]
BlockingDb = Annotated[Session, Depends(get_db_blocking)]
BlockingDbInFunction = Annotated[Session, Depends(get_db_blocking, scope="function")]


async def get_heroes(request: Request, session: AsyncDb) -> HeroRepository:
    return async_repository(session, request.app.state.database.behaviour)


async def get_heroes_in_function(request: Request, session: AsyncDbInFunction) -> HeroRepository:
    return async_repository(session, request.app.state.database.behaviour)


async def get_heroes_of_everybody(request: Request, session: AsyncDbOfEverybody) -> HeroRepository:
    return async_repository(session, request.app.state.database.behaviour)


async def get_heroes_per_operation(request: Request) -> HeroRepository:
    return async_repository_per_operation(request.app.state.database)


async def get_heroes_sync(request: Request, session: SyncDb) -> SyncHeroRepository:
    return sync_repository(session, request.app.state.database.behaviour)


async def get_heroes_sync_in_function(request: Request, session: SyncDbInFunction) -> SyncHeroRepository:
    return sync_repository(session, request.app.state.database.behaviour)


async def get_heroes_sync_of_everybody(request: Request, session: SyncDbOfEverybody) -> SyncHeroRepository:
    return sync_repository(session, request.app.state.database.behaviour)


async def get_heroes_sync_per_operation(request: Request) -> SyncHeroRepository:
    return sync_repository_per_operation(request.app.state.database)


async def get_heroes_blocking(request: Request, session: BlockingDb) -> SyncHeroRepository:
    return sync_repository(session, request.app.state.database.behaviour)


async def get_heroes_blocking_in_function(request: Request, session: BlockingDbInFunction) -> SyncHeroRepository:
    return sync_repository(session, request.app.state.database.behaviour)


Heroes = Annotated[HeroRepository, Depends(get_heroes)]
HeroesInFunction = Annotated[HeroRepository, Depends(get_heroes_in_function)]
HeroesOfEverybody = Annotated[HeroRepository, Depends(get_heroes_of_everybody)]
HeroesPerOperation = Annotated[HeroRepository, Depends(get_heroes_per_operation)]
SyncHeroes = Annotated[SyncHeroRepository, Depends(get_heroes_sync)]
SyncHeroesInFunction = Annotated[SyncHeroRepository, Depends(get_heroes_sync_in_function)]
SyncHeroesOfEverybody = Annotated[SyncHeroRepository, Depends(get_heroes_sync_of_everybody)]
SyncHeroesPerOperation = Annotated[SyncHeroRepository, Depends(get_heroes_sync_per_operation)]
BlockingHeroes = Annotated[SyncHeroRepository, Depends(get_heroes_blocking)]
BlockingHeroesInFunction = Annotated[SyncHeroRepository, Depends(get_heroes_blocking_in_function)]


class Annotations(NamedTuple):
    """What an endpoint's parameters ask for: the repository, or the bare session."""

    heroes: Any
    db: Any


ASYNC = Annotations(Heroes, AsyncDb)
SYNC = Annotations(SyncHeroes, SyncDb)
"""What the endpoints are written with."""

_BY_LIFE = {
    "async": {
        "request": ASYNC,
        "function": Annotations(HeroesInFunction, AsyncDbInFunction),
        "operation": Annotations(HeroesPerOperation, AsyncDbInFunction),
        "global": Annotations(HeroesOfEverybody, AsyncDbOfEverybody),
    },
    "sync": {
        "request": SYNC,
        "function": Annotations(SyncHeroesInFunction, SyncDbInFunction),
        "operation": Annotations(SyncHeroesPerOperation, SyncDbInFunction),
        "global": Annotations(SyncHeroesOfEverybody, SyncDbOfEverybody),
    },
    "blocking": {
        "request": Annotations(BlockingHeroes, BlockingDb),
        "function": Annotations(BlockingHeroesInFunction, BlockingDbInFunction),
        "operation": Annotations(SyncHeroesPerOperation, BlockingDbInFunction),
        "global": Annotations(SyncHeroesOfEverybody, SyncDbOfEverybody),
    },
}


def annotations_for(settings: Settings) -> Annotations:
    """What takes the place of ASYNC or SYNC with these settings."""
    waiting = "async" if settings.is_async else "blocking" if settings.driver == "psycopg_blocking" else "sync"
    life = "global" if settings.mistake == "global_session" else settings.session_scope
    return _BY_LIFE[waiting][life]
