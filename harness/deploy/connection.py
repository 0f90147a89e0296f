"""Short administrative connections, and what a server says about itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier, Literal

from harness.domain.deployed import Login, Server, place
from harness.errors import InfrastructureError

APPLICATION_NAME = "poolbench"
APP_USER = "poolbench_app"
SILENCE_LIMITS: Mapping[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""After which TCP gives a connection up whose other end has gone without a word; Linux's own limits are hours."""
_CONNECT_TIMEOUT_S = 5
_CANCEL_TIMEOUT_S = 3.0

Connection = psycopg.Connection[tuple[Any, ...]]


class _Impatient(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up when no answer came within `limit_s`: a server that stands still says nothing."""

    limit_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, self.limit_s if timeout is None else timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is and who we are there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    maintenance_database: str
    sslmode: str = ""

    @staticmethod
    def of(server: Server, database: str | None = None) -> Address:
        """Return how poolbench reaches `database`, by default the one for maintenance."""
        return Address(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            maintenance_database=database or server.maintenance_database,
            sslmode=server.sslmode,
        )


@contextmanager
def admin(server: Server, database: str | None = None, *, limit_s: float | None = None) -> Iterator[Connection]:
    """An autocommit connection to `database`, by default the one for maintenance; `limit_s` for each statement.

    A statement that is interrupted is cancelled on the server too, so that what it would have made is not there later.

    Raises:
        InfrastructureError: there is no connection to be had, or it fails within the block.
    """
    at = Address.of(server, database)
    # psycopg's own `with` would roll back, and complain on standard error where a signal ended a statement
    with told(at), closing(connect(at, limit_s=limit_s)) as connection:
        try:
            yield connection
        except BaseException:
            if not connection.closed and connection.info.transaction_status == TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
            raise


@contextmanager
def told(at: Address) -> Iterator[None]:
    """Say what psycopg raises within the block in one sentence that names the server."""
    try:
        yield
    except psycopg.Error as error:
        raise InfrastructureError(
            f"The Postgres server at {place(at.host, at.port)} cannot be used: {reason_of(error, at.password)}.",
            next_step="Check that it runs and can be reached from here; its own log says more.",
        ) from error


def reason_of(error: psycopg.Error, password: str = "") -> str:
    """Return the first line of what was said, without the password and the full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else "no answer"
    return (reason.replace(password, "***") if password else reason).rstrip(".")


def connect(at: Address, *, require_auth: str | None = None, limit_s: float | None = None) -> Connection:
    """An autocommit connection; psycopg.OperationalError when there is none to be had, or none by `require_auth`."""
    connection = _Impatient.connect(
        host=at.host,
        port=at.port,
        user=at.user,
        password=at.password,
        dbname=at.maintenance_database,
        sslmode=at.sslmode or None,
        autocommit=True,
        application_name=APPLICATION_NAME,
        connect_timeout=_CONNECT_TIMEOUT_S,
        require_auth=require_auth,
        **SILENCE_LIMITS,
    )
    connection.limit_s = limit_s
    return connection


def describe(connection: Connection, at: Address, *, provider: str, owned: bool, source: str = "") -> Server:
    """The server behind `connection`, in its own words; `source` says where its programs came from."""
    names = ["max_connections", "superuser_reserved_connections", "reserved_connections", "server_version"]
    query = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
    settings: dict[str, str] = dict(connection.execute(query, [names]).fetchall())
    reserved = int(settings["superuser_reserved_connections"]) + int(settings.get("reserved_connections", 0))
    return Server(
        **asdict(at),
        version=settings["server_version"] + (f" ({source})" if source else ""),
        transport=f"tcp, {_authentication(connection, at)}, {_encryption(connection)}",
        provider=provider,
        max_connections=int(settings["max_connections"]),
        reserved_connections=reserved,
        pid=_postmaster_pid(connection),
        owned=owned,
        app=_make_login(connection) if owned else _login_of(connection, at),
    )


def _make_login(connection: Connection) -> Login:
    """Make the role that the service connects as, ordinary as in production.

    A superuser would take the connections that Postgres keeps back for superusers, and skip every check of rights.
    """
    login = Login(user=APP_USER, password=secrets.token_urlsafe(18), superuser=False)
    statement = SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(login.user), Literal(login.password))
    connection.execute(statement)
    return login


def _login_of(connection: Connection, at: Address) -> Login:
    """Return the user of a server that is not ours: the service connects as the one its URL names."""
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return Login(user=at.user, password=at.password, superuser=bool(row and row[0]))


def _authentication(connection: Connection, at: Address) -> str:
    """The method by which this very connection was let in."""
    if connection.info.server_version >= 160000:
        row = connection.execute("SELECT split_part(system_user, ':', 1)").fetchone()
        return str((row and row[0]) or "trust")
    if not connection.pgconn.used_password:
        return "no password"
    try:
        connect(at, require_auth="scram-sha-256").close()
    except psycopg.OperationalError:
        return "password, not scram"
    return "scram-sha-256"


def _encryption(connection: Connection) -> str:
    row = connection.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl").fetchone()
    return str(row[0]) if row else "no TLS"


def _postmaster_pid(connection: Connection) -> int | None:
    """The parent of our own backend, if a process of that pid is visible here and began when the backend did.

    The comparison of times keeps apart a server on another machine or in a container, whose pids mean others here.
    """
    query = "SELECT pid, extract(epoch FROM backend_start)::float8 FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    row = connection.execute(query).fetchone()
    assert row is not None  # our own backend is always listed
    pid, started = row
    try:
        backend = psutil.Process(pid)
        if "postgres" in backend.name() and abs(backend.create_time() - started) < 2.0:
            return backend.ppid()
    except psutil.Error:
        pass
    return None
