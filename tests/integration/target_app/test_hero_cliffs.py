"""A cliff lies where it is foreseen: with one request less at once all are answered, from there on some give up."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import httpx
import pandas as pd
import pytest
from anyio import to_thread

from harness.analyse.cliffs import OneProcess, foresee
from harness.analyse.holds import holds_of, measured_holds
from harness.domain.cliffs import CliffKind
from harness.domain.load import Segment
from harness.domain.tables import HOLD_COLUMNS
from harness.probe.holds import hold_lines
from harness.probe.left import Endpoints
from harness.probe.process import ProcessProbe
from harness.probe.request import TimedApp
from target_app.main import create_app
from target_app.settings import Settings

pytestmark = [pytest.mark.postgres, pytest.mark.anyio]

POOL, THREADS = 3, 5
SEGMENT = Segment(
    index=2,
    launch_id="b1-c1",
    phase="measure",
    start_s=0.0,
    duration_s=1.0,
    model="closed",
    rate_rps=None,
    users=1,
    arrivals="poisson",
    seed=0,
)


async def answers(
    url: str, driver: str, path: str, *, users: int, **chosen: Any
) -> tuple[list[int], OneProcess, pd.DataFrame]:
    """What so many users who ask at the same moment, three times, are answered, and what the probe says of it."""
    settings = Settings(
        database_url=url,  # type: ignore[arg-type]
        driver=driver,  # type: ignore[arg-type]
        pool_size=POOL,
        max_overflow=0,
        pool_timeout_s=0.7,
        pool_prewarm=True,
        threadpool_tokens=THREADS,
        gc_freeze=False,
        lab=True,
        **chosen,
    )
    app, probe, used = create_app(settings), ProcessProbe(None), []
    probe.left = deque()
    probe.watch(app.state.database.engine)
    transport = httpx.ASGITransport(TimedApp(app, probe), raise_app_exceptions=False)

    async def ask(client: httpx.AsyncClient) -> list[int]:
        statuses = []
        for _ in range(3):
            answer = await client.get(path, headers={"x-poolbench-arrival": "2-1"})
            statuses.append(answer.status_code)
        return statuses

    async def look() -> None:
        while True:
            used.append(int(probe.read()["connection_count_used"]))
            await asyncio.sleep(0.005)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://heroes", timeout=30) as client,
    ):
        looking = asyncio.create_task(look())
        found = await asyncio.gather(*(asyncio.create_task(ask(client)) for _ in range(users)))
        looking.cancel()
        tokens = int(to_thread.current_default_thread_limiter().total_tokens)
    probe.stop()
    is_async = bool(getattr(app.state.database.engine.dialect, "is_async", False))
    process = OneProcess(pool=POOL, waits_in_threads=not is_async, threads=tokens, used=max(used))
    rows: list[dict[str, Any]] = [json.loads(line) for line in hold_lines(Endpoints().keyed(probe.left))]
    holds = pd.DataFrame(rows, columns=list(HOLD_COLUMNS)).astype(dict(HOLD_COLUMNS))
    return [status for own in found for status in own], process, holds


@pytest.mark.parametrize(
    ("driver", "path", "kind", "requests"),
    [
        ("psycopg_sync", "/lab/sleep?ms=30", "threads", THREADS + POOL),
        ("psycopg2", "/lab/sleep?ms=30", "threads", THREADS + POOL),
        ("asyncpg", "/lab/two-sessions?ms=30", "connections", POOL),
        ("psycopg", "/lab/two-sessions?ms=30", "connections", POOL),
        ("psycopg_blocking", "/lab/stream?events=4&gap_ms=20", "loop", POOL + 1),
    ],
)
async def test_below_it_all_are_answered_and_on_it_some_give_up(
    seeded_url: str, driver: str, path: str, kind: CliffKind, requests: int
) -> None:
    below, process, rows = await answers(seeded_url, driver, path, users=requests - 1)
    (cliff,) = foresee(process, holds_of([measured_holds(rows, [SEGMENT])], seconds=1.0))
    assert (cliff.kind, cliff.requests) == (kind, requests)
    assert set(below) == {200}
    on_it, _, _ = await answers(seeded_url, driver, path, users=requests)
    assert 503 in on_it


async def test_a_session_of_its_own_for_each_operation_has_no_cliff(seeded_url: str) -> None:
    """Its connection is given back before its thread is, so that far more requests are answered."""
    answered, process, rows = await answers(
        seeded_url, "psycopg_sync", "/heroes/1", users=3 * (THREADS + POOL), session_scope="operation"
    )
    assert set(answered) == {200}
    assert foresee(process, holds_of([measured_holds(rows, [SEGMENT])], seconds=1.0)) == ()
