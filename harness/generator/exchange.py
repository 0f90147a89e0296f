"""The files by which the generator and the orchestrator signal each other (docs/formats.md), and what is in them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent

from harness.domain.experiment import Workers
from harness.domain.load import EndpointCount, LaunchLoad, Ledger, LoadPlan, Segment, TaskCount, Turn, TurnRun
from harness.errors import InfrastructureError, PoolbenchError, UsageError

POLL_S = 0.002
_KINDS: Mapping[str, type[PoolbenchError]] = {
    "usage": UsageError,
    "infrastructure": InfrastructureError,
    "bug": PoolbenchError,
}


def publish(path: Path, value: Any) -> None:
    """Write JSON beside the path and rename it there: a reader sees the whole file or none."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)


def wait_for(path: Path, meanwhile: Callable[[], None] = lambda: None) -> Any:
    """The content of a file that the orchestrator is about to write. It kills this process if it never does."""
    while not path.exists():
        meanwhile()
        gevent.sleep(POLL_S)
    return json.loads(path.read_text(encoding="utf-8"))


def read_plan(path: Path) -> LoadPlan:
    """The load plan as the orchestrator wrote it."""
    return plan_of(read_raw_plan(path))


def read_raw_plan(path: Path) -> dict[str, Any]:
    """The same as plain values. Hosts with a password in them are in the environment, and in no file."""
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    hosts = json.loads(os.environ.get("POOLBENCH_HOSTS", "{}"))
    for launch in raw["launches"]:
        launch["host"] = hosts.get(launch["launch_id"], launch["host"])
    return raw


def plan_of(raw: Mapping[str, Any]) -> LoadPlan:
    """A load plan from plain values."""
    workers = raw.get("workers")
    return LoadPlan(
        launches=tuple(map(_launch_load, raw["launches"])),
        segments=tuple(Segment(**segment) for segment in raw["segments"]),
        turns=tuple(Turn(**turn) for turn in raw["turns"]),
        pause_s=raw["pause_s"],
        output_dir=Path(raw["output_dir"]),
        environment=raw.get("environment", {}),
        processes=raw.get("processes", 1),
        workers=None if workers is None else Workers(**workers),
    )


def _launch_load(raw: Mapping[str, Any]) -> LaunchLoad:
    gauges = raw.get("gauges")
    paths = {"scenario": Path(raw["scenario"]), "gauges": None if gauges is None else Path(gauges)}
    return LaunchLoad(**{**raw, **paths})


def ledger_of(raw: Mapping[str, Any]) -> Ledger:
    """A ledger from plain values."""
    return Ledger(
        tasks=tuple(TaskCount(**count) for count in raw["tasks"]),
        endpoints=tuple(EndpointCount(**count) for count in raw["endpoints"]),
        turns=tuple(TurnRun(**run) for run in raw["turns"]),
    )


def failure(error: PoolbenchError) -> dict[str, str]:
    """An error as plain values."""
    kind = next((name for name, error_type in _KINDS.items() if isinstance(error, error_type)), "bug")
    return {"kind": kind, "cause": error.cause, "next_step": error.next_step, "detail": error.detail}


def error_of(raw: Mapping[str, str]) -> PoolbenchError:
    """The error that `failure` described."""
    return _KINDS[raw["kind"]](raw["cause"], next_step=raw["next_step"], detail=raw["detail"])
