"""PgBouncer in transaction mode: one beside every target whose cell asks for it."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.deploy import leftovers
from harness.deploy.binaries import Account, scratch_parent, unprivileged_account
from harness.deploy.connection import Address
from harness.deploy.processes import Process, has_ended, stop_groups, tail
from harness.deploy.relay import at_port
from harness.deploy.url import parse_url
from harness.domain.load import Launch
from harness.errors import InfrastructureError

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 2.0
_PORT_ATTEMPTS = 3
_POLL_S = 0.01
_CLIENTS_MAX = 2000
_PREPARED_MAX = 200
_SINCE_PREPARED = (1, 21)
"""the version that carries prepared statements from server to server; before, it does not know the setting"""

_CONFIGURATION = """\
[databases]
* = host={host} port={upstream_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = {clients_max}
auth_type = {auth_type}
auth_file = {users}
stats_users = {user}
server_tls_sslmode = {sslmode}
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
log_stats = 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    path: str
    version: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A private folder of the account PgBouncer runs as; None: ours."""

    path: Path
    account: Account | None

    @property
    def log(self) -> Path:
        return self.path / "pgbouncer.log"

    def write(self, name: str, text: str) -> Path:
        """A file that the account alone can read: it may have a password in it."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)
        return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Bouncers:
    """How each launch reaches its database, and the PgBouncers among the ways."""

    urls: Mapping[str, str]
    pids: Mapping[str, int]


@contextmanager
def bouncers(launches: Sequence[Launch], urls: Mapping[str, str]) -> Iterator[Bouncers]:
    """Put a PgBouncer before every database of `urls` whose cell asks for one, within the block.

    `urls` maps a launch's id to where its database is reached.

    Raises:
        InfrastructureError: PgBouncer is not installed, or did not come up.
    """
    wanted = [launch for launch in launches if launch.cell.target.pgbouncer and launch.id in urls]
    if not wanted:
        yield Bouncers(urls=urls, pids={})
        return
    program = _find()
    with ExitStack() as stack:
        through = {
            launch.id: stack.enter_context(_bouncer(program, urls[launch.id], launch.cell.target.pgbouncer_pool_size))
            for launch in wanted
        }
        yield Bouncers(
            urls={**urls, **{launch_id: url for launch_id, (url, _) in through.items()}},
            pids={launch_id: pid for launch_id, (_, pid) in through.items()},
        )


def _find() -> _Program:
    path = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if path is None:
        raise InfrastructureError(
            "target.pgbouncer asks for PgBouncer, which is neither on PATH nor in /usr/sbin.",
            next_step="Install it (apt-get install pgbouncer), or set target.pgbouncer = false.",
        )
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    return _Program(path=path, version=(int(found[1]), int(found[2])) if found else (0, 0))


@contextmanager
def _bouncer(program: _Program, url: str, pool_size: int) -> Iterator[tuple[str, int]]:
    """The URL of the same database through a PgBouncer that runs within the block, and its process."""
    account = unprivileged_account()  # it refuses to run as root, as Postgres does
    path = scratch_parent(account) / f"{leftovers.FOLDER_PREFIX}pgbouncer-{secrets.token_hex(6)}"
    with leftovers.remembered(path), ExitStack() as stack:
        path.mkdir(mode=0o700)
        if account is not None:
            os.chown(path, account.uid, account.gid)
        port, process = _run(program, _Folder(path=path, account=account), parse_url(url), pool_size)
        stack.callback(stop_groups, [process], grace_s=_STOP_TIMEOUT_S)
        yield at_port(url.partition("?")[0], port), process.pid  # between app and PgBouncer there is no TLS


def _run(program: _Program, folder: _Folder, upstream: Address, pool_size: int) -> tuple[int, Process]:
    """Start it on a free port and wait until it listens there."""
    for _ in range(_PORT_ATTEMPTS):
        port = _free_port()
        process = _spawn(program, folder, _configured(program, folder, upstream, port, pool_size))
        try:
            if _wait_ready(folder, process):
                return port, process
        except BaseException:
            stop_groups([process], grace_s=_STOP_TIMEOUT_S)
            raise
        process.wait()
        if "in use" not in folder.log.read_text(errors="replace"):
            break
        # another program took the port between our looking and PgBouncer's binding
    raise InfrastructureError(
        f"PgBouncer ended with code {process.returncode} instead of coming up.",
        next_step="Its last lines are below.",
        detail=tail(folder.log),
    )


def _configured(program: _Program, folder: _Folder, upstream: Address, port: int, pool_size: int) -> Path:
    users = folder.write("users.txt", f"{_quoted(upstream.user)} {_quoted(upstream.password)}\n")
    text = _CONFIGURATION.format(
        host=upstream.host,
        upstream_port=upstream.port,
        port=port,
        pool_size=pool_size,
        clients_max=_CLIENTS_MAX,
        auth_type="scram-sha-256" if upstream.password else "trust",
        users=users,
        user=upstream.user,
        sslmode=upstream.sslmode or "prefer",
    )
    if program.version >= _SINCE_PREPARED:
        text += f"max_prepared_statements = {_PREPARED_MAX}\n"
    return folder.write("pgbouncer.ini", text)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _spawn(program: _Program, folder: _Folder, configuration: Path) -> Process:
    account = folder.account
    with folder.log.open("wb") as log:
        return subprocess.Popen(
            [program.path, str(configuration)],
            cwd=folder.path,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **leftovers.owned_environment()},
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )


def _wait_ready(folder: _Folder, process: Process) -> bool:
    """Whether it listens; False when it ended. Its log says so, whoever else may answer on the port."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if has_ended(process):
            return False
        log = folder.log.read_text(errors="replace")
        if "listening on 127.0.0.1" in log and "process up" in log:
            return True
        time.sleep(_POLL_S)
    raise InfrastructureError(
        f"PgBouncer did not come up within {_START_TIMEOUT_S:.0f} s.",
        next_step="Its last lines are below; a heavily loaded machine is the usual cause.",
        detail=tail(folder.log),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
