"""A Postgres server that already runs. Only databases named poolbench_* are made there; settings are not touched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from harness.deploy.connection import Address, Connection, connect, describe, reason_of, told
from harness.deploy.databases import drop_leftovers
from harness.deploy.provider import Settings, setting_text
from harness.domain.deployed import Server, place
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError, UsageError

_FORM = "postgresql://user:password@host:port/database"
_PASSED_ON = {"host", "port", "user", "password", "dbname", "sslmode"}
_BYTES = {"B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
_FACTOR = {**_BYTES, **_SECONDS}
_BOOLEAN = {"on": "on", "true": "on", "yes": "on", "off": "off", "false": "off", "no": "off"}


class UrlProvider:
    """Connects, checks that the server is as the experiment wants it, and clears what a killed run left there."""

    @contextmanager
    def start(self, spec: DatabaseSpec) -> Iterator[Server]:
        at = parse_url(spec.url)
        try:
            connection = connect(at)
        except psycopg.OperationalError as error:
            raise _unreachable(at, error) from None
        with told(at), closing(connection):
            _check_rights(connection, at)
            _check_settings(connection, spec.settings)
            server = describe(connection, at, provider="url", owned=False)
        drop_leftovers(server)
        yield server


def parse_url(url: str | None) -> Address:
    """The parts of a connection URL; a driver as in postgresql+asyncpg:// is ignored.

    Raises:
        UsageError: there is no URL, or it is not of the form above. The URL itself is never shown: it has a password.
    """
    if not url:
        raise UsageError('[database] provider = "url" needs a url.', next_step=f'Add url = "{_FORM}".')
    try:
        parts = conninfo_to_dict(re.sub(r"^postgresql\+\w+://", "postgresql://", url))
    except psycopg.ProgrammingError:
        raise UsageError("[database] url cannot be read.", next_step=f"Write it as {_FORM}.") from None
    host, further = str(parts.get("host", "")), sorted(set(parts) - _PASSED_ON)
    if not host or "/" in host or "," in host:
        raise UsageError("[database] url does not name one host to reach over TCP.", next_step=f"Write it as {_FORM}.")
    if further:
        raise UsageError(
            f"[database] url has parameters that cannot be passed on to every driver: {', '.join(further)}.",
            next_step=f"Write it as {_FORM}.",
        )
    try:
        port = int(parts.get("port") or 5432)
    except ValueError:
        raise UsageError(
            "[database] url cannot be read: its port is no number.", next_step=f"Write it as {_FORM}."
        ) from None
    user = str(parts.get("user") or "postgres")
    return Address(
        host=host,
        port=port,
        user=user,
        password=str(parts.get("password") or ""),
        maintenance_database=str(parts.get("dbname") or user),
        sslmode=str(parts.get("sslmode") or ""),
    )


def same_value(wanted: str, actual: str) -> bool:
    """Whether two spellings of a setting mean the same: 1GB and 1024MB, on and true, 1.10 and 1.1."""
    return _canonical(wanted) == _canonical(actual)


def _canonical(text: str) -> str | float:
    text = text.strip()
    number = re.fullmatch(r"([-+]?[\d.]+)\s*([A-Za-z]*)", text)
    if number and (not number[2] or number[2] in _FACTOR):
        try:
            return float(number[1]) * _FACTOR.get(number[2], 1)
        except ValueError:
            return text
    return _BOOLEAN.get(text.lower(), text)


def _check_settings(connection: Connection, settings: Settings) -> None:
    for name, value in settings.items():
        row = connection.execute("SELECT current_setting(%s, true)", [name]).fetchone()
        actual, wanted = row[0] if row else None, setting_text(value)
        if actual is None:
            raise UsageError(
                f'The server at [database] url knows no setting "{name}".',
                next_step="Remove it from [database] settings.",
            )
        if not same_value(wanted, actual):
            raise UsageError(
                f"[database] settings ask for {name} = {wanted}, but the server at [database] url has {actual}, and "
                "poolbench changes no settings of a server that is not its own.",
                next_step='Change it on the server, remove it here, or use provider = "embedded".',
            )


def _check_rights(connection: Connection, at: Address) -> None:
    row = connection.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if row != (True,):
        raise UsageError(
            f'The user "{at.user}" of [database] url may not create databases.',
            next_step=f'Allow it with ALTER ROLE "{at.user}" CREATEDB; poolbench makes and drops poolbench_* only.',
        )


def _unreachable(at: Address, error: psycopg.OperationalError) -> InfrastructureError:
    return InfrastructureError(
        f"The Postgres server at {place(at.host, at.port)} cannot be used: {reason_of(error, at.password)}.",
        next_step="Check host, port, user and password of [database] url, and that the server runs.",
    )
