"""The engine, its pool and its sessions, as the settings ask for them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from target_app.connecting import connect_args, pool_options, psycopg_pool_options
from target_app.repository import Behaviour
from target_app.settings import Settings

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncDatabase:
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    behaviour: Behaviour
    driver_pool: AsyncConnectionPool | None = None
    """psycopg's own, where it is used"""

    async def open(self, *, prewarm: int) -> None:
        """Open that many connections at once and return them to the pool. Raises what the first failure raised."""
        if self.driver_pool is not None:
            await self.driver_pool.open(wait=prewarm > 0, timeout=self.driver_pool.timeout)
            return
        try:
            async with AsyncExitStack() as held, asyncio.TaskGroup() as tasks:
                for _ in range(prewarm):
                    tasks.create_task(held.enter_async_context(self.engine.connect()))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def close(self) -> None:
        await self.engine.dispose()
        if self.driver_pool is not None:
            await self.driver_pool.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDatabase:
    engine: Engine
    sessions: sessionmaker[Session]
    behaviour: Behaviour
    driver_pool: ConnectionPool | None = None
    """psycopg's own, where it is used"""

    async def open(self, *, prewarm: int) -> None:
        """Open that many connections at once and return them to the pool. Raises what the first failure raised."""
        if self.driver_pool is not None:
            await run_in_threadpool(self.driver_pool.open, wait=prewarm > 0, timeout=self.driver_pool.timeout)
        elif prewarm:
            await run_in_threadpool(self._prewarm, prewarm)

    async def close(self) -> None:
        await run_in_threadpool(self.engine.dispose)
        if self.driver_pool is not None:
            await run_in_threadpool(self.driver_pool.close)

    def _prewarm(self, connections: int) -> None:
        with ExitStack() as held, ThreadPoolExecutor(connections) as threads:
            list(threads.map(lambda _: held.enter_context(self.engine.connect()), range(connections)))


def connect_database(settings: Settings) -> AsyncDatabase | SyncDatabase:
    """Make the engine for the driver mode. No connection is opened yet."""
    url = settings.url.set(drivername=settings.drivername)
    options = {
        "isolation_level": settings.isolation,
        "connect_args": connect_args(settings, settings.drivername),
        **pool_options(settings),
    }
    if settings.is_async:
        async_pool = _async_driver_pool(settings)
        if async_pool is not None:
            options["async_creator"] = async_pool.getconn
        async_engine = create_async_engine(url, **options)
        return AsyncDatabase(
            engine=async_engine,
            sessions=async_sessionmaker(async_engine, expire_on_commit=settings.expire_on_commit),
            behaviour=behaviour_of(settings),
            driver_pool=async_pool,
        )
    pool = _driver_pool(settings)
    if pool is not None:
        options["creator"] = pool.getconn
    engine = create_engine(url, **options)
    return SyncDatabase(
        engine=engine,
        sessions=sessionmaker(engine, expire_on_commit=settings.expire_on_commit),
        behaviour=behaviour_of(settings),
        driver_pool=pool,
    )


def admin_engine(settings: Settings) -> AsyncEngine:
    """A plain engine without a pool for migrations and seeding, which take the time they need."""
    url = settings.url.set(drivername="postgresql+asyncpg")
    patient = settings.model_copy(update={"statement_timeout_ms": 0, "idle_in_transaction_session_timeout_ms": 0})
    return create_async_engine(url, poolclass=NullPool, connect_args=connect_args(patient, url.drivername))


def behaviour_of(settings: Settings) -> Behaviour:
    # An object emptied by the commit can only be read again from an attribute by a sync session that is still open.
    unreadable = settings.expire_on_commit and (settings.is_async or settings.session_scope == "operation")
    return Behaviour(
        refresh=settings.refresh_after_write or unreadable,
        returning=settings.returning,
        commit=settings.mistake != "missing_commit",
        autocommit=settings.isolation == "AUTOCOMMIT",
        autocommit_reads=settings.autocommit_reads,
        update_mode=settings.update_mode,
        hard_delete=settings.delete_mode == "hard",
        run_sync=settings.repository == "run_sync",
    )


def _driver_pool(settings: Settings) -> ConnectionPool | None:
    if settings.pool_class != "psycopg_pool":
        return None
    from psycopg_pool import ConnectionPool

    check = ConnectionPool.check_connection if settings.pool_pre_ping else None
    return ConnectionPool(check=check, **psycopg_pool_options(settings))


def _async_driver_pool(settings: Settings) -> AsyncConnectionPool | None:
    if settings.pool_class != "psycopg_pool":
        return None
    from psycopg_pool import AsyncConnectionPool

    check = AsyncConnectionPool.check_connection if settings.pool_pre_ping else None
    return AsyncConnectionPool(check=check, **psycopg_pool_options(settings))
