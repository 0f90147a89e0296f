"""What is said of sessions and pools, put to the service (experiments/claims/behaviour.toml says what came out)."""

from __future__ import annotations

import gc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import load_only
from starlette.requests import Request

from target_app.database import connect_database
from target_app.models import Hero, Team
from target_app.sessions import get_db
from target_app.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def twice() -> AsyncIterator[int]:
    yield 1
    yield 2


async def answer_in_request_scope(number: Annotated[int, Depends(twice)]) -> int:
    return number


async def answer_in_function_scope(number: Annotated[int, Depends(twice, scope="function")]) -> int:
    return number


@pytest.mark.parametrize(("endpoint", "status"), [(answer_in_request_scope, 200), (answer_in_function_scope, 500)])
async def test_yielding_twice_is_an_error(serve: Any, endpoint: Callable[[int], Awaitable[int]], status: int) -> None:
    """In request scope behind an answer that says all is well."""
    errors = []

    async def noting_errors(*asgi: Any) -> None:
        try:
            await client.app(*asgi)
        except RuntimeError as error:
            errors.append(str(error))
            raise

    async with serve() as client:
        client.app.add_api_route("/twice", endpoint)
        client._transport.app = noting_errors
        answer = await client.get("/twice")

    assert (answer.status_code, errors) == (status, ["generator didn't stop"])


async def test_forgetting_await_is_no_error(serve: Any, ask: Any) -> None:
    """Nothing is saved, anything is found, and the answer is 200; Python warns when the coroutine is thrown away."""

    async def forgetful(session: Annotated[Any, Depends(get_db)]) -> dict[str, bool]:
        session.add(Hero(name="Forgotten", secret_name="s", hashed_password="x"))
        session.commit()
        return {"is_there": bool(session.scalar(select(Hero).where(Hero.name == "Forgotten")))}

    async with serve() as client:
        client.app.add_api_route("/forgetful", forgetful)
        with pytest.warns(RuntimeWarning, match="was never awaited") as warnings:
            answered = await client.get("/forgetful")

    assert (answered.status_code, answered.json()) == (200, {"is_there": True})
    assert ask("SELECT count(*) FROM heroes WHERE name = 'Forgotten'") == [(0,)]
    assert len(warnings) == 2


async def test_a_select_is_no_coroutine(serve: Any) -> None:
    """It is text in the making, whoever executes it: what has to be awaited is an async session's execution."""
    statement = select(Hero.id).where(Hero.id == 7)

    async with serve(driver="psycopg_sync") as client:
        with client.app.state.database.sessions() as session:
            found = session.scalar(statement)

    assert (inspect.isawaitable(statement), found) == (False, 7)


@pytest.mark.parametrize("make", [create_engine, create_async_engine])
def test_what_a_pool_is_unless_told_otherwise(make: Callable[..., Any], seeded_url: str) -> None:
    ours = connect_database(Settings(database_url=seeded_url))
    pools: list[Any] = [make("postgresql+psycopg://h/d").pool, ours.engine.pool]

    for pool in pools:
        settings = (pool.size(), pool._max_overflow, pool.timeout(), pool._recycle, pool._pre_ping)
        assert settings == (5, 10, 30.0, -1, False)


@pytest.mark.parametrize(("pool_recycle_s", "is_new"), [(-1, False), (0, True)])
async def test_a_recycled_connection_shows_in_pg_stat_activity(
    serve: Any, pool_recycle_s: int, is_new: bool, ask: Any
) -> None:
    name = f"recycled {pool_recycle_s}"
    activity = "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = %s"
    async with serve(application_name=name, pool_size=1, max_overflow=0, pool_recycle_s=pool_recycle_s) as client:
        seen = []
        for _ in range(2):
            assert (await client.get("/heroes/1")).status_code == 200
            seen.append(max(ask(activity, name), key=lambda row: row[1]))

    assert (seen[1][0] != seen[0][0], seen[1][1] > seen[0][1]) == (is_new, is_new)


async def after_commit(session: AsyncSession) -> object:
    hero = await session.get_one(Hero, 1)
    await session.commit()
    return hero.name


async def after_rollback(session: AsyncSession) -> object:
    hero = await session.get_one(Hero, 1)
    await session.rollback()
    return hero.name


async def of_what_was_not_loaded(session: AsyncSession) -> object:
    hero = (await session.scalars(select(Hero).where(Hero.id == 1).options(load_only(Hero.age)))).one()
    return hero.name


async def through_a_lazy_relationship(session: AsyncSession) -> object:
    team = await session.get_one(Team, 1)
    return team.heroes[0].name


async def after_commit_and_refresh(session: AsyncSession) -> object:
    hero = await session.get_one(Hero, 1)
    await session.commit()
    await session.refresh(hero)
    return hero.name


async def awaited(session: AsyncSession) -> object:
    hero = await session.get_one(Hero, 1)
    await session.commit()
    return await hero.awaitable_attrs.name


@pytest.mark.parametrize(
    ("access", "fails_expiring", "fails_keeping"),
    [
        (after_commit, True, False),
        (after_rollback, True, True),
        (of_what_was_not_loaded, True, True),
        (through_a_lazy_relationship, True, True),
        (after_commit_and_refresh, False, False),
        (awaited, False, False),
    ],
)
async def test_which_access_of_an_async_sessions_object_fails(
    serve: Any, access: Callable[[AsyncSession], Awaitable[object]], fails_expiring: bool, fails_keeping: bool
) -> None:
    failed = []
    for expire_on_commit in (True, False):
        async with serve(expire_on_commit=expire_on_commit) as client, client.app.state.database.sessions() as session:
            try:
                assert str(await access(session)).startswith("Hero ")
            except MissingGreenlet:
                failed.append(True)
            else:
                failed.append(False)

    assert failed == [fails_expiring, fails_keeping]


@pytest.mark.parametrize(("sent", "left"), [({}, (7, 1)), ({"age": None, "team_id": None}, (None, None))])
async def test_a_merge_leaves_what_it_does_not_name(
    serve: Any, ask: Any, sent: dict[str, None], left: tuple[int | None, int | None]
) -> None:
    """What is omitted stays; only what is given overwrites, None too."""
    async with serve() as client, client.app.state.database.sessions() as session:
        hero = Hero(name="Unmerged", secret_name="s", hashed_password="x", age=7, team_id=1)
        session.add(hero)
        await session.commit()
        await session.merge(Hero(id=hero.id, name="Merged", **sent))
        await session.commit()

    assert ask("SELECT name, age, team_id FROM heroes WHERE id = %s", hero.id) == [("Merged", *left)]


async def get_db_without_finally(request: Request) -> AsyncIterator[AsyncSession]:
    """The mistake: what an exception of the endpoint passes by."""
    session = request.app.state.database.sessions()
    yield session
    await session.close()


@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
async def test_without_finally_an_exception_costs_a_connection_until_it_is_collected(
    serve: Any, checked_out: Any, eventually: Any
) -> None:
    """Whoever keeps the exception keeps the connection; nobody else is served until the garbage collector comes by."""
    kept: list[Exception] = []

    async def fail(session: Annotated[AsyncSession, Depends(get_db_without_finally)]) -> None:
        await session.execute(text("SELECT 1"))
        raise LookupError

    async def keep(_request: Request, error: Exception) -> httpx.Response:
        kept.append(error)
        raise error

    async with serve(driver="asyncpg", pool_size=3, max_overflow=0, pool_timeout_s=0.05) as client:
        client.app.add_api_route("/fail", fail)
        client.app.add_exception_handler(LookupError, keep)

        failed = [(await client.get("/fail")).status_code for _ in range(3)]
        later = [(await client.get("/heroes/1")).status_code for _ in range(3)]
        assert (failed, checked_out(client), later) == ([500] * 3, 3, [503] * 3)

        kept.clear()
        gc.collect()
        await eventually(lambda: checked_out(client), 0)
        assert (await client.get("/heroes/1")).status_code == 200
