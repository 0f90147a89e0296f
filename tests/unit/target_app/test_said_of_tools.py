"""What is said of the tools around the service: Alembic, and clients to test with."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_alembic_has_no_context_for_async() -> None:
    """Its migrations run inside `run_sync` of an async connection, as in target_app/migrations/env.py."""
    from alembic.runtime import migration

    assert not hasattr(migration, "AsyncMigrationContext")
    assert hasattr(migration, "MigrationContext")


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:Using `httpx` with")
async def test_a_testclient_in_an_async_test_serves_from_another_loop() -> None:
    """A pool's connections belong to the loop that opened them, so it has to be asked through ASGITransport."""
    from fastapi.testclient import TestClient

    app = FastAPI()
    seen: list[asyncio.AbstractEventLoop] = []

    @app.get("/")
    async def note() -> None:
        seen.append(asyncio.get_running_loop())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        await client.get("/")
    TestClient(app).get("/")

    assert [loop is asyncio.get_running_loop() for loop in seen] == [True, False]
    with pytest.raises(TypeError, match="app"):
        httpx.AsyncClient(app=app)  # type: ignore[call-arg]  # as articles have it; httpx no longer does
