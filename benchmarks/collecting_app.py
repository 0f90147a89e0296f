"""A service whose every request collects garbage among many objects, as a service with a large heap does now and then.

`gc.freeze` after its start (`target.gc_freeze`) takes them out of every collection.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

OBJECTS = 200_000


def make_app() -> FastAPI:
    """The service, with its heap; started by its path."""
    heap: list[Any] = [[number] for number in range(OBJECTS)]
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:", 1))
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/collecting")
    async def collecting() -> dict[str, int]:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        gc.collect()
        return {"objects": len(heap)}

    return app
