"""The service: `uvicorn --factory target_app.main:create_app`."""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from target_app.database import connect_database
from target_app.errors import RESPONSES, add_error_handlers
from target_app.routes import routers_for
from target_app.settings import Settings, load_settings

logger = logging.getLogger("target_app")


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application with an engine of its own. Without settings, the environment is read (see load_settings)."""
    settings = settings or load_settings()
    app = FastAPI(title="Heroes", lifespan=_lifespan, responses=dict(RESPONSES), max_body_size=settings.max_body_bytes)
    app.state.settings = settings
    app.state.database = connect_database(settings)
    app.state.leaked_sessions = []  # by the lab, on purpose
    app.add_api_route("/health", health)
    for router in routers_for(settings):
        app.include_router(router)
    add_error_handlers(app)
    return app


async def health() -> dict[str, str]:
    """The process answers; says nothing about the database, whose troubles a restart would not cure."""
    return {"status": "ok"}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    database = app.state.database
    current_default_thread_limiter().total_tokens = settings.threadpool_tokens
    _warn_of_mistakes(settings)
    try:
        prewarm = settings.pool_prewarm and settings.pool_class != "null"
        await database.open(prewarm=settings.pool_size if prewarm else 0)
        if settings.gc_freeze:
            gc.collect()
            gc.freeze()
        yield
    finally:
        for session in (*app.state.leaked_sessions, getattr(app.state, "global_session", None)):
            await _close(session)
        await database.close()


async def _close(session: AsyncSession | Session | None) -> None:
    """Close what a mistake left open; Postgres would find out only when the process is gone."""
    closing = session and session.close()
    if inspect.isawaitable(closing):
        await closing


def _warn_of_mistakes(settings: Settings) -> None:
    if settings.mistake != "none":
        logger.warning("the mistake %s is switched on, to be measured", settings.mistake)
    if settings.driver == "psycopg_blocking":
        logger.warning("driver psycopg_blocking is a mistake to be measured: a sync engine on the event loop")
