"""A service that asks QUERY at each request, and keeps HELD connections of its own for nothing."""

from __future__ import annotations

import os

import psycopg
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


def make_app() -> FastAPI:
    """Make the service, which has its connections from then on."""
    address = os.environ["DATABASE_URL"]
    app = FastAPI()
    app.state.held = [psycopg.connect(address) for _ in range(int(os.environ.get("HELD", "0")))]
    engine = create_async_engine(address.replace("postgresql:", "postgresql+asyncpg:", 1))
    query = text(os.environ["QUERY"])

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/query")
    async def ask() -> dict[str, str]:
        async with engine.connect() as connection:
            await connection.execute(query)
        return {"status": "ok"}

    return app
