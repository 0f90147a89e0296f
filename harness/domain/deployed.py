"""What is up while a sitting lasts: a Postgres server, and targets that answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A role that may connect. `password` is never written to disk or shown."""

    user: str
    password: str = field(repr=False)
    superuser: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Postgres server that is up. `password` is never written to disk or shown."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    version: str
    transport: str
    """for example "tcp, scram-sha-256, no TLS" """
    provider: str
    max_connections: int
    reserved_connections: int
    pid: int | None
    """of the postmaster, None when it does not run on this machine"""
    owned: bool
    """whether settings may be changed and checkpoints forced"""
    maintenance_database: str = "postgres"
    """a database that exists, to connect to while others are made and dropped"""
    sslmode: str = ""
    """libpq's word for what the URL of a server that is not ours asks for; "" where it says nothing"""
    app: Login | None = None
    """whom the service connects as; None: as poolbench itself does"""

    @property
    def place(self) -> str:
        """Return "host:port" as a URL has it."""
        return place(self.host, self.port)

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Return poolbench's own connection URL, with the password percent-encoded."""
        return self._url(self.user, self.password, database, scheme)

    def app_url(self, database: str) -> str:
        """Return the URL the service is given, which owns the database."""
        return self.url(database) if self.app is None else self._url(self.app.user, self.app.password, database)

    def _url(self, user: str, password: str, database: str, scheme: str = "postgresql") -> str:
        from urllib.parse import quote

        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        query = f"?sslmode={self.sslmode}" if self.sslmode else ""
        return f"{scheme}://{credentials}@{self.place}/{database}{query}"


def place(host: str, port: int) -> str:
    """Return "host:port", with the brackets that an address of IPv6 needs before a port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTarget:
    """A launch whose target answers. Empty `pids` and None mean: it was not started by poolbench."""

    launch_id: str
    host: str
    """base URL, http://127.0.0.1:PORT"""
    database: str | None
    pids: tuple[int, ...]
    """of the launcher process; its children are the workers"""
    probe_dir: Path | None
    log: Path | None
    workers: tuple[int, ...] = ()
    """pids of the launcher's workers; empty where it serves by itself, or the system does not show them"""
