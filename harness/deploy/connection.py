"""Short administrative connections, and what a server says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil
import psycopg

from harness.domain.evidence import Server

APPLICATION_NAME = "poolbench"
_CONNECT_TIMEOUT_S = 5

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is and who we are there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    maintenance_database: str


@contextmanager
def admin(server: Server, database: str | None = None) -> Iterator[Connection]:
    """An autocommit connection to `database`, by default the one for maintenance."""
    at = Address(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        maintenance_database=database or server.maintenance_database,
    )
    with connect(at) as connection:
        yield connection


def connect(at: Address, *, require_auth: str | None = None) -> Connection:
    """An autocommit connection; psycopg.OperationalError when there is none to be had, or none by `require_auth`."""
    return psycopg.connect(
        host=at.host,
        port=at.port,
        user=at.user,
        password=at.password,
        dbname=at.maintenance_database,
        autocommit=True,
        application_name=APPLICATION_NAME,
        connect_timeout=_CONNECT_TIMEOUT_S,
        require_auth=require_auth,
    )


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
    )


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
