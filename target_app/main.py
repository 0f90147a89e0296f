"""The service: `uvicorn --factory target_app.main:create_app`."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from target_app.database import connect_database
from target_app.errors import add_error_handlers
from target_app.routes import router_for
from target_app.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application with an engine of its own. Without settings, the environment is read (see load_settings)."""
    settings = settings or load_settings()
    app = FastAPI(title="Heroes", lifespan=_lifespan)
    app.state.settings = settings
    app.state.database = connect_database(settings)
    app.add_api_route("/health", health)
    app.include_router(router_for(settings.driver))
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
    try:
        if settings.pool_prewarm and settings.pool_class == "queue":
            await database.prewarm(settings.pool_size)
        if settings.gc_freeze:
            gc.collect()
            gc.freeze()
        yield
    finally:
        await database.close()
