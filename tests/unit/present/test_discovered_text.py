"""What `poolbench init --app` says of a service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.domain.discovered import Discovered, Found, Operation, Sources
from harness.domain.observed import AppliedPool
from harness.present import discovered_texts

ENGINE = AppliedPool(
    launch_id="b1-c1",
    pid=7,
    driver="asyncpg",
    pool_class="AsyncAdaptedQueuePool",
    pool_size=8,
    max_overflow=4,
    pool_timeout_s=30.0,
    pool_recycle_s=-1,
    pool_pre_ping=False,
    pool_use_lifo=False,
    made_at="shop/db.py:8",
)
NULL = replace(ENGINE, driver="psycopg", pool_class="NullPool", pool_size=None, max_overflow=None, made_at="")


def said(**changes: Any) -> tuple[str, ...]:
    usual: dict[str, Any] = {"sources": Sources(), "engines": (), "health_path": None, "operations": ()}
    return discovered_texts(Discovered(**usual | changes))


def test_everything_that_was_found() -> None:
    variables = tuple(Found(place=f"a.py:{line}", text=f"DB_{line}") for line in range(1, 11))
    sizes = (Found(place="a.py:10", text="POOL_SIZE"),)
    sources = Sources(variables=variables, sizes=sizes, makers=(Found(place="a.py:9", text="sessionmaker"),))
    ready = Operation(method="get", path="/a", url="/a", status=200)
    operations = (ready, replace(ready, status=401), replace(ready, method="post"))
    engines, rest = (ENGINE, replace(ENGINE, pid=8), NULL), {"health_path": "/ready", "operations": operations}
    assert said(engines=engines, sources=sources, **rest) == (
        "engine 1: asyncpg, AsyncAdaptedQueuePool 8 + 4, made in shop/db.py:8",
        "engine 2: psycopg, NullPool \u2013, made in a place that was not seen",
        "sessions: sessionmaker (a.py:9)",
        (
            "variables like a database's: DB_1 (a.py:1), DB_2 (a.py:2), DB_3 (a.py:3), DB_4 (a.py:4), DB_5 (a.py:5), "
            "DB_6 (a.py:6), DB_7 (a.py:7), DB_8 (a.py:8) and 2 more"
        ),
        "variables like a pool's size: POOL_SIZE (a.py:10)",
        "health: /ready",
        "OpenAPI: 3 operations, of which 1 can be sent as they are",
    )


def test_nothing_was_found() -> None:
    assert said() == (
        "engines: none was made by the time it had started and was asked; without one there is no pool to size",
        "sessions: none seen in its files",
        "variables like a database's: none seen; DATABASE_URL is given",
        "health: no path called like a health check answered 2xx; name one as health_path",
        "OpenAPI: 0 operations, of which 0 can be sent as they are",
    )


def test_a_pool_of_the_drivers_own_is_named_with_what_can_be_varied() -> None:
    (line,) = (line for line in said(driver_pools=("asyncpg.Pool of 4 to 4, made in db.py:7",)) if "asyncpg" in line)
    assert line.startswith("A pool of the driver's own: asyncpg.Pool of 4 to 4, made in db.py:7.")
    assert "target.env.NAME" in line
