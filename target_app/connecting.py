"""What drivers and pools are told, made from the settings."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import NullPool

from target_app.settings import Settings

NEVER_S = 10 * 365 * 24 * 3600.0
"""psycopg_pool replaces connections by age and has no word for never"""


def connect_args(settings: Settings, drivername: str) -> dict[str, Any]:
    """What the driver's own `connect` is told; the TLS mode always, since their defaults differ."""
    if drivername == "postgresql+asyncpg":
        server_settings = {"application_name": settings.application_name, **_timeouts(settings)}
        return {"ssl": settings.ssl_mode, "server_settings": server_settings, **_asyncpg_caches(settings)}
    arguments: dict[str, Any] = {"sslmode": settings.ssl_mode, "application_name": settings.application_name}
    if timeouts := _timeouts(settings):
        arguments["options"] = " ".join(f"-c {name}={value}" for name, value in timeouts.items())
    if drivername == "postgresql+psycopg":
        never = settings.pgbouncer or settings.prepare_threshold < 0
        arguments["prepare_threshold"] = None if never else settings.prepare_threshold
    return arguments


def _timeouts(settings: Settings) -> dict[str, str]:
    """Only those that are asked for: PgBouncer refuses connections that name others than it knows."""
    timeouts = {
        "statement_timeout": settings.statement_timeout_ms,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_session_timeout_ms,
    }
    return {name: str(value) for name, value in timeouts.items() if value}


def _asyncpg_caches(settings: Settings) -> dict[str, Any]:
    if not settings.pgbouncer:
        return {
            "statement_cache_size": settings.statement_cache_size,
            "prepared_statement_cache_size": settings.prepared_statement_cache_size,
        }
    # asyncpg prepares whatever it executes. Numbered names, its default, would meet those of another client on the
    # server that PgBouncer happens to choose.
    return {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",
    }


def pool_options(settings: Settings) -> dict[str, Any]:
    """What SQLAlchemy's pool is told."""
    if settings.pool_class != "queue":
        return {"poolclass": NullPool}
    return {
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_timeout": settings.pool_timeout_s,
        "pool_recycle": settings.pool_recycle_s,
        "pool_pre_ping": settings.pool_pre_ping,
        "pool_use_lifo": settings.pool_use_lifo,
    }


def psycopg_pool_options(settings: Settings) -> dict[str, Any]:
    """The same for psycopg_pool, as far as it has an equal."""
    address = settings.url.translate_connect_args(username="user", database="dbname")
    return {
        "kwargs": {**address, **settings.url.query, **connect_args(settings, settings.drivername)},
        "min_size": settings.pool_size,
        "max_size": settings.pool_size + settings.max_overflow,
        "timeout": settings.pool_timeout_s,
        "max_lifetime": NEVER_S if settings.pool_recycle_s < 0 else settings.pool_recycle_s,
        "close_returns": True,  # SQLAlchemy closes what it takes from a creator
        "open": False,  # the async one needs a running loop
    }
