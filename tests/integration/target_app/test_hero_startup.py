"""What happens between start and stop: prewarmed pool, thread tokens, frozen heap, and the real server."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from anyio.to_thread import current_default_thread_limiter
from sqlalchemy import make_url

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_prewarm_opens_the_whole_pool_at_once_and_returns_it(serve: Any, driver: str) -> None:
    async with serve(driver=driver, pool_prewarm=True, pool_size=4, max_overflow=0) as client:
        pool = client.app.state.database.engine.pool

        assert (pool.checkedin(), pool.checkedout()) == (4, 0)


async def test_a_prewarm_that_fails_fails_the_start(serve: Any, driver: str, seeded_url: str) -> None:
    url = make_url(seeded_url).set(database="no_such_database").render_as_string(hide_password=False)

    with pytest.raises(Exception, match='database "no_such_database" does not exist') as failure:
        async with serve(driver=driver, pool_prewarm=True, database_url=url):
            pass

    assert not isinstance(failure.value, ExceptionGroup)


async def test_without_prewarm_no_connection_is_opened(serve: Any, driver: str) -> None:
    async with serve(driver=driver) as client:
        assert client.app.state.database.engine.pool.checkedin() == 0


async def test_a_null_pool_keeps_nothing(serve: Any, driver: str, seeded_url: str) -> None:
    name = f"null {driver}"
    async with serve(driver=driver, pool_class="null", pool_prewarm=True, application_name=name) as client:
        assert (await client.get("/heroes/1")).status_code == 200
        assert connections_of(seeded_url, name, expected=0) == 0


async def test_stopping_closes_every_connection(serve: Any, driver: str, seeded_url: str) -> None:
    name = f"stopping {driver}"
    async with serve(driver=driver, pool_prewarm=True, pool_size=3, application_name=name):
        assert connections_of(seeded_url, name, expected=3) == 3

    assert connections_of(seeded_url, name, expected=0) == 0


def connections_of(url: str, application_name: str, *, expected: int) -> int:
    """Connections of that name, once there are as many as expected: a closed one takes the server a moment to end."""
    deadline_s = time.monotonic() + 5
    with psycopg.connect(url, autocommit=True) as admin:
        while True:
            row = admin.execute(
                "SELECT count(*), pg_sleep(0.01) FROM pg_stat_activity WHERE application_name = %s", [application_name]
            ).fetchone()
            assert row is not None
            if row[0] == expected or time.monotonic() > deadline_s:
                return int(row[0])


async def test_thread_tokens(serve: Any) -> None:
    async with serve(threadpool_tokens=7):
        assert current_default_thread_limiter().total_tokens == 7


@pytest.mark.parametrize("freeze", [True, False])
async def test_the_heap_is_frozen_if_asked(serve: Any, freeze: bool) -> None:
    gc.unfreeze()  # what the suite itself froze
    try:
        async with serve(gc_freeze=freeze):
            assert (gc.get_freeze_count() > 10_000) == freeze
    finally:
        gc.unfreeze()


@contextmanager
def uvicorn(environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service as it is deployed, on a socket that listens already: the first request waits for the start."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        fd = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", "target_app.main:create_app", "--fd", str(fd)],
            env=environment,
            pass_fds=[fd],
            text=True,
            stderr=subprocess.PIPE,
        )
        try:
            yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.kill()
            server.wait()


def test_the_real_server_serves_and_stops(seeded_url: str, driver: str) -> None:
    environment = os.environ | {"DATABASE_URL": seeded_url, "DRIVER": driver, "APPLICATION_NAME": f"real {driver}"}
    with uvicorn(environment) as (server, base_url):
        assert httpx.get(f"{base_url}/health", timeout=30).json() == {"status": "ok"}
        assert httpx.get(f"{base_url}/heroes/1", timeout=30).json()["name"] == "Hero 1"

        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)

    assert "Traceback" not in log
    assert connections_of(seeded_url, f"real {driver}", expected=0) == 0


def test_a_wrong_environment_is_told_in_one_sentence() -> None:
    environment = {**os.environ, "POOL_SIZE": "many"}
    environment.pop("DATABASE_URL", None)
    with uvicorn(environment) as (server, _):
        _, log = server.communicate(timeout=30)

    assert server.returncode != 0
    assert "Traceback" not in log
    assert "DATABASE_URL: Field required" in log
    assert "POOL_SIZE: Input should be a valid integer" in log
