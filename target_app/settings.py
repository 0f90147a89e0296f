"""Everything this service can be told, read from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DriverMode = Literal["asyncpg", "psycopg", "psycopg_sync", "psycopg_blocking", "psycopg2"]
SessionScope = Literal["request", "function", "operation"]
UpdateMode = Literal["last_wins", "version", "for_update", "repeatable_read"]
Loader = Literal["lazy", "joined", "selectin"]
Mistake = Literal["none", "global_session", "missing_commit"]

CACHE_DEFAULT = 100
"""what asyncpg and SQLAlchemy each take for their statement caches unless told otherwise"""
PREPARE_THRESHOLD_DEFAULT = 5
"""psycopg's own"""
MILLISECONDS_MAX = 2**31 - 1
"""what Postgres's time settings hold"""


class Settings(BaseSettings):
    """One field for each environment variable of the same name, upper case, without a prefix."""

    # Input is hidden in errors because DATABASE_URL carries a password.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: Annotated[str, Field(repr=False)]
    """postgresql://user:password@host:port/database; `?sslmode=` is honoured, otherwise TLS is off"""
    application_name: Annotated[str, Field(max_length=63)] = "target_app"
    """how the connections call themselves in pg_stat_activity"""

    driver: DriverMode = "asyncpg"
    """asyncpg or psycopg (async), psycopg_sync or psycopg2 (def endpoints), and the mistake psycopg_blocking: a sync
    engine in async def"""
    pool_class: Literal["queue", "null", "psycopg_pool"] = "queue"
    """queue; null: a new connection for each checkout, the other pool settings without effect; psycopg_pool: the
    driver's own pool behind SQLAlchemy's NullPool"""
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

    prepared_statement_cache_size: Annotated[int, Field(ge=0)] = CACHE_DEFAULT
    """statements SQLAlchemy keeps prepared on each asyncpg connection; 0: none"""
    statement_cache_size: Annotated[int, Field(ge=0)] = CACHE_DEFAULT
    """statements asyncpg keeps prepared by itself on each connection; 0: none"""
    prepare_threshold: Annotated[int, Field(ge=-1)] = PREPARE_THRESHOLD_DEFAULT
    """executions after which psycopg prepares a statement; 0: at once, -1: never"""
    pgbouncer: bool = False
    """a PgBouncer in transaction mode stands before Postgres: keep nothing prepared, whatever the three above say"""
    statement_timeout_ms: Annotated[int, Field(ge=0, le=MILLISECONDS_MAX)] = 0
    """after which Postgres ends a running statement; 0: never"""
    idle_in_transaction_session_timeout_ms: Annotated[int, Field(ge=0, le=MILLISECONDS_MAX)] = 0
    """after which Postgres ends a connection that idles in a transaction; 0: never"""

    session_scope: SessionScope = "request"
    """how long a session lives: until the response was sent, until the endpoint's function has returned, or for one
    operation of the repository"""
    repository: Literal["native", "run_sync"] = "native"
    """await each statement, or run the sync repository through AsyncSession.run_sync"""
    expire_on_commit: bool = False
    """expire loaded objects at commit, so that the response of a write reads the row again"""
    refresh_after_write: bool = False
    """read the row again after each write"""
    returning: bool = True
    """a change brings back what the table's trigger wrote (RETURNING); without, and without a refresh, the answer
    shows the updated_at from before the change"""
    isolation: Literal["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"] = "READ COMMITTED"
    autocommit_reads: bool = False
    """requests that only read do so without a transaction: no BEGIN, no ROLLBACK"""
    update_mode: UpdateMode = "last_wins"
    """of two simultaneous changes to a hero: both, the last one staying (last_wins); both, one after the other
    (for_update); or one, the other answered 409 (version: by a version column; repeatable_read: by Postgres)"""
    delete_mode: Literal["soft", "hard"] = "soft"
    """mark the row, or remove it"""
    team_loader: Loader = "selectin"
    """how rosters load their heroes, unless the request says: one query a team (lazy), a join, or one query for all"""
    mistake: Mistake = "none"
    """a mistake to be measured: one session for all requests, or writes that are flushed and never committed"""

    threadpool_tokens: Annotated[int, Field(ge=1)] = 40
    """threads for def endpoints, in each process"""
    gc_freeze: bool = True
    """collect and freeze the heap after start: full collections of what never dies cost some 85 ms each"""
    workers: Annotated[int, Field(ge=1)] = 1
    """processes, each with a pool of its own; for whatever starts them, one process serves one app"""
    max_body_bytes: Annotated[int, Field(ge=0)] = 2**20
    """a longer request body is answered 413"""
    lab: bool = False
    """offer /lab: endpoints that sleep, hold, stream, leak and burn on purpose"""

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

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for nonsense, sentence in self._combinations():
            if nonsense:
                raise ValueError(sentence)
        return self

    def _combinations(self) -> Iterator[tuple[bool, str]]:
        """Settings that cannot be had together, or would be without effect."""
        is_asyncpg, is_psycopg = (
            self.driver == "asyncpg",
            self.driver in {"psycopg", "psycopg_sync", "psycopg_blocking"},
        )
        yield (
            self.pool_class == "psycopg_pool" and not is_psycopg,
            f"pool_class psycopg_pool holds psycopg's connections, not those of {self.driver}",
        )
        yield self.repository == "run_sync" and not self.is_async, f"run_sync is for async drivers, not {self.driver}"
        caches = (self.prepared_statement_cache_size, self.statement_cache_size)
        yield caches != (CACHE_DEFAULT, CACHE_DEFAULT) and not is_asyncpg, f"{self.driver} has no statement cache sizes"
        yield (
            self.prepare_threshold != PREPARE_THRESHOLD_DEFAULT and not is_psycopg,
            f"{self.driver} has no prepare_threshold",
        )
        yield (
            self.pgbouncer and is_asyncpg and (self.autocommit_reads or self.isolation == "AUTOCOMMIT"),
            "asyncpg prepares and executes in two steps, which without a transaction PgBouncer may send to two servers",
        )
        yield (
            self.pgbouncer and bool(self.statement_timeout_ms or self.idle_in_transaction_session_timeout_ms),
            "PgBouncer refuses timeouts from its clients; set them with ALTER ROLE on the server",
        )
        yield (
            self.isolation == "AUTOCOMMIT" and self.update_mode in {"for_update", "repeatable_read"},
            f"update_mode {self.update_mode} needs a transaction, and isolation AUTOCOMMIT has none",
        )
        yield (
            self.mistake == "global_session" and (self.session_scope != "request" or self.autocommit_reads),
            "mistake global_session replaces the session of each request: leave session_scope and autocommit_reads",
        )

    @property
    def is_async(self) -> bool:
        """Whether requests await the database (otherwise they block a thread, or the loop)."""
        return self.driver in {"asyncpg", "psycopg"}

    @property
    def drivername(self) -> str:
        """SQLAlchemy's name for the dialect and driver."""
        named = {"asyncpg": "postgresql+asyncpg", "psycopg2": "postgresql+psycopg2"}
        return named.get(self.driver, "postgresql+psycopg")

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
        problems = "; ".join(_problem(e) for e in error.errors(include_url=False))
        raise SystemExit(f"target_app cannot start, its environment is wrong: {problems}. Correct it there.") from None


def _problem(error: ErrorDetails) -> str:
    """`POOL_SIZE: what is wrong`, or the sentence alone where it is about several variables."""
    message = error["msg"].removeprefix("Value error, ")
    return f"{str(error['loc'][0]).upper()}: {message}" if error["loc"] else message
