"""Databases on a server: one template, seeded once, and a clone of it for every launch."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from psycopg import OperationalError
from psycopg.sql import SQL, Identifier, Literal

from harness.deploy.connection import Connection, admin
from harness.deploy.leftovers import Owner, current_owner, owned_environment
from harness.domain.evidence import Server
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError

PREFIX = "poolbench_"
_NAME = re.compile(r"poolbench_[A-Za-z0-9_-]{1,53}")  # Postgres cuts names at 63 bytes
_WAL_LOG_SINCE = 150000


def default_prepare(spec: DatabaseSpec) -> tuple[str, ...]:
    """Migrate and seed for the reference app; it finds the database in DATABASE_URL."""
    return (sys.executable, "-m", "target_app.prepare", "--rows", str(spec.rows))


def template(server: Server, spec: DatabaseSpec, prepare: Sequence[str] | None = None) -> str:
    """The name of a filled template database on `server`, made by running `prepare` unless it is there already.

    It is filled under another name and renamed at the end, so that a template of that name is always whole.

    Raises:
        InfrastructureError: `prepare` failed; its last lines are the detail.
    """
    command = tuple(prepare or default_prepare(spec))
    name = template_name(command)
    with admin(server) as connection:
        # a second run on the same server waits here and then finds the template made
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        if not _exists(connection, name):
            _build(connection, server, name, command)
    return name


@contextmanager
def clone(server: Server, template: str, name: str) -> Iterator[str]:
    """A copy of `template` called `name` within the block; dropped at its end, whoever is still connected.

    The pages go through the WAL instead of a file copy between two checkpoints: quicker, and no checkpoint is left to
    disturb the measurement.
    """
    assert _NAME.fullmatch(name), f"{name!r} is not a name for a launch's database"
    try:
        with admin(server) as connection:
            strategy = " STRATEGY WAL_LOG" if connection.info.server_version >= _WAL_LOG_SINCE else ""
            statement = SQL("CREATE DATABASE {} TEMPLATE {}" + strategy)
            connection.execute(statement.format(Identifier(name), Identifier(template)))
            _sign(connection, name)
        yield name
    finally:
        # a server that is gone took its databases along, or keeps our signature on them for the next start
        with suppress(OperationalError), admin(server) as connection:
            _drop(connection, name)


def checkpoint(server: Server) -> None:
    """Write everything out now instead of in the middle of a measurement; only on a server of our own."""
    if server.owned:
        with admin(server) as connection:
            connection.execute("CHECKPOINT")


def drop_leftovers(server: Server) -> tuple[str, ...]:
    """Drop the databases that carry the signature of a run that is gone; returns their names.

    What has no signature of ours, or one of a run that may still live, stays.
    """
    query = SQL(
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE starts_with(datname, {})"
    ).format(Literal(PREFIX))
    with admin(server) as connection:
        rows = connection.execute(query).fetchall()
        owners = {name: Owner.from_text(comment) for name, comment in rows if comment}
        gone = tuple(name for name, owner in owners.items() if owner is not None and owner.is_gone())
        for name in gone:
            _drop(connection, name)
    return gone


def _build(connection: Connection, server: Server, name: str, command: Sequence[str]) -> None:
    building = f"{PREFIX}building_{uuid4().hex[:12]}"
    connection.execute(SQL("CREATE DATABASE {}").format(Identifier(building)))
    _sign(connection, building)
    try:
        _prepare(server.url(building), command)
        for step in (
            "COMMENT ON DATABASE {} IS NULL",  # it outlives this run
            "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false",  # a connection would make every clone fail
        ):
            connection.execute(SQL(step).format(Identifier(building)))
        connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(building), Identifier(name)))
    except BaseException:
        _drop(connection, building)
        raise


def _prepare(url: str, command: Sequence[str]) -> None:
    environment = {**os.environ, **owned_environment(), "DATABASE_URL": url}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        raise InfrastructureError(
            f"Filling the database failed: {' '.join(command)} ended with code {done.returncode}.",
            next_step="Its last lines are below; run it by hand with DATABASE_URL set to see more.",
            detail="\n".join(done.stdout.decode(errors="replace").splitlines()[-20:]),
        )


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def _sign(connection: Connection, name: str) -> None:
    signature = Literal(current_owner().to_text())
    connection.execute(SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(name), signature))


def _drop(connection: Connection, name: str) -> None:
    connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def template_name(command: Sequence[str]) -> str:
    """Changes with the command, and with the code of the package it runs when that is `python -m package...`."""
    digest = hashlib.sha256("\0".join(command[1:]).encode())
    if len(command) > 2 and command[1] == "-m":
        package = find_spec(command[2].split(".")[0])
        for folder in (package and package.submodule_search_locations) or ():
            for source in sorted(Path(folder).rglob("*.py")):
                digest.update(source.read_bytes())
    return f"{PREFIX}template_{digest.hexdigest()[:12]}"
