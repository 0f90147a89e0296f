"""Starts a service once, as it is, against an empty database, and looks what it consists of."""

from __future__ import annotations

import http.client
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
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
from harness.errors import InfrastructureError
from harness.places import places

OPENAPI = "/openapi.json"
PAGES = ("/docs", "/redoc")
_NAMED = re.compile(r"""(?:url: *|spec-url=)["']([^"']+)["']""")
"""the document's path in either page"""
HEALTH = ("health", "healthz", "healthcheck", "ready", "readyz", "live", "livez", "ping", "status", "alive")
"""last parts of paths that health checks have, dashes left out; in this order"""
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
        try:
            running = starting.wait(any_answer=True)
        except InfrastructureError as error:
            further = f"{error.next_step} A variable that it lacks is given as --env NAME=VALUE."
            raise InfrastructureError(error.cause, next_step=further, detail=error.detail) from None
        openapi_path, document = _document(running[0].host)
        operations = tuple(_tried(running[0].host, operations_of(document)))
        health_path = _health_path(running[0].host, operations)
        targets.close()  # they write their last words as they stop
        engines, processes = observe.read_applied(running)
    return Discovered(
        sources=sources,
        engines=engines,
        health_path=health_path,
        operations=operations,
        driver_pools=tuple(dict.fromkeys(pool for process in processes for pool in process.driver_pools)),
        openapi_path=openapi_path,
    )


def _document(host: str) -> tuple[str, Any]:
    """The path of the OpenAPI document, and the document; None where there is none."""
    for path in _document_paths(host):
        with suppress(ValueError):
            document = json.loads(_ask(host, path, whole=True)[1])
            if operations_of(document):
                return path, document
    return OPENAPI, None


def _document_paths(host: str) -> Iterator[str]:
    """Where it usually is, and where FastAPI's pages that show it have it from."""
    yield OPENAPI
    for page in PAGES:
        yield from _NAMED.findall(_ask(host, page, whole=True)[1])


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
            if re.sub("[-_]", "", path.rstrip("/").rpartition("/")[2]) == name and 200 <= status < 300:
                return path
    return next((f"/{name}" for name in HEALTH if 200 <= _ask(host, f"/{name}")[0] < 300), None)


def _ask(host: str, path: str, *, whole: bool = False) -> tuple[int, str]:
    """Status of the answer, 0 where there was none in time, and its text where it is wanted `whole`."""
    connection = http.client.HTTPConnection(urlsplit(host).netloc, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace") if whole else ""
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
