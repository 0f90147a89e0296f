"""The environment becomes Settings, and Settings become an engine, without any connection."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import NullPool, QueuePool
from sqlalchemy.pool import AsyncAdaptedQueuePool

from target_app.database import AsyncDatabase, SyncDatabase, connect_args, connect_database
from target_app.settings import Settings, load_settings

URL = "postgresql://hero:se%2Fcret@db.example:5433/heroes"

ENVIRONMENT = {
    "DATABASE_URL": URL,
    "DRIVER": "psycopg_sync",
    "POOL_SIZE": "7",
    "MAX_OVERFLOW": "0",
    "POOL_TIMEOUT_S": "1.5",
    "POOL_RECYCLE_S": "1800",
    "POOL_PRE_PING": "true",
    "POOL_USE_LIFO": "1",
    "POOL_PREWARM": "True",
    "POOL_CLASS": "null",
    "EXPIRE_ON_COMMIT": "true",
    "REFRESH_AFTER_WRITE": "true",
    "ISOLATION": "REPEATABLE READ",
    "THREADPOOL_TOKENS": "12",
    "GC_FREEZE": "false",
    "WORKERS": "3",
    "APPLICATION_NAME": "cell-1",
}


def make(**values: Any) -> Settings:
    return Settings(**{"database_url": URL, **values})


def test_every_setting_comes_from_its_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    assert load_settings().model_dump() == {
        "database_url": URL,
        "driver": "psycopg_sync",
        "pool_size": 7,
        "max_overflow": 0,
        "pool_timeout_s": 1.5,
        "pool_recycle_s": 1800,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        "pool_prewarm": True,
        "pool_class": "null",
        "expire_on_commit": True,
        "refresh_after_write": True,
        "isolation": "REPEATABLE READ",
        "threadpool_tokens": 12,
        "gc_freeze": False,
        "workers": 3,
        "application_name": "cell-1",
    }


def test_no_setting_is_without_a_variable_here() -> None:
    assert {name.upper() for name in Settings.model_fields} == set(ENVIRONMENT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"driver": "sqlite"},
        {"pool_size": 0},
        {"max_overflow": -1},
        {"pool_timeout_s": 0},
        {"pool_recycle_s": -2},
        {"pool_class": "static"},
        {"isolation": "CHAOS"},
        {"threadpool_tokens": 0},
        {"workers": 0},
        {"application_name": "x" * 64},
        {"database_url": "mysql://hero:secret@db/heroes"},
        {"database_url": "not a URL"},
        {"database_url": "postgresql://hero:secret@db:port/heroes"},
    ],
)
def test_a_wrong_value_is_refused_without_showing_the_password(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        make(**wrong)

    assert next(iter(wrong)) in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_password_is_not_in_the_repr() -> None:
    assert "se%2Fcret" not in repr(make())


def test_a_wrong_environment_ends_the_process_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("POOL_SIZE", "many")

    with pytest.raises(SystemExit) as ended:
        load_settings()

    message = str(ended.value)
    assert "DATABASE_URL: Field required" in message
    assert "POOL_SIZE: " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("driver", "kind", "drivername", "pool"),
    [
        ("asyncpg", AsyncDatabase, "postgresql+asyncpg", AsyncAdaptedQueuePool),
        ("psycopg", AsyncDatabase, "postgresql+psycopg", AsyncAdaptedQueuePool),
        ("psycopg_sync", SyncDatabase, "postgresql+psycopg", QueuePool),
        ("psycopg_blocking", SyncDatabase, "postgresql+psycopg", QueuePool),
    ],
)
@pytest.mark.parametrize("given", [URL, URL.replace("postgresql", "postgres"), URL.replace(":", "+psycopg2:", 1)])
def test_the_driver_mode_chooses_engine_and_driver(
    driver: str, kind: type, drivername: str, pool: type, given: str
) -> None:
    database = connect_database(make(driver=driver, database_url=given))

    assert type(database) is kind
    assert type(database.engine.pool) is pool
    url = database.engine.url
    assert (url.drivername, url.password, url.host, url.port) == (drivername, "se/cret", "db.example", 5433)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_sync"])
def test_the_pool_is_as_the_settings_say(driver: str) -> None:
    settings = make(
        driver=driver,
        pool_size=3,
        max_overflow=2,
        pool_timeout_s=0.25,
        pool_recycle_s=60,
        pool_pre_ping=True,
        pool_use_lifo=True,
    )

    pool: Any = connect_database(settings).engine.pool

    assert (pool.size(), pool._max_overflow, pool.timeout(), pool._recycle) == (3, 2, 0.25, 60)
    assert (pool._pre_ping, pool._pool.use_lifo) == (True, True)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg_sync", "psycopg_blocking"])
def test_pool_class_null(driver: str) -> None:
    assert type(connect_database(make(driver=driver, pool_class="null")).engine.pool) is NullPool


@pytest.mark.parametrize(("query", "mode"), [("", "disable"), ("?sslmode=require", "require")])
def test_tls_is_always_said_and_off_unless_the_url_asks(query: str, mode: str) -> None:
    settings = make(database_url=URL + query, application_name="me")

    assert connect_args(settings, "postgresql+asyncpg") == {
        "ssl": mode,
        "server_settings": {"application_name": "me"},
    }
    assert connect_args(settings, "postgresql+psycopg") == {"sslmode": mode, "application_name": "me"}
    assert "sslmode" not in settings.url.query


@pytest.mark.parametrize(
    ("driver", "expire", "refresh", "refreshes"),
    [
        ("asyncpg", False, False, False),
        ("asyncpg", False, True, True),
        ("asyncpg", True, False, True),  # an async session cannot read an expired object when it is touched
        ("psycopg_sync", False, True, True),
        ("psycopg_sync", True, False, False),  # a sync one can
    ],
)
def test_who_reads_the_row_again_after_a_write(driver: str, expire: bool, refresh: bool, refreshes: bool) -> None:
    database = connect_database(make(driver=driver, expire_on_commit=expire, refresh_after_write=refresh))

    assert database.refresh_after_write == refreshes
    assert database.sessions.kw["expire_on_commit"] == expire
