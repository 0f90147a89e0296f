"""A service that answers 429 beyond LIMIT_RPS requests a second, and to the others after a query of 50 ms."""

from __future__ import annotations

import asyncio
import os
import time

from fastapi import FastAPI, HTTPException
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

QUERY = text("SELECT pg_sleep(0.05)")


def make_app() -> FastAPI:
    """Make the service, whose limiter is a bucket of a quarter of a second."""
    app = FastAPI()
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:", 1))
    limit_rps = float(os.environ["LIMIT_RPS"])
    most = limit_rps / 4
    bucket = {"tokens": most, "filled_s": time.monotonic()}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/limited")
    async def limited() -> dict[str, str]:
        now_s = time.monotonic()
        bucket["tokens"] = min(most, bucket["tokens"] + limit_rps * (now_s - bucket["filled_s"]))
        bucket["filled_s"] = now_s
        if bucket["tokens"] < 1:
            await asyncio.sleep(0.05)  # who is refused asks again at once
            raise HTTPException(status_code=429)
        bucket["tokens"] -= 1
        async with engine.connect() as connection:
            await connection.execute(QUERY)
        return {"status": "ok"}

    return app
