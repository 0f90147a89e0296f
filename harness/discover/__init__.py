"""Starts a service once, as it is, against an empty database, and looks what it consists of."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness import deploy, observe, plan
from harness.discover.openapi import operations_of
from harness.discover.scan import scan
from harness.domain.discovered import Discovered, Operation
from harness.domain.events import Emit
from harness.domain.experiment import Experiment
from harness.domain.load import launch_of
from harness.places import places

OPENAPI = "/openapi.json"
HEALTH = ("health", "healthz", "healthcheck", "ready", "readyz", "live", "livez", "ping", "status", "alive")
"""last parts of paths that health checks have; in this order"""
ASKED_MAX = 100
"""operations that are tried; each may take `PATIENCE_S`"""
PATIENCE_S = 3.0

__all__ = ["discover", "scan"]


def discover(experiment: Experiment, *, emit: Emit) -> Discovered:
    """Start the experiment's one target and ask it everything that can be asked without data.

    Where it does not come up, the log that the error names stays in a temporary folder.

    Raises:
        PoolbenchError: as a run would.
    """
    (cell,) = plan.expand(experiment)
    sources = scan(Path(cell.target.dir or Path.cwd()))
    target = replace(cell.target, env={**sources.env, **cell.target.env}, health_path=OPENAPI)
    launch = launch_of(replace(cell, target=target), 1)
    with ExitStack() as stack:
        folder = stack.enter_context(deploy.log_folder("init"))
        place = stack.enter_context(places(secrets.token_hex(2), emit, [launch.cell]))(launch.cell)
        urls = stack.enter_context(place.databases([launch]))
        start = deploy.TargetStart(
            launch=launch, database_url=urls.get(launch.id), probe_dir=folder / "probe", log=folder / "target.log"
        )
        targets = stack.enter_context(ExitStack())
        starting = targets.enter_context(deploy.start_all([start], probe=True))
        running = starting.wait(any_answer=True)
        _, document = _ask(running[0].host, OPENAPI)
        operations = tuple(_tried(running[0].host, operations_of(document)))
        health_path = _health_path(running[0].host, operations)
        targets.close()  # they write their last words as they stop
        engines, _ = observe.read_applied(running)
    return Discovered(sources=sources, engines=engines, health_path=health_path, operations=operations)


def _tried(host: str, operations: Sequence[Operation]) -> list[Operation]:
    """The operations, with what those that need nothing answer; what they do makes engines that are made late."""
    left = ASKED_MAX
    tried = []
    for operation in operations:
        if operation.method == "get" and operation.url is not None and left:
            left -= 1
            tried.append(replace(operation, status=_ask(host, operation.url)[0]))
        else:
            tried.append(operation)
    return tried


def _health_path(host: str, operations: Sequence[Operation]) -> str | None:
    """The path that answers 2xx and is called like a health check, those of the document first."""
    documented = {operation.path: operation.status or 0 for operation in operations if operation.method == "get"}
    for name in HEALTH:
        for path, status in documented.items():
            if path.rstrip("/").rpartition("/")[2] == name and 200 <= status < 300:
                return path
    return next((f"/{name}" for name in HEALTH if 200 <= _ask(host, f"/{name}")[0] < 300), None)


def _ask(host: str, path: str) -> tuple[int, Any]:
    """Status and JSON of the answer; 0 where there was none in time, None where it is no JSON."""
    connection = http.client.HTTPConnection(urlsplit(host).netloc, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()) if path == OPENAPI else None
    except ValueError:
        return answer.status, None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
