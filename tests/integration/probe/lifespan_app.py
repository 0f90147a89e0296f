"""Makes its engines as it starts and keeps them on its state, one to read and one to write; sets its own threads."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:")
    app.state.reader = create_async_engine(url, pool_size=20, max_overflow=0, echo=True)
    app.state.writer = create_async_engine(url, pool_size=10, max_overflow=1)
    app.state.session = async_sessionmaker(app.state.reader, class_=AsyncSession, expire_on_commit=True)
    to_thread.current_default_thread_limiter().total_tokens = 100
    yield
    await app.state.reader.dispose()
    await app.state.writer.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/ping")
async def ping(request: Request) -> dict[str, Any]:
    state = request.app.state
    async with state.session() as session:
        await session.execute(text("SELECT 1"))
        expires = session.sync_session.expire_on_commit
    return {
        "reader": [state.reader.pool.size(), state.reader.pool._max_overflow, bool(state.reader.echo)],
        "writer": [state.writer.pool.size(), state.writer.pool._max_overflow, bool(state.writer.echo)],
        "expire_on_commit": expires,
        "threads": to_thread.current_default_thread_limiter().total_tokens,
        "frozen": gc.get_freeze_count() > 0,
    }
