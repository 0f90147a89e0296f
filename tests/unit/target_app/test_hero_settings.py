"""The environment becomes Settings, and Settings become an engine, without any connection."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError
from sqlalchemy import NullPool, QueuePool
from sqlalchemy.pool import AsyncAdaptedQueuePool

from target_app.connecting import connect_args
from target_app.database import AsyncDatabase, SyncDatabase, admin_engine, connect_database
from target_app.settings import DriverMode, Settings, load_settings

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
    "PREPARED_STATEMENT_CACHE_SIZE": "100",
    "STATEMENT_CACHE_SIZE": "100",
    "PREPARE_THRESHOLD": "-1",
    "PGBOUNCER": "false",
    "STATEMENT_TIMEOUT_MS": "250",
    "IDLE_IN_TRANSACTION_SESSION_TIMEOUT_MS": "500",
    "SESSION_SCOPE": "function",
    "REPOSITORY": "native",
    "RETURNING": "false",
    "AUTOCOMMIT_READS": "true",
    "UPDATE_MODE": "for_update",
    "DELETE_MODE": "hard",
    "TEAM_LOADER": "joined",
    "MISTAKE": "missing_commit",
    "MAX_BODY_BYTES": "4096",
    "LAB": "true",
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
        "prepared_statement_cache_size": 100,
        "statement_cache_size": 100,
        "prepare_threshold": -1,
        "pgbouncer": False,
        "statement_timeout_ms": 250,
        "idle_in_transaction_session_timeout_ms": 500,
        "session_scope": "function",
        "repository": "native",
        "returning": False,
        "autocommit_reads": True,
        "update_mode": "for_update",
        "delete_mode": "hard",
        "team_loader": "joined",
        "mistake": "missing_commit",
        "max_body_bytes": 4096,
        "lab": True,
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
        {"prepared_statement_cache_size": -1},
        {"prepare_threshold": -2},
        {"statement_timeout_ms": 2**31},
        {"idle_in_transaction_session_timeout_ms": -1},
        {"session_scope": "thread"},
        {"update_mode": "hope"},
        {"delete_mode": "gentle"},
        {"team_loader": "eager"},
        {"mistake": "all"},
        {"max_body_bytes": -1},
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
        ("psycopg2", SyncDatabase, "postgresql+psycopg2", QueuePool),
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


@pytest.mark.parametrize("driver", get_args(DriverMode))
def test_pool_class_null(driver: str) -> None:
    assert type(connect_database(make(driver=driver, pool_class="null")).engine.pool) is NullPool


@pytest.mark.parametrize("driver", ["psycopg", "psycopg_sync", "psycopg_blocking"])
def test_psycopg_pool_is_told_what_the_queue_would_be(driver: str) -> None:
    settings = make(driver=driver, pool_class="psycopg_pool", pool_size=3, max_overflow=2, pool_timeout_s=0.5)

    database = connect_database(settings)

    pool: Any = database.driver_pool
    assert type(database.engine.pool) is NullPool
    assert (pool.min_size, pool.max_size, pool.timeout, pool.close_returns) == (3, 5, 0.5, True)
    assert pool.max_lifetime > 365 * 24 * 3600
    told = {"host": "db.example", "port": 5433, "user": "hero", "password": "se/cret", "dbname": "heroes"}
    assert told.items() <= pool.kwargs.items()


def test_psycopg_pool_takes_recycling_and_pings() -> None:
    settings = make(driver="psycopg", pool_class="psycopg_pool", pool_recycle_s=60, pool_pre_ping=True)

    pool: Any = connect_database(settings).driver_pool

    assert pool.max_lifetime == 60
    assert pool._check is not None


@pytest.mark.parametrize(("query", "mode"), [("", "disable"), ("?sslmode=require", "require")])
def test_tls_is_always_said_and_off_unless_the_url_asks(query: str, mode: str) -> None:
    settings = make(database_url=URL + query, application_name="me")

    assert (
        connect_args(settings, "postgresql+asyncpg").items()
        >= {
            "ssl": mode,
            "server_settings": {"application_name": "me"},
        }.items()
    )
    for drivername in ("postgresql+psycopg", "postgresql+psycopg2"):
        told = connect_args(settings, drivername)
        assert (told["sslmode"], told["application_name"], "options" in told) == (mode, "me", False)
    assert "sslmode" not in settings.url.query


def test_caches_are_as_the_settings_say() -> None:
    sizes = {"statement_cache_size": 7, "prepared_statement_cache_size": 0}

    assert connect_args(make(**sizes), "postgresql+asyncpg").items() >= sizes.items()
    assert connect_args(make(driver="psycopg"), "postgresql+psycopg")["prepare_threshold"] == 5
    assert connect_args(make(driver="psycopg", prepare_threshold=0), "postgresql+psycopg")["prepare_threshold"] == 0
    assert connect_args(make(driver="psycopg", prepare_threshold=-1), "postgresql+psycopg")["prepare_threshold"] is None
    assert "prepare_threshold" not in connect_args(make(driver="psycopg2"), "postgresql+psycopg2")


def test_behind_pgbouncer_nothing_is_kept_prepared_nor_named_alike() -> None:
    asyncpg = connect_args(make(pgbouncer=True), "postgresql+asyncpg")
    psycopg = connect_args(make(driver="psycopg", pgbouncer=True), "postgresql+psycopg")

    assert (asyncpg["statement_cache_size"], asyncpg["prepared_statement_cache_size"]) == (0, 0)
    assert asyncpg["prepared_statement_name_func"]() != asyncpg["prepared_statement_name_func"]()
    assert psycopg["prepare_threshold"] is None


def test_timeouts_are_told_to_the_server_but_not_for_migrations() -> None:
    settings = make(statement_timeout_ms=250, idle_in_transaction_session_timeout_ms=500)
    told = {"statement_timeout": "250", "idle_in_transaction_session_timeout": "500"}

    assert connect_args(settings, "postgresql+asyncpg")["server_settings"].items() >= told.items()
    options = connect_args(settings, "postgresql+psycopg2")["options"]
    assert options == "-c statement_timeout=250 -c idle_in_transaction_session_timeout=500"
    assert "timeout" not in str(admin_engine(settings).dialect.create_connect_args(settings.url))


NONSENSE: dict[str, dict[str, Any]] = {
    "psycopg_pool holds psycopg's connections, not those of asyncpg": {"pool_class": "psycopg_pool"},
    "not those of psycopg2": {"pool_class": "psycopg_pool", "driver": "psycopg2"},
    "run_sync is for async drivers, not psycopg_sync": {"repository": "run_sync", "driver": "psycopg_sync"},
    "psycopg has no statement cache sizes": {"statement_cache_size": 0, "driver": "psycopg"},
    "asyncpg has no prepare_threshold": {"prepare_threshold": 0},
    "may send to two servers": {"pgbouncer": True, "autocommit_reads": True},
    "PgBouncer refuses timeouts": {"pgbouncer": True, "statement_timeout_ms": 1},
    "update_mode for_update needs a transaction": {"update_mode": "for_update", "isolation": "AUTOCOMMIT"},
    "leave session_scope and autocommit_reads": {"mistake": "global_session", "session_scope": "operation"},
}


@pytest.mark.parametrize("sentence", NONSENSE)
def test_settings_that_make_no_sense_together_are_refused(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    for name, value in NONSENSE[sentence].items():
        monkeypatch.setenv(name.upper(), str(value))

    with pytest.raises(SystemExit) as ended:
        load_settings()

    message = str(ended.value)
    assert sentence in message
    assert "Value error" not in message


@pytest.mark.parametrize(
    ("driver", "scope", "expire", "refresh", "refreshes"),
    [
        ("asyncpg", "request", False, False, False),
        ("asyncpg", "request", False, True, True),
        ("asyncpg", "request", True, False, True),  # an async session cannot read an expired object when it is touched
        ("psycopg_sync", "request", False, True, True),
        ("psycopg_sync", "request", True, False, False),  # a sync one can
        ("psycopg_sync", "operation", True, False, True),  # but not once it is closed
    ],
)
def test_who_reads_the_row_again_after_a_write(
    driver: str, scope: str, expire: bool, refresh: bool, refreshes: bool
) -> None:
    settings = make(driver=driver, session_scope=scope, expire_on_commit=expire, refresh_after_write=refresh)
    database = connect_database(settings)

    assert database.behaviour.refresh == refreshes
    assert database.sessions.kw["expire_on_commit"] == expire
