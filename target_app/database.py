"""The engine, its pool and the session of each request, as the settings ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from target_app.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncDatabase:
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    refresh_after_write: bool

    async def prewarm(self, connections: int) -> None:
        """Open that many connections at once and return them to the pool. Raises what the first failure raised."""
        try:
            async with AsyncExitStack() as held, asyncio.TaskGroup() as tasks:
                for _ in range(connections):
                    tasks.create_task(held.enter_async_context(self.engine.connect()))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def close(self) -> None:
        await self.engine.dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDatabase:
    engine: Engine
    sessions: sessionmaker[Session]
    refresh_after_write: bool

    async def prewarm(self, connections: int) -> None:
        """Open that many connections at once and return them to the pool. Raises what the first failure raised."""
        await run_in_threadpool(self._prewarm, connections)

    async def close(self) -> None:
        await run_in_threadpool(self.engine.dispose)

    def _prewarm(self, connections: int) -> None:
        with ExitStack() as held, ThreadPoolExecutor(connections) as threads:
            list(threads.map(lambda _: held.enter_context(self.engine.connect()), range(connections)))


def connect_database(settings: Settings) -> AsyncDatabase | SyncDatabase:
    """Make the engine for the driver mode. No connection is opened yet."""
    drivername = "postgresql+asyncpg" if settings.driver == "asyncpg" else "postgresql+psycopg"
    url = settings.url.set(drivername=drivername)
    options = {
        "isolation_level": settings.isolation,
        "connect_args": connect_args(settings, drivername),
        **pool_options(settings),
    }
    if settings.is_async:
        async_engine = create_async_engine(url, **options)
        return AsyncDatabase(
            engine=async_engine,
            sessions=async_sessionmaker(async_engine, expire_on_commit=settings.expire_on_commit),
            # An object emptied by the commit cannot be read again from an attribute access here.
            refresh_after_write=settings.refresh_after_write or settings.expire_on_commit,
        )
    engine = create_engine(url, **options)
    return SyncDatabase(
        engine=engine,
        sessions=sessionmaker(engine, expire_on_commit=settings.expire_on_commit),
        refresh_after_write=settings.refresh_after_write,
    )


def admin_engine(settings: Settings) -> AsyncEngine:
    """A plain engine without a pool for migrations and seeding: only the address and TLS come from the settings."""
    url = settings.url.set(drivername="postgresql+asyncpg")
    return create_async_engine(url, poolclass=NullPool, connect_args=connect_args(settings, url.drivername))


def connect_args(settings: Settings, drivername: str) -> dict[str, Any]:
    """What the driver's own `connect` is told; the TLS mode always, since their defaults differ."""
    if drivername == "postgresql+asyncpg":
        return {"ssl": settings.ssl_mode, "server_settings": {"application_name": settings.application_name}}
    return {"sslmode": settings.ssl_mode, "application_name": settings.application_name}


def pool_options(settings: Settings) -> dict[str, Any]:
    if settings.pool_class == "null":
        return {"poolclass": NullPool}
    return {
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_timeout": settings.pool_timeout_s,
        "pool_recycle": settings.pool_recycle_s,
        "pool_pre_ping": settings.pool_pre_ping,
        "pool_use_lifo": settings.pool_use_lifo,
    }


async def get_db(request: Request) -> AsyncIterator[AsyncSession]:
    """One session for the request: rolled back on an exception, closed in any case."""
    database: AsyncDatabase = request.app.state.database
    session = database.sessions()
    try:
        yield session
    except Exception:
        await session.rollback()
        raise
    finally:
        await session.close()


def get_db_sync(request: Request) -> Iterator[Session]:
    """get_db for def endpoints: FastAPI enters and leaves it in the threadpool."""
    database: SyncDatabase = request.app.state.database
    session = database.sessions()
    try:
        yield session
    except Exception:
        session.rollback()
        raise
    finally:
        session.close()


async def get_db_blocking(request: Request) -> AsyncIterator[Session]:
    """get_db with a sync session on the event loop: while it talks to Postgres, nothing else runs."""
    with contextmanager(get_db_sync)(request) as session:
        yield session
