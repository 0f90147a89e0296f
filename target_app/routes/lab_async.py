"""Endpoints that do on purpose what pools suffer from, over an async session. Offered with LAB=true only.

The session `db` lives as the setting session_scope says ("operation" means "function" here).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession

from target_app import statements
from target_app.database import AsyncDatabase
from target_app.models import Hero
from target_app.repository import AUTOCOMMIT, TRANSACTION, new_hero
from target_app.routes.dependencies import AsyncDb
from target_app.routes.parameters import BurntMilliseconds, Events, Kibibytes, LockKey, Milliseconds
from target_app.schemas import HeroCreate
from target_app.sessions import get_db_and_commit

router = APIRouter()


@router.get("/lab/heartbeat")
async def heartbeat() -> dict[str, str]:
    """Nothing but the event loop's turn: its latency is how long the loop was blocked."""
    return {"status": "ok"}


@router.get("/lab/burn")
async def burn_cpu(ms: BurntMilliseconds = 10) -> dict[str, int]:
    """Computing where the endpoint runs: on the event loop, or in a def endpoint's thread."""
    end_s = time.thread_time() + ms / 1000
    while time.thread_time() < end_s:
        pass
    return {"ms": ms}


@router.get("/lab/sleep")
async def sleep_in_database(db: AsyncDb, ms: Milliseconds = 10) -> dict[str, int]:
    """A query that takes its time."""
    await db.execute(statements.SLEEP, {"seconds": ms / 1000})
    return {"ms": ms}


@router.get("/lab/lock")
async def hold_lock(db: AsyncDb, key: LockKey = 1, ms: Milliseconds = 10) -> dict[str, int]:
    """Wait for a lock and hold it: requests for the same one come one after the other."""
    await db.execute(statements.LOCK, {"key": key})
    await db.execute(statements.SLEEP, {"seconds": ms / 1000})
    return {"ms": ms}


@router.get("/lab/idle")
async def hold_idle(db: AsyncDb, ms: Milliseconds = 10, transaction: bool = True) -> dict[str, int]:
    """A connection held while nothing is asked of it, in a transaction or in none."""
    await db.connection(execution_options=TRANSACTION if transaction else AUTOCOMMIT)
    await db.execute(statements.NOTHING)
    await asyncio.sleep(ms / 1000)
    await db.execute(statements.NOTHING)
    return {"ms": ms}


@router.get("/lab/outside")
async def wait_outside(db: AsyncDb, ms: Milliseconds = 10, release: bool = False) -> dict[str, int]:
    """Two queries and a call to somewhere else between them, the connection kept or given back meanwhile."""
    await db.execute(statements.NOTHING)
    if release:
        await db.commit()
    await asyncio.sleep(ms / 1000)
    await db.execute(statements.NOTHING)
    return {"ms": ms}


@router.get("/lab/two-sessions")
async def use_two_sessions(request: Request, db: AsyncDb, ms: Milliseconds = 10) -> dict[str, int]:
    """A second connection wanted while the first is held: as many such requests as connections wait for each other."""
    database: AsyncDatabase = request.app.state.database
    await db.execute(statements.NOTHING)
    async with database.sessions() as other:
        await other.execute(statements.SLEEP, {"seconds": ms / 1000})
    return {"ms": ms}


@router.get("/lab/stream", response_class=StreamingResponse)
async def stream_heroes(db: AsyncDb, events: Events = 10, gap_ms: Milliseconds = 10) -> StreamingResponse:
    """Server-sent events, all read before the first is sent: a session of request scope is held until the last."""
    heroes = (await db.scalars(statements.HERO_PAGE_AFTER, {"after": 0, "limit": events})).all()
    names = [hero.name for hero in heroes]
    return StreamingResponse(_events(names, gap_ms), media_type="text/event-stream")


async def _events(names: list[str], gap_ms: int) -> AsyncIterator[str]:
    for name in names:
        yield f"data: {name}\n\n"
        await asyncio.sleep(gap_ms / 1000)


@router.get("/lab/body", response_class=PlainTextResponse)
async def send_large_body(db: AsyncDb, kib: Kibibytes = 1) -> PlainTextResponse:
    """A long answer: a session of request scope is held until the client has taken it."""
    await db.execute(statements.NOTHING)
    return PlainTextResponse("x" * 1024 * kib)


@router.post("/lab/background", status_code=202)
async def work_in_background(
    request: Request, tasks: BackgroundTasks, db: AsyncDb, ms: Milliseconds = 10, leak: bool = False
) -> dict[str, int]:
    """A task after the answer with a session of its own: closed, or leaked until DELETE /lab/leaks.

    A session of request scope is held as long as the task runs, too.
    """
    await db.execute(statements.NOTHING)
    tasks.add_task(_leak if leak else _work, request.app.state, ms)
    return {"ms": ms}


async def _work(state: Any, ms: int) -> None:
    database: AsyncDatabase = state.database
    async with database.sessions() as session:
        await session.execute(statements.SLEEP, {"seconds": ms / 1000})


async def _leak(state: Any, ms: int) -> None:
    """The mistake: a session from the factory that nobody closes, still referenced, in a transaction."""
    session = state.database.sessions()
    state.leaked_sessions.append(session)
    await session.execute(statements.SLEEP, {"seconds": ms / 1000})


@router.delete("/lab/leaks")
async def close_leaks(request: Request) -> dict[str, int]:
    """Close every leaked session."""
    leaked: list[AsyncSession] = request.app.state.leaked_sessions
    closed = 0
    while leaked:
        await leaked.pop().close()
        closed += 1
    return {"closed": closed}


@router.post("/lab/commit-after-response", status_code=201)
async def commit_after_response(
    body: HeroCreate, db: Annotated[AsyncSession, Depends(get_db_and_commit)]
) -> dict[str, str]:
    """The mistake: the row is written after this has said that it was, if it can be."""
    return _add(db, body)


@router.post("/lab/commit-before-response", status_code=201)
async def commit_before_response(
    body: HeroCreate, db: Annotated[AsyncSession, Depends(get_db_and_commit, scope="function")]
) -> dict[str, str]:
    """The same dependency, in function scope: what cannot be committed is not answered with 201."""
    return _add(db, body)


def _add(db: AsyncSession, body: HeroCreate) -> dict[str, str]:
    hero: Hero = new_hero(body)
    db.add(hero)
    return {"name": hero.name}
