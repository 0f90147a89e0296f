"""What a target is started with: its environment, its command line and the socket it inherits."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.deploy.placeholders import filled
from harness.domain.cell import Cell
from harness.domain.experiment import Pool, Target
from harness.errors import InfrastructureError

OVERRIDES = "POOLBENCH_OVERRIDES"
"""`harness.probe.override.VARIABLE`: nothing of the probe is imported here"""
PROBE = Path(__file__).parents[1] / "probe" / "__main__.py"
"""Started by its path: a service's interpreter need not have poolbench, and may have a `harness` of its own."""

BOOTSTRAP = PROBE.parent / "bootstrap"
"""On the PYTHONPATH of a service that a command of its own starts, which has no place for the launcher."""

BACKLOG = 2048
"""Above the in-flight cap: a dropped SYN comes back after a second and looks like latency."""


_OF_TARGET = (
    "driver",
    "threadpool_tokens",
    "gc_freeze",
    "workers",
    "prepared_statement_cache_size",
    "statement_cache_size",
    "prepare_threshold",
    "pgbouncer",
    "lab",
)
_OVERRIDDEN = (
    *(f"pool.{field.name}" for field in fields(Pool) if field.name != "pool_prewarm"),
    "session.expire_on_commit",
    "target.threadpool_tokens",
    "target.gc_freeze",
    "target.prepared_statement_cache_size",
    "target.statement_cache_size",
    "target.prepare_threshold",
    "target.engine",
)
"""What `harness.probe.override` gives an own app, whether it reads its environment or not."""


def environment_of(cell: Cell, *, launch_id: str, database_url: str | None, port: int | None = None) -> dict[str, str]:
    """The variables the target reads, as docs/formats.md lists them; `[target] env` has the last word.

    Of an own app only what the experiment names: everything else stays as the service has it.
    """
    keys = [f"{name}.{field.name}" for name in ("pool", "session") for field in fields(getattr(cell, name))]
    keys += [f"target.{name}" for name in _OF_TARGET]
    values: dict[str, object] = {_last(key).upper(): _value(cell, key) for key in keys if cell.has_say(key)}
    values["APPLICATION_NAME"] = f"poolbench {launch_id}"
    if database_url is not None:
        values["DATABASE_URL"] = database_url
    if not cell.target.is_reference:
        overrides = {_last(key): _value(cell, key) for key in _OVERRIDDEN if cell.has_say(key)}
        values[OVERRIDES] = json.dumps(overrides)
    own = filled(cell.target.env, database_url=database_url, port=port)
    environment = {**{name: _text(value) for name, value in values.items()}, **own}
    if cell.target.command:
        path = environment.get("PYTHONPATH", os.environ.get("PYTHONPATH"))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(BOOTSTRAP), path)))
    return environment


def _last(key: str) -> str:
    return key.partition(".")[2]


def _value(cell: Cell, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(cell, section), name)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def command_of(cell: Cell, descriptor: int, *, probe: bool) -> list[str]:
    """The launcher's command line; it serves on the inherited socket `descriptor`."""
    command = [cell.target.python or sys.executable, str(PROBE), cell.target.app, "--fd", str(descriptor)]
    command += ["--workers", str(cell.target.workers)]
    if cell.target.cpus:
        command += ["--cpus", ",".join(map(str, cell.target.cpus))]
    return command if probe else [*command, "--no-probe"]


def own_command(target: Target, *, database_url: str | None, port: int) -> list[str]:
    """The service's own command line, its placeholders filled."""
    words = {str(place): word for place, word in enumerate(target.command)}
    python = target.python or sys.executable
    return [word.replace("{python}", python) for word in filled(words, database_url=database_url, port=port).values()]


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
