"""What a target is started with: its environment, its command line and the socket it inherits."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from harness.domain.experiment import Cell
from harness.errors import InfrastructureError

PROBE = Path(__file__).parents[1] / "probe" / "__main__.py"
"""Started by its path: a service's interpreter need not have poolbench, and may have a `harness` of its own."""

BACKLOG = 2048
"""Above the in-flight cap: a dropped SYN comes back after a second and looks like latency."""


def environment_of(cell: Cell, *, launch_id: str, database_url: str | None) -> dict[str, str]:
    """The variables the target reads, as docs/formats.md lists them; `[target] env` has the last word."""
    values: dict[str, object] = {
        "DRIVER": cell.target.driver,
        "POOL_SIZE": cell.pool.pool_size,
        "MAX_OVERFLOW": cell.pool.max_overflow,
        "POOL_TIMEOUT_S": cell.pool.pool_timeout_s,
        "POOL_RECYCLE_S": cell.pool.pool_recycle_s,
        "POOL_PRE_PING": cell.pool.pool_pre_ping,
        "POOL_USE_LIFO": cell.pool.pool_use_lifo,
        "POOL_PREWARM": cell.pool.pool_prewarm,
        "POOL_CLASS": cell.pool.pool_class,
        "SESSION_SCOPE": cell.session.session_scope,
        "REPOSITORY": cell.session.repository,
        "EXPIRE_ON_COMMIT": cell.session.expire_on_commit,
        "REFRESH_AFTER_WRITE": cell.session.refresh_after_write,
        "RETURNING": cell.session.returning,
        "ISOLATION": cell.session.isolation,
        "AUTOCOMMIT_READS": cell.session.autocommit_reads,
        "UPDATE_MODE": cell.session.update_mode,
        "DELETE_MODE": cell.session.delete_mode,
        "TEAM_LOADER": cell.session.team_loader,
        "STATEMENT_TIMEOUT_MS": cell.session.statement_timeout_ms,
        "IDLE_IN_TRANSACTION_SESSION_TIMEOUT_MS": cell.session.idle_in_transaction_session_timeout_ms,
        "MISTAKE": cell.session.mistake,
        "THREADPOOL_TOKENS": cell.target.threadpool_tokens,
        "GC_FREEZE": cell.target.gc_freeze,
        "WORKERS": cell.target.workers,
        "PREPARED_STATEMENT_CACHE_SIZE": cell.target.prepared_statement_cache_size,
        "STATEMENT_CACHE_SIZE": cell.target.statement_cache_size,
        "PREPARE_THRESHOLD": cell.target.prepare_threshold,
        "PGBOUNCER": cell.target.pgbouncer,
        "LAB": cell.target.lab,
        "APPLICATION_NAME": f"poolbench {launch_id}",
    }
    if database_url is not None:
        values["DATABASE_URL"] = database_url
    return {**{name: _text(value) for name, value in values.items()}, **cell.target.env}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def command_of(cell: Cell, descriptor: int, *, probe: bool) -> list[str]:
    """The launcher's command line; it serves on the inherited socket `descriptor`."""
    command = [sys.executable, str(PROBE), cell.target.app, "--fd", str(descriptor)]
    command += ["--workers", str(cell.target.workers)]
    if cell.target.cpus:
        command += ["--cpus", ",".join(map(str, cell.target.cpus))]
    return command if probe else [*command, "--no-probe"]


def listening_socket(port: int) -> socket.socket:
    """A socket that listens before the target starts, so that nothing can take the port in between.

    Raises:
        InfrastructureError: the port is taken.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "there is no such port"
        raise InfrastructureError(
            f"The target cannot listen on 127.0.0.1:{port}: {reason}.",
            next_step="Stop the program that has the port, or set [target] port = 0 for any free one.",
        ) from error
    return listener
