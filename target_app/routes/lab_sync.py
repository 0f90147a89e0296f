"""Endpoints that do on purpose what pools suffer from, over a sync session. Offered with LAB=true only.

The session `db` lives as the setting session_scope says ("operation" means "function" here).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlalchemy.orm import Session

from target_app import statements
from target_app.database import SyncDatabase
from target_app.models import Hero
from target_app.repository import AUTOCOMMIT, TRANSACTION, new_hero
from target_app.routes.dependencies import SyncDb
from target_app.routes.parameters import BurntMilliseconds, Events, Kibibytes, LockKey, Milliseconds
from target_app.schemas import HeroCreate
from target_app.sessions import get_db_and_commit_sync

router = APIRouter()


@router.get("/lab/heartbeat")
async def heartbeat() -> dict[str, str]:
    """Nothing but the event loop's turn: its latency is how long the loop was blocked."""
    return {"status": "ok"}


@router.get("/lab/burn")
def burn_cpu(ms: BurntMilliseconds = 10) -> dict[str, int]:
    """Computing where the endpoint runs: on the event loop, or in a def endpoint's thread."""
    end_s = time.thread_time() + ms / 1000
    while time.thread_time() < end_s:
        pass
    return {"ms": ms}


@router.get("/lab/sleep")
def sleep_in_database(db: SyncDb, ms: Milliseconds = 10) -> dict[str, int]:
    """A query that takes its time."""
    db.execute(statements.SLEEP, {"seconds": ms / 1000})
    return {"ms": ms}


@router.get("/lab/lock")
def hold_lock(db: SyncDb, key: LockKey = 1, ms: Milliseconds = 10) -> dict[str, int]:
    """Wait for a lock and hold it: requests for the same one come one after the other."""
    db.execute(statements.LOCK, {"key": key})
    db.execute(statements.SLEEP, {"seconds": ms / 1000})
    return {"ms": ms}


@router.get("/lab/idle")
def hold_idle(db: SyncDb, ms: Milliseconds = 10, transaction: bool = True) -> dict[str, int]:
    """A connection held while nothing is asked of it, in a transaction or in none."""
    db.connection(execution_options=TRANSACTION if transaction else AUTOCOMMIT)
    db.execute(statements.NOTHING)
    time.sleep(ms / 1000)
    db.execute(statements.NOTHING)
    return {"ms": ms}


@router.get("/lab/outside")
def wait_outside(db: SyncDb, ms: Milliseconds = 10, release: bool = False) -> dict[str, int]:
    """Two queries and a call to somewhere else between them, the connection kept or given back meanwhile."""
    db.execute(statements.NOTHING)
    if release:
        db.commit()
    time.sleep(ms / 1000)
    db.execute(statements.NOTHING)
    return {"ms": ms}


@router.get("/lab/two-sessions")
def use_two_sessions(request: Request, db: SyncDb, ms: Milliseconds = 10) -> dict[str, int]:
    """A second connection wanted while the first is held: as many such requests as connections wait for each other."""
    database: SyncDatabase = request.app.state.database
    db.execute(statements.NOTHING)
    with database.sessions() as other:
        other.execute(statements.SLEEP, {"seconds": ms / 1000})
    return {"ms": ms}


@router.get("/lab/stream", response_class=StreamingResponse)
def stream_heroes(db: SyncDb, events: Events = 10, gap_ms: Milliseconds = 10) -> StreamingResponse:
    """Server-sent events, all read before the first is sent: a session of request scope is held until the last."""
    heroes = db.scalars(statements.HERO_PAGE_AFTER, {"after": 0, "limit": events}).all()
    names = [hero.name for hero in heroes]
    return StreamingResponse(_events(names, gap_ms), media_type="text/event-stream")


def _events(names: list[str], gap_ms: int) -> Iterator[str]:
    for name in names:
        yield f"data: {name}\n\n"
        time.sleep(gap_ms / 1000)


@router.get("/lab/body", response_class=PlainTextResponse)
def send_large_body(db: SyncDb, kib: Kibibytes = 1) -> PlainTextResponse:
    """A long answer: a session of request scope is held until the client has taken it."""
    db.execute(statements.NOTHING)
    return PlainTextResponse("x" * 1024 * kib)


@router.post("/lab/background", status_code=202)
def work_in_background(
    request: Request, tasks: BackgroundTasks, db: SyncDb, ms: Milliseconds = 10, leak: bool = False
) -> dict[str, int]:
    """A task after the answer with a session of its own: closed, or leaked until DELETE /lab/leaks.

    A session of request scope is held as long as the task runs, too.
    """
    db.execute(statements.NOTHING)
    tasks.add_task(_leak if leak else _work, request.app.state, ms)
    return {"ms": ms}


def _work(state: Any, ms: int) -> None:
    database: SyncDatabase = state.database
    with database.sessions() as session:
        session.execute(statements.SLEEP, {"seconds": ms / 1000})


def _leak(state: Any, ms: int) -> None:
    """The mistake: a session from the factory that nobody closes, still referenced, in a transaction."""
    session = state.database.sessions()
    state.leaked_sessions.append(session)
    session.execute(statements.SLEEP, {"seconds": ms / 1000})


@router.delete("/lab/leaks")
def close_leaks(request: Request) -> dict[str, int]:
    """Close every leaked session."""
    leaked: list[Session] = request.app.state.leaked_sessions
    closed = 0
    while leaked:
        leaked.pop().close()
        closed += 1
    return {"closed": closed}


@router.post("/lab/commit-after-response", status_code=201)
def commit_after_response(body: HeroCreate, db: Annotated[Session, Depends(get_db_and_commit_sync)]) -> dict[str, str]:
    """The mistake: the row is written after this has said that it was, if it can be."""
    return _add(db, body)


@router.post("/lab/commit-before-response", status_code=201)
def commit_before_response(
    body: HeroCreate, db: Annotated[Session, Depends(get_db_and_commit_sync, scope="function")]
) -> dict[str, str]:
    """The same dependency, in function scope: what cannot be committed is not answered with 201."""
    return _add(db, body)


def _add(db: Session, body: HeroCreate) -> dict[str, str]:
    hero: Hero = new_hero(body)
    db.add(hero)
    return {"name": hero.name}
