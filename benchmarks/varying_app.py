"""A service whose requests take what follows from nothing, data, a cache and chance, and MORE statements each."""

from __future__ import annotations

import os
import random
import time

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

CACHED_S = 0.3


def make_app() -> FastAPI:
    """Make the service, with a cache that is empty."""
    app = FastAPI()
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:", 1))
    more = int(os.environ.get("MORE", "0"))
    cached_until_s: dict[int, float] = {}

    async def take(statements: int) -> dict[str, int]:
        async with engine.connect() as connection:
            for _ in range(statements + more):
                await connection.execute(text("SELECT 1"))
        return {"statements": statements}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/plain")
    async def plain() -> dict[str, int]:
        return await take(2)

    @app.get("/rows/{rows}")
    async def one_for_each_row(rows: int) -> dict[str, int]:
        return await take(1 + rows)

    @app.get("/cached/{key}")
    async def cached(key: int) -> dict[str, int]:
        hit = time.monotonic() < cached_until_s.get(key, 0.0)
        if not hit:
            cached_until_s[key] = time.monotonic() + CACHED_S
        return await take(1 if hit else 2)

    @app.get("/chance")
    async def chance() -> dict[str, int]:
        return await take(1 + (random.random() < 0.3))

    return app
