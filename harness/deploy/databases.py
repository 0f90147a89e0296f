"""Databases on a server: one template, seeded once, and a clone of it for every launch."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from psycopg.errors import DuplicateDatabase, Error
from psycopg.sql import SQL, Identifier, Literal

from harness.deploy.connection import Connection, admin
from harness.deploy.leftovers import Owner, current_owner, log_folder
from harness.deploy.placeholders import filled
from harness.deploy.processes import in_words, last_lines, start_marked, stop_groups, sweep
from harness.deploy.target import launch
from harness.domain.cell import Cell
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec, Target
from harness.domain.load import Launch
from harness.errors import InfrastructureError

PREFIX = "poolbench_"
PREPARE_TIMEOUT_S = 3600.0
"""A command that fills a database for longer has most likely stopped: waits for an answer on a terminal, say."""
_NAME = re.compile(r"poolbench_[A-Za-z0-9_-]{1,53}")  # Postgres cuts names at 63 bytes
_NO_EXTENSION = re.compile(r'extension "([^"]+)" is not available')
_WAL_LOG_SINCE = 150000
_SAY_EVERY_S = 10.0
_POLL_S = 0.05
_GRACE_S = 2.0
_DROP_TIMEOUT_S = 30.0

Say = Callable[[float, str, str], None]
"""Told for how many seconds a command has been filling a database, which one, and the last line it wrote."""
Commands = tuple[tuple[str, ...], ...]


def default_prepare(spec: DatabaseSpec) -> tuple[str, ...]:
    """Migrate and seed for the reference app; it finds the database in DATABASE_URL."""
    return (sys.executable, "-m", "target_app.prepare", "--rows", str(spec.rows))


@contextmanager
def template(
    server: Server,
    spec: DatabaseSpec,
    commands: Sequence[Sequence[str]] | None = None,
    *,
    cell: Cell | None = None,
    say: Say = lambda *_: None,
) -> Iterator[str]:
    """The name of a filled template database within the block, made by running `commands` unless this run has made it.

    None are the reference app's own; without any the database stays empty. They are run one after the other, as the
    service of `cell` is: in its folder, with its environment, `{python}` standing for its interpreter. Then the
    service itself is started, where something is to fill the database through it.

    A template is never taken from another run: what a command reads, such as the migrations of `alembic upgrade head`,
    cannot be known, and the schema of last week would be measured without a word. So on a server that is not ours it
    is dropped at the end of the block that made it. It is filled under another name and renamed at the end, so that a
    template of that name is always whole. `say` is told every ten seconds how long the command takes so far.

    Raises:
        InfrastructureError: a command failed or took too long, with its last lines; or the service did not start.
    """
    target = Target() if cell is None else cell.target
    python = target.python or sys.executable
    if commands is None:
        commands = (default_prepare(spec),)
    filling = tuple(tuple(part.replace("{python}", python) for part in command) for command in commands)
    through_service: Commands = ((target.title,), *target.seeding) if target.seeding else ()
    name = template_name((*filling, *through_service), spec, target.dir)
    with admin(server) as connection:
        # a thread that asks for the same at once waits here and then finds it made
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [f"{PREFIX}template"])
        made = not _exists(connection, name)
        if made:
            _build(connection, server, name, filling, cell=cell, say=say)
    try:
        yield name
    finally:
        if made and not server.owned:
            _drop_if_there(server, name)


@contextmanager
def clone(server: Server, template: str, name: str) -> Iterator[str]:
    """A copy of `template` called `name` within the block; dropped at its end, whoever is still connected.

    The pages go through the WAL instead of a file copy between two checkpoints: quicker, and no checkpoint is left to
    disturb the measurement.

    Raises:
        InfrastructureError: there is a database of that name, which is left alone, or the server makes none.
    """
    assert _NAME.fullmatch(name), f"{name!r} is not a name for a launch's database"
    ours = False
    try:
        with admin(server) as connection:
            strategy = " STRATEGY WAL_LOG" if connection.info.server_version >= _WAL_LOG_SINCE else ""
            statement = SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}" + strategy)
            ours = True  # from the moment it may be there: a signal can come between its making and the next line
            try:
                connection.execute(statement.format(*map(Identifier, (name, template, _owner(server)))))
            except Error as error:
                ours = False
                if isinstance(error, DuplicateDatabase):
                    raise _taken(name) from None
                raise
            _sign(connection, name)
        yield name
    finally:
        if ours:
            _drop_if_there(server, name)


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


def template_name(commands: Commands, spec: DatabaseSpec, folder: str | None = None) -> str:
    """Return a name that changes with the run, every word of the commands, the folder they run in and the rows."""
    key = repr((current_owner().token, folder or str(Path.cwd()), spec.rows, commands))
    return f"{PREFIX}template_{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _build(
    connection: Connection, server: Server, name: str, commands: Commands, *, cell: Cell | None, say: Say
) -> None:
    building = f"{PREFIX}building_{uuid4().hex[:12]}"
    connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(building), Identifier(_owner(server))))
    try:
        _sign(connection, building)
        url, target = server.app_url(building), Target() if cell is None else cell.target
        if commands:
            with _as_administrator(connection, server):
                for command in commands:
                    _prepare(url, command, target, say, key="[database] prepare")
        if cell is not None and target.seeding:
            _through_service(url, cell, say)
        if commands or target.seeding:
            # Without statistics Postgres guesses; and nothing is left for autovacuum in the middle of a measurement.
            with admin(server, building) as inside:
                inside.execute("VACUUM (FREEZE, ANALYZE)")
        # a connection would make every clone fail
        connection.execute(SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(Identifier(building)))
        connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(building), Identifier(name)))
    except BaseException:
        _drop_if_there(server, building)  # over a connection of its own: this one may have been cut
        raise


def _owner(server: Server) -> str:
    return server.user if server.app is None else server.app.user


@contextmanager
def _as_administrator(connection: Connection, server: Server) -> Iterator[None]:
    """Let the app's role make whatever `prepare` wants within the block, on a server of our own.

    Extensions such as PostGIS need an administrator, in production too; there one has made them beforehand.
    """
    if server.app is None or not server.owned:
        yield
        return
    role = Identifier(server.app.user)
    connection.execute(SQL("ALTER ROLE {} SUPERUSER").format(role))
    try:
        yield
    finally:
        connection.execute(SQL("ALTER ROLE {} NOSUPERUSER").format(role))


def _through_service(url: str, cell: Cell, say: Say) -> None:
    """Start the service on the database, without the probe, and run what fills it over HTTP."""
    target = cell.target
    once = Launch(id="prepare", cell=cell, block=0)
    with (
        log_folder("prepare") as folder,
        launch(once, database_url=url, probe=False, probe_dir=folder, log=folder / "target.log") as running,
    ):
        known = {"{url}": running.host, "{port}": running.host.rpartition(":")[2]}
        known["{python}"] = target.python or sys.executable
        for command in target.seeding:
            words = list(command)
            for placeholder, value in known.items():
                words = [word.replace(placeholder, value) for word in words]
            _prepare(url, words, target, say, key="[target] prepare")


def _prepare(url: str, command: Sequence[str], target: Target, say: Say, *, key: str) -> None:
    """Run `command`, and whatever it started, to its end; `key` is where the experiment has it."""
    mark = uuid4().hex
    own = {} if target.is_reference else filled(target.env, database_url=url, port=None)
    with tempfile.TemporaryFile() as output:
        try:
            process = start_marked(
                command,
                environment={**os.environ, "DATABASE_URL": url, **own},
                output=output,
                mark=mark,
                folder=target.dir,
            )
        except OSError as error:
            raise InfrastructureError(
                f"Filling the database failed: {command[0]} cannot be run: {error.strerror}.",
                next_step=f"Correct {key}; it is run without a shell, in [target] dir or where you are.",
            ) from error
        try:
            code = _wait(process, command, output, say)
        finally:
            stop_groups([process], grace_s=_GRACE_S)
            sweep(mark)
        if code != 0:
            raise _prepare_failed(command, f"ended with {in_words(code)}", output)


def _wait(process: subprocess.Popen[bytes], command: Sequence[str], output: IO[bytes], say: Say) -> int:
    began_s = said_s = time.monotonic()
    while (code := process.poll()) is None:
        now_s = time.monotonic()
        if now_s - began_s > PREPARE_TIMEOUT_S:
            raise _prepare_failed(command, f"was not done within {PREPARE_TIMEOUT_S:g} s", output)
        if now_s - said_s >= _SAY_EVERY_S:
            last = "".join(last_lines(output, 1)).strip()
            say(now_s - began_s, " ".join(command), last)
            said_s = now_s
        time.sleep(_POLL_S)
    return code


def _prepare_failed(command: Sequence[str], what: str, output: IO[bytes]) -> InfrastructureError:
    detail = "\n".join(last_lines(output, 20))
    next_step = "Its last lines are below; run it by hand with DATABASE_URL set to see more."
    if lacking := _NO_EXTENSION.search(detail):
        next_step = (
            f"This Postgres comes without the extension {lacking[1]}: take one that has it, with [database] provider = "
            '"container" and its image, or "url".'
        )
    return InfrastructureError(
        f"Filling the database failed: {' '.join(command)} {what}.", next_step=next_step, detail=detail
    )


def _taken(name: str) -> InfrastructureError:
    return InfrastructureError(
        f"There is a database {name} on the server already: another run of the same name is at work, or left it.",
        next_step=f'Wait until it is over, or drop the database if it is not needed: DROP DATABASE "{name}".',
    )


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def _sign(connection: Connection, name: str) -> None:
    signature = Literal(current_owner().to_text())
    connection.execute(SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(name), signature))


def _drop_if_there(server: Server, name: str) -> None:
    """Drop a database of ours; a server that is gone took it along, or keeps our signature on it for the next start."""
    with suppress(InfrastructureError), admin(server, limit_s=_DROP_TIMEOUT_S) as connection:
        _drop(connection, name)


def _drop(connection: Connection, name: str) -> None:
    connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
