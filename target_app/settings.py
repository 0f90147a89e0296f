"""Everything this service can be told, read from the environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DriverMode = Literal["asyncpg", "psycopg", "psycopg_sync", "psycopg_blocking"]


class Settings(BaseSettings):
    """One field for each environment variable of the same name, upper case, without a prefix."""

    # Input is hidden in errors because DATABASE_URL carries a password.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: Annotated[str, Field(repr=False)]
    """postgresql://user:password@host:port/database; `?sslmode=` is honoured, otherwise TLS is off"""
    application_name: Annotated[str, Field(max_length=63)] = "target_app"
    """how the connections call themselves in pg_stat_activity"""

    driver: DriverMode = "asyncpg"
    """asyncpg or psycopg (async), psycopg_sync (def endpoints), psycopg_blocking (a sync engine in async def)"""
    pool_class: Literal["queue", "null"] = "queue"
    """queue, or null: a new connection for each checkout, the other pool settings without effect"""
    pool_size: Annotated[int, Field(ge=1)] = 5
    max_overflow: Annotated[int, Field(ge=0)] = 10
    """connections opened beyond pool_size, closed on return"""
    pool_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    pool_recycle_s: Annotated[int, Field(ge=-1)] = -1
    """age at which a connection is replaced at checkout; -1: never"""
    pool_pre_ping: bool = False
    pool_use_lifo: bool = False
    pool_prewarm: bool = False
    """open pool_size connections before the first request; the start fails if that does"""

    expire_on_commit: bool = False
    """expire loaded objects at commit, so that the response of a write reads the row again"""
    refresh_after_write: bool = False
    """read the row again after each write"""
    isolation: Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"] = "READ COMMITTED"

    threadpool_tokens: Annotated[int, Field(ge=1)] = 40
    """threads for def endpoints, in each process"""
    gc_freeze: bool = True
    """collect and freeze the heap after start: full collections of what never dies cost some 85 ms each"""
    workers: Annotated[int, Field(ge=1)] = 1
    """processes, each with a pool of its own; for whatever starts them, one process serves one app"""

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, text: str) -> str:
        try:
            url = make_url(text)
        except ArgumentError:
            raise ValueError("not a URL; expected postgresql://user:password@host:port/database") from None
        if url.get_backend_name() not in {"postgresql", "postgres"}:
            raise ValueError(f"expected a postgresql:// URL, not {url.get_backend_name()}://")
        return text

    @property
    def is_async(self) -> bool:
        """Whether requests await the database (otherwise they block a thread, or the loop)."""
        return self.driver in {"asyncpg", "psycopg"}

    @property
    def url(self) -> URL:
        """The parsed URL. Its driver is still open and its `sslmode` is `ssl_mode`'s business."""
        return make_url(self.database_url).difference_update_query(["sslmode"])

    @property
    def ssl_mode(self) -> str:
        """libpq's name for it. Off unless asked for: drivers differ in their defaults, and a handshake costs time."""
        mode = make_url(self.database_url).query.get("sslmode", "disable")
        return mode if isinstance(mode, str) else mode[-1]


def load_settings() -> Settings:
    """Read the environment. Raises SystemExit with one sentence where a variable is missing or wrong."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_url=False))
        raise SystemExit(f"target_app cannot start, its environment is wrong: {problems}. Correct it there.") from None
