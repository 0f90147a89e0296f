"""Every variant of driver, pool and session serves a hero's whole life; and each does what it is there for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, get_args
from uuid import uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from target_app.settings import DriverMode

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HERO = {"name": "Vera", "secret_name": "s", "password": "12345678", "age": 20, "team_id": 1}

VARIANTS: list[dict[str, Any]] = [
    *({"driver": driver, "session_scope": "function"} for driver in get_args(DriverMode)),
    *({"driver": driver, "session_scope": "operation"} for driver in get_args(DriverMode)),
    *({"driver": driver, "session_scope": "operation", "expire_on_commit": True} for driver in ("psycopg", "psycopg2")),
    *({"driver": driver, "repository": "run_sync"} for driver in ("asyncpg", "psycopg")),
    {"driver": "asyncpg", "repository": "run_sync", "session_scope": "operation", "expire_on_commit": True},
    *({"driver": driver, "autocommit_reads": True} for driver in ("asyncpg", "psycopg", "psycopg2")),
    {"driver": "asyncpg", "repository": "run_sync", "autocommit_reads": True, "session_scope": "operation"},
    *({"driver": driver, "isolation": "AUTOCOMMIT"} for driver in ("asyncpg", "psycopg", "psycopg2")),
    *({"driver": driver, "pool_class": "psycopg_pool"} for driver in ("psycopg", "psycopg_sync", "psycopg_blocking")),
    {"driver": "asyncpg", "statement_cache_size": 0, "prepared_statement_cache_size": 0},
    *({"driver": driver, "pgbouncer": True} for driver in ("asyncpg", "psycopg", "psycopg2")),
    {"driver": "psycopg", "prepare_threshold": 0},
    {"driver": "asyncpg", "pool_class": "null"},
]  # fmt: skip


def named(settings: dict[str, Any]) -> str:
    return " ".join(str(value if name == "driver" else f"{name}={value}") for name, value in settings.items())


@pytest.mark.parametrize("settings", VARIANTS, ids=named)
async def test_a_heros_whole_life(serve: Any, settings: dict[str, Any]) -> None:
    async with serve(pool_size=1, max_overflow=0, pool_timeout_s=5, **settings) as client:
        hero = (await client.post("/heroes", json=HERO)).json()
        path = f"/heroes/{hero['id']}"
        assert (await client.get(path)).json() == hero
        changed = (await client.patch(path, json={"age": 21})).json()
        assert changed == hero | {"age": 21, "updated_at": changed["updated_at"]}
        assert (await client.get(f"/heroes?after={hero['id'] - 1}&limit=1")).json() == [changed]
        assert hero["id"] in [h["id"] for h in (await client.get("/rosters?limit=1&loader=lazy")).json()[0]["heroes"]]
        rows = [HERO, HERO | {"team_id": 999_999}]
        imported = (await client.post("/heroes/import", json=rows)).json()
        assert (len(imported["imported"]), len(imported["refused"])) == (1, 1)
        moved = (await client.post("/teams/2/heroes", json={"hero_ids": [hero["id"]]})).json()
        assert [(h["id"], h["team_id"], h["age"]) for h in moved] == [(hero["id"], 2, 21)]
        assert (await client.post("/heroes", json=HERO | {"team_id": 999_999})).status_code == 422
        assert [(await client.delete(path)).status_code for _ in range(2)] == [204, 404]
        team = {"name": f"Team {uuid4()}", "headquarters": "h"}
        assert [(await client.post("/teams", json=team)).status_code for _ in range(2)] == [201, 409]


class Send:
    """An app that notes, at the beginning and the end of each answer, how many connections are out."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.held: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def noting(message: Any) -> None:
            self.held.append(self.app.state.database.engine.pool.checkedout())
            await send(message)

        await self.app(scope, receive, noting)


@pytest.mark.parametrize(("scope", "held"), [("request", [1, 1]), ("function", [0, 0]), ("operation", [0, 0])])
async def test_what_is_held_while_the_answer_is_sent(serve: Any, driver: str, scope: str, held: list[int]) -> None:
    async with serve(driver=driver, session_scope=scope) as client:
        noted = Send(client.app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(noted), base_url="http://heroes") as noting:
            assert (await noting.get("/heroes/1")).status_code == 200

    assert noted.held == held


@pytest.mark.parametrize("autocommit", [False, True])
async def test_only_requests_that_only_read_go_without_a_transaction(
    serve: Any, driver: str, recorded: Any, autocommit: bool
) -> None:
    async with serve(driver=driver, autocommit_reads=autocommit, pool_size=1, max_overflow=0) as client:
        await client.get("/heroes/1")
        with recorded(client) as statements:
            for path in (
                "/heroes/1",
                "/heroes",
                "/heroes?after=5",
                "/teams",
                "/teams/1",
                "/rosters?limit=1&loader=lazy",
            ):
                assert (await client.get(path)).status_code == 200
            reads = {statement.autocommit for statement in statements}
            statements.clear()
            assert (await client.patch("/heroes/200", json={"is_active": True})).status_code == 200
            writes = {statement.autocommit for statement in statements}

    assert (reads, writes) == ({autocommit}, {False})


async def test_run_sync_and_native_run_the_same_statements(serve: Any, recorded: Any) -> None:
    words = []
    for repository in ("native", "run_sync"):
        async with serve(repository=repository, pool_prewarm=True) as client:
            with recorded(client) as statements:
                await client.patch("/heroes/199", json={"is_active": True})
                await client.get("/rosters?limit=2&loader=lazy")
            words.append([statement.word for statement in statements])

    assert words[0] == words[1]
    assert len(words[0]) >= 4


@pytest.fixture(params=["psycopg", "psycopg_sync"])
async def pooled(request: pytest.FixtureRequest, serve: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An app over psycopg's own pool of two connections."""
    name = f"pooled {request.param}"
    pool = {"pool_class": "psycopg_pool", "pool_size": 2, "max_overflow": 0, "pool_timeout_s": 0.2}
    async with serve(driver=request.param, application_name=name, lab=True, pool_prewarm=True, **pool) as client:
        yield client


async def test_psycopg_pool_keeps_its_connections(pooled: Any, ask: Any) -> None:
    backends = "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY pid"
    name = pooled.app.state.settings.application_name
    before = ask(backends, name)

    for _ in range(5):
        assert (await pooled.get("/heroes/1")).status_code == 200

    assert len(before) == 2
    assert ask(backends, name) == before


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_sync"])
async def test_psycopg_pool_keeps_to_its_size_however_many_ask(serve: Any, ask: Any, driver: str) -> None:
    """SQLAlchemy's NullPool before it wants a connection for each request: it lends out those that it has."""
    name, backends = f"crowded {driver}", "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    pool = {"pool_class": "psycopg_pool", "pool_size": 2, "max_overflow": 1, "pool_timeout_s": 5}
    seen: set[int] = set()

    async with serve(driver=driver, application_name=name, lab=True, **pool) as client:

        async def wait_in_database() -> None:
            assert (await client.get("/lab/sleep?ms=5")).status_code == 200
            seen.update(pid for (pid,) in ask(backends, name))

        async with asyncio.TaskGroup() as users:
            for _ in range(30):
                users.create_task(wait_in_database())

    assert 2 <= len(seen) <= 3  # of all that were open at any of thirty moments: none was replaced, either


async def test_psycopg_pool_exhausted_is_503(pooled: httpx.AsyncClient) -> None:
    await pooled.post("/lab/background?ms=0&leak=true")  # keeps one of the two

    exhausted = await pooled.get("/lab/two-sessions?ms=0")

    assert (exhausted.status_code, exhausted.headers["retry-after"]) == (503, "1")
    await pooled.delete("/lab/leaks")
    assert (await pooled.get("/heroes/1")).status_code == 200


async def test_a_prewarm_of_psycopg_pool_that_fails_fails_the_start(serve: Any, seeded_url: str) -> None:
    url = make_url(seeded_url).set(password="wrong").render_as_string(hide_password=False)
    pool = {"pool_class": "psycopg_pool", "pool_prewarm": True, "pool_timeout_s": 0.5}

    with pytest.raises(psycopg.OperationalError):
        async with serve(driver="psycopg", database_url=url, **pool):
            pass


async def test_the_mistake_of_a_missing_commit(serve: Any, driver: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(driver=driver, mistake="missing_commit") as client:
        created = await client.post("/heroes", json=HERO)
        found = await client.get(f"/heroes/{created.json()['id']}")

    assert (created.status_code, found.status_code) == (201, 404)
    assert "the mistake missing_commit is switched on" in caplog.text


@pytest.mark.parametrize(("mistake", "is_stale"), [("none", False), ("global_session", True)])
async def test_a_global_session_never_ends_its_transaction(
    serve: Any, driver: str, mistake: str, is_stale: bool, ask: Any
) -> None:
    settings = {"driver": driver, "mistake": mistake, "isolation": "REPEATABLE READ"}
    async with serve(lab=True, **settings) as client:
        hero_id = (await client.post("/heroes", json=HERO)).json()["id"]
        await client.get(f"/heroes/{hero_id}")
        held = client.app.state.database.engine.pool.checkedout()
        ask("UPDATE heroes SET name = 'Changed' WHERE id = %s RETURNING id", hero_id)
        name = (await client.get(f"/heroes/{hero_id}")).json()["name"]

    assert (held, name) == ((1, "Vera") if is_stale else (0, "Changed"))


@pytest.mark.parametrize(("mistake", "status"), [("none", 200), ("global_session", 500)])
async def test_one_failed_write_ends_a_global_session_for_everybody(
    serve: Any, driver: str, mistake: str, status: int
) -> None:
    async with serve(driver=driver, mistake=mistake) as client:
        refused = await client.post("/heroes", json=HERO | {"team_id": 999_999})
        later = [(await client.get("/heroes/1")).status_code for _ in range(2)]

    assert (refused.status_code, later) == (422, [status, status])
