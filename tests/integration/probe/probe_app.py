"""A small service for the probe's tests: everything it does can be forced by a request. Knows nothing of the probe."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session


def create_app() -> FastAPI:
    """The app, its driver and pool from DATABASE_URL, DRIVER and POOL_SIZE."""
    driver = os.environ.get("DRIVER", "asyncpg")
    url = os.environ["DATABASE_URL"].replace("postgresql://", f"postgresql+{driver.removesuffix('_sync')}://")
    pool: dict[str, Any] = {"pool_size": int(os.environ.get("POOL_SIZE", "1")), "max_overflow": 0}
    if driver.endswith("_sync"):
        return _sync_app(url, pool)
    return _async_app(url, pool)


def _async_app(url: str, pool: dict[str, Any]) -> FastAPI:
    engine = create_async_engine(url, **pool)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    async def get_db() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session

    app = FastAPI(lifespan=lifespan)
    _common(app)

    @app.get("/query")
    async def query(
        seconds: float = 0.0,
        session: AsyncSession = Depends(get_db),  # noqa: B008 -- FastAPI's older form: get_db is local
    ) -> dict[str, float]:
        began = time.monotonic()
        await session.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})
        return {"seconds": time.monotonic() - began}

    @app.get("/background")
    async def background(tasks: BackgroundTasks, seconds: float) -> None:
        async def work() -> None:
            async with AsyncSession(engine) as session:
                await session.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})

        tasks.add_task(work)

    return app


def _sync_app(url: str, pool: dict[str, Any]) -> FastAPI:
    engine = create_engine(url, **pool)

    def get_db() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    app = FastAPI()
    _common(app)

    @app.get("/query")
    def query(
        seconds: float = 0.0,
        session: Session = Depends(get_db),  # noqa: B008 -- FastAPI's older form: get_db is local
    ) -> dict[str, float]:
        began = time.monotonic()
        session.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})
        return {"seconds": time.monotonic() - began}

    @app.get("/background")
    def background(tasks: BackgroundTasks, seconds: float) -> None:
        def work() -> None:
            with Session(engine) as session:
                session.execute(text("SELECT pg_sleep(:s)"), {"s": seconds})

        tasks.add_task(work)

    return app


def _common(app: FastAPI) -> None:
    @app.get("/ping")
    async def ping() -> dict[str, int]:
        return {"pid": os.getpid()}

    @app.get("/block")
    async def block(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 -- the mistake whose effect is measured

    @app.get("/collect")
    async def collect() -> dict[str, float]:
        began = time.monotonic()
        gc.collect()
        return {"seconds": time.monotonic() - began}

    @app.get("/stream")
    async def stream(seconds: float) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.sleep(seconds)
            yield b"last"

        return StreamingResponse(parts())

    @app.get("/thread")
    def thread(seconds: float) -> None:
        time.sleep(seconds)

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("as asked")
