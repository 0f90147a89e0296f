"""The lab does what it says to connections, and only where it is offered."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import httpx
import pytest

from target_app.settings import DriverMode

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HERO = {"name": "Lab", "secret_name": "s", "password": "12345678"}
WAITERS = ["asyncpg", "psycopg_sync"]
"""One way to wait of each kind: what is held meanwhile does not depend on the driver."""


async def test_it_is_not_offered_unless_asked_for(serve: Any, driver: str) -> None:
    async with serve(driver=driver) as client:
        assert (await client.get("/lab/heartbeat")).status_code == 404
        assert not [path for path in (await client.get("/openapi.json")).json()["paths"] if "lab" in path]


@pytest.mark.parametrize(
    ("driver", "scope"),
    [*((driver, "request") for driver in get_args(DriverMode)), ("asyncpg", "function"), ("psycopg2", "operation")],
)
async def test_every_endpoint_answers_and_returns_its_connections(
    serve: Any, driver: str, scope: str, checked_out: Any
) -> None:
    async with serve(driver=driver, lab=True, session_scope=scope, pool_size=2, max_overflow=0) as client:
        for path in (
            "/lab/heartbeat",
            "/lab/burn?ms=1",
            "/lab/sleep?ms=1",
            "/lab/lock?key=7&ms=1",
            "/lab/idle?ms=1",
            "/lab/idle?ms=1&transaction=false",
            "/lab/outside?ms=1",
            "/lab/outside?ms=1&release=true",
            "/lab/two-sessions?ms=1",
            "/lab/body?kib=3",
            "/lab/stream?events=2&gap_ms=1",
        ):
            answer = await client.get(path)
            assert (answer.status_code, checked_out(client)) == (200, 0), path
        assert (await client.post("/lab/background?ms=1")).status_code == 202
        assert checked_out(client) == 0
        for path in ("/lab/commit-after-response", "/lab/commit-before-response"):
            assert (await client.post(path, json=HERO)).status_code == 201
            assert checked_out(client) == 0


async def test_every_mode_offers_the_same_lab(serve: Any, driver: str) -> None:
    async with serve(driver="asyncpg", lab=True) as reference, serve(driver=driver, lab=True) as client:
        assert (await client.get("/openapi.json")).json() == (await reference.get("/openapi.json")).json()


async def test_what_is_sent(serve: Any, driver: str) -> None:
    async with serve(driver=driver, lab=True) as client:
        stream = await client.get("/lab/stream?events=3&gap_ms=0")
        body = await client.get("/lab/body?kib=3")

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text == "data: Hero 1\n\ndata: Hero 2\n\ndata: Hero 3\n\n"
    assert len(body.content) == 3 * 1024


async def test_everything_has_bounds(serve: Any) -> None:
    async with serve(lab=True) as client:
        for query in (
            "sleep?ms=10001",
            "sleep?ms=-1",
            "idle?ms=10001",
            "outside?ms=x",
            "burn?ms=1001",
            "stream?events=1001",
            "stream?gap_ms=10001",
            "body?kib=10241",
            "two-sessions?ms=10001",
            "lock?key=0",
            "lock?key=1001",
        ):
            assert (await client.get(f"/lab/{query}")).status_code == 422, query


async def held_meanwhile(client: httpx.AsyncClient, method: str, path: str, holds: Any) -> httpx.Response:
    """The answer to a request during which `holds()` came true."""
    request = asyncio.create_task(client.request(method, path))
    await holds()
    assert not request.done()
    return await request


@pytest.mark.parametrize(("transaction", "state"), [("true", "idle in transaction"), ("false", "idle")])
@pytest.mark.parametrize("driver", WAITERS)
async def test_idling_shows_in_pg_stat_activity(  # noqa: PLR0917 -- parameters and fixtures come by name
    serve: Any, driver: str, transaction: str, state: str, ask: Any, eventually: Any
) -> None:
    name = f"idle {driver} {transaction}"
    activity = "SELECT state FROM pg_stat_activity WHERE application_name = %s AND query = 'SELECT 1'"
    async with serve(driver=driver, lab=True, application_name=name) as client:
        answer = await held_meanwhile(
            client,
            "GET",
            f"/lab/idle?ms=300&transaction={transaction}",
            lambda: eventually(lambda: ask(activity, name), [(state,)]),
        )

    assert answer.status_code == 200


@pytest.mark.parametrize(("other", "waiting"), [(3, [(False,), (True,)]), (4, [(True,), (True,)])])
@pytest.mark.parametrize("driver", WAITERS)
async def test_requests_for_one_lock_come_one_after_the_other(  # noqa: PLR0917 -- as above
    serve: Any, driver: str, other: int, waiting: list[tuple[bool]], ask: Any, eventually: Any
) -> None:
    name = f"lock {driver} {other}"
    locks = (
        "SELECT granted FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND application_name = %s ORDER BY granted"
    )
    async with serve(driver=driver, lab=True, application_name=name) as client:
        first = asyncio.create_task(client.get("/lab/lock?key=3&ms=300"))
        second = await held_meanwhile(
            client, "GET", f"/lab/lock?key={other}&ms=300", lambda: eventually(lambda: ask(locks, name), waiting)
        )
        assert (second.status_code, (await first).status_code) == (200, 200)


@pytest.mark.parametrize(
    ("method", "path", "scope", "held"),
    [
        ("GET", "/lab/outside?ms=300", "request", 1),
        ("GET", "/lab/outside?ms=300&release=true", "request", 0),
        ("GET", "/lab/stream?events=3&gap_ms=100", "request", 1),
        ("GET", "/lab/stream?events=3&gap_ms=100", "function", 0),
        ("POST", "/lab/background?ms=300", "request", 2),  # the request's session is held besides the task's own
        ("POST", "/lab/background?ms=300", "function", 1),
    ],
)
@pytest.mark.parametrize("driver", WAITERS)
async def test_how_many_connections_are_held_meanwhile(  # noqa: PLR0917 -- parameters and fixtures come by name
    serve: Any, driver: str, method: str, path: str, scope: str, held: int, checked_out: Any
) -> None:
    async with serve(driver=driver, lab=True, session_scope=scope, pool_prewarm=True) as client:
        pool = client.app.state.database.engine.pool
        counts: list[int] = []

        async def settled() -> None:
            """The last of the statements before the wait is over, and the counts of the moments after it."""
            for _ in range(15):
                counts.append(checked_out(client))
                await asyncio.sleep(0.01)

        answer = await held_meanwhile(client, method, path, settled)

        assert answer.is_success
        assert pool.checkedout() == 0
    assert max(set(counts), key=counts.count) == held


@pytest.mark.parametrize("driver", WAITERS)
async def test_a_leaked_session_keeps_its_connection_until_it_is_closed(
    serve: Any, driver: str, checked_out: Any
) -> None:
    settings = {"session_scope": "function", "pool_size": 2, "max_overflow": 0, "pool_timeout_s": 0.1}
    async with serve(driver=driver, lab=True, **settings) as client:
        await client.post("/lab/background?ms=0&leak=true")
        assert checked_out(client) == 1
        await client.post("/lab/background?ms=0&leak=true")
        exhausted = await client.get("/heroes/1")
        closed = (await client.delete("/lab/leaks")).json()

        assert exhausted.status_code == 503
        assert closed == {"closed": 2}
        assert (await client.get("/heroes/1")).status_code == 200


async def test_leaks_are_closed_at_the_end(serve: Any, ask: Any, eventually: Any) -> None:
    activity = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaky'"
    async with serve(lab=True, application_name="leaky") as client:
        await client.post("/lab/background?ms=0&leak=true")
        assert ask(activity) != [(0,)]

    await eventually(lambda: ask(activity), [(0,)])


@pytest.mark.parametrize(("pool_size", "status"), [(1, 503), (2, 200)])
async def test_two_sessions_need_two_connections(serve: Any, driver: str, pool_size: int, status: int) -> None:
    settings = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout_s": 0.1}
    async with serve(driver=driver, lab=True, **settings) as client:
        assert (await client.get("/lab/two-sessions?ms=1")).status_code == status
        assert (await client.get("/heroes/1")).status_code == 200


@pytest.mark.parametrize(
    ("path", "team_id", "status", "rows"),
    [
        ("/lab/commit-after-response", 1, 201, [0, 1]),  # early: who reads at once finds nothing
        ("/lab/commit-after-response", 999_999, 201, [0, 0]),  # a lie
        ("/lab/commit-before-response", 1, 201, [1, 1]),
        ("/lab/commit-before-response", 999_999, 422, [0, 0]),
    ],
)
async def test_what_is_written_when_the_answer_goes_out_and_afterwards(  # noqa: PLR0917 -- as above
    serve: Any, driver: str, path: str, team_id: int, status: int, rows: list[int], ask: Any
) -> None:
    hero = HERO | {"name": f"Sent {driver} {path.split('-')[1]} {team_id}", "team_id": team_id}
    counts = []

    def count() -> None:
        counts.extend(ask("SELECT count(*)::int FROM heroes WHERE name = %s", hero["name"])[0])

    async with serve(driver=driver, lab=True) as client:

        async def counting(scope: Any, receive: Any, send: Any) -> None:
            async def noting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    count()
                await send(message)

            await client.app(scope, receive, noting)

        client._transport.app = counting
        answer = await client.post(path, json=hero)
        count()

    assert (answer.status_code, counts) == (status, rows)


@pytest.mark.parametrize(
    ("driver", "first"), [("asyncpg", "burn"), ("psycopg_blocking", "burn"), ("psycopg_sync", "heartbeat")]
)
async def test_computing_on_the_event_loop_stops_the_heart(serve: Any, driver: str, first: str) -> None:
    finished: list[str] = []
    async with serve(driver=driver, lab=True) as client:

        async def get(name: str, query: str = "") -> None:
            await client.get(f"/lab/{name}{query}")
            finished.append(name)

        await get("heartbeat")  # the first request pays for what is made once
        finished.clear()
        await asyncio.gather(get("burn", "?ms=300"), get("heartbeat"))

    assert finished[0] == first


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("/lab/sleep?ms=3000", {"statement_timeout_ms": 150}),
        ("/lab/idle?ms=400", {"idle_in_transaction_session_timeout_ms": 150}),
    ],
)
async def test_the_servers_timeouts_end_what_takes_too_long(
    serve: Any, driver: str, path: str, settings: dict[str, int], checked_out: Any
) -> None:
    async with serve(driver=driver, lab=True, pool_size=1, max_overflow=0, **settings) as client:
        ended = await client.get(path)

        assert (ended.status_code, ended.headers.get("retry-after")) == (503, "1")
        assert checked_out(client) == 0
        assert (await client.get("/heroes/1")).status_code == 200
