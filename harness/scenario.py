"""Looks at scenarios without sending anything: what they consist of, and what of them does not apply."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import drive, plan
from harness.domain.cell import Cell
from harness.domain.experiment import Load
from harness.domain.load import LaunchLoad, ScenarioOutline
from harness.errors import InfrastructureError, UsageError
from harness.signals import error_of

PATIENCE_S = 20.0
_LOG_LINES = 15


def look_at(cells: Sequence[Cell]) -> tuple[ScenarioOutline, ...]:
    """What the scenarios of these cells come to, each once.

    They are imported in a process of their own, since Locust patches the one it is in. Raises UsageError for one that
    cannot be run, as the generator would.
    """
    loads = list({repr(_chosen(cell.load)): cell.load for cell in cells}.values())
    outlines = _run([_wanted(load) for load in loads], names=", ".join(load.scenario for load in loads))
    return tuple(_outline(load, raw) for load, raw in zip(loads, outlines, strict=True))


def _chosen(load: Load) -> tuple[Any, ...]:
    """What decides how a scenario comes out."""
    return (load.scenario, load.model, load.users, load.arguments, load.user_classes, load.tags, load.exclude_tags)


def _wanted(load: Load) -> dict[str, Any]:
    launch = LaunchLoad(
        launch_id="",
        host="http://127.0.0.1",
        scenario=plan.resolve_scenario(load.scenario, Path.cwd()),
        request_timeout_s=load.request_timeout_s,
        max_in_flight=1,
        arguments=load.arguments,
        user_classes=load.user_classes,
        tags=load.tags,
        exclude_tags=load.exclude_tags,
    )
    plain = drive.plain_launch(launch) | {"arguments": dict(load.arguments)}  # to a pipe, and to no file
    return {"launch": plain, "model": load.model, "users": load.users or 0}


def _run(wanted: Sequence[Any], *, names: str) -> list[Any]:
    """What the process says of each scenario. It answers through a pipe, which a kill leaves nowhere."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.generator.outline"],
            input=json.dumps(wanted).encode(),
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            env=drive.generator_environment(),
        )
    except subprocess.TimeoutExpired as late:
        raise UsageError(
            f"Loading {names} took longer than {PATIENCE_S:g} s.",
            next_step="Move what a scenario waits for at import into on_start or a listener of test_start.",
            detail=_last_lines(late.stderr or b""),
        ) from None
    try:
        outlines: list[Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):  # it did not come to its answer
        raise InfrastructureError(
            f"The process that loads {names} ended with exit code {done.returncode}.",
            next_step="Make `python -m locust -f FILE --list` work first.",
            detail=_last_lines(done.stderr),
        ) from None
    return outlines


def _last_lines(output: bytes) -> str:
    return "\n".join(output.decode("utf-8", "replace").splitlines()[-_LOG_LINES:])


def _outline(load: Load, raw: Any) -> ScenarioOutline:
    if "failure" in raw:
        raise error_of(raw["failure"])
    return ScenarioOutline(
        scenario=load.scenario,
        model=load.model,
        tasks=raw["tasks"],
        users=raw["users"],
        notes=tuple(raw["notes"]),
    )
