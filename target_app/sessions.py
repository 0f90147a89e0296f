"""The session of each request: opened, yielded once, rolled back on an exception, closed in any case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.requests import Request

from target_app.database import AsyncDatabase, SyncDatabase
from target_app.repository import refusals


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


# A trap that many services fall into, offered in /lab: what comes after yield in a dependency of request scope runs
# when the answer has been sent, so a commit that fails there fails behind the caller's back.


async def get_db_and_commit(request: Request) -> AsyncIterator[AsyncSession]:
    """A session whose changes are committed after yield."""
    database: AsyncDatabase = request.app.state.database
    async with database.sessions() as session:
        yield session
        with refusals():
            await session.commit()


def get_db_and_commit_sync(request: Request) -> Iterator[Session]:
    """The same for def endpoints."""
    database: SyncDatabase = request.app.state.database
    with database.sessions() as session:
        yield session
        with refusals():
            session.commit()


# The mistake global_session, for measuring what it does: everybody reads, writes and rolls back in everybody's
# transaction, sees what was loaded once, and nobody closes it.


async def get_db_of_everybody(request: Request) -> AsyncSession:
    state = request.app.state
    if not hasattr(state, "global_session"):
        state.global_session = state.database.sessions()
    session: AsyncSession = state.global_session
    return session


async def get_db_of_everybody_sync(request: Request) -> Session:
    state = request.app.state
    if not hasattr(state, "global_session"):
        state.global_session = state.database.sessions()
    session: Session = state.global_session
    return session
