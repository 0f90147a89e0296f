"""The generator's side of the files by which it and the orchestrator signal each other (docs/formats.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent

from harness.domain.experiment import Workers
from harness.domain.load import LaunchLoad, LoadPlan, ProbeRequest, Segment, Turn

POLL_S = 0.002


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
    """The same as plain values. What holds a secret is in the environment, and in no file."""
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    secrets = json.loads(os.environ.get("POOLBENCH_SECRETS", "{}"))
    for launch in raw["launches"]:
        launch.update(secrets.get(launch["launch_id"], {}))
    return raw


def plan_of(raw: Mapping[str, Any]) -> LoadPlan:
    """A load plan from plain values."""
    workers, probe_user = raw.get("workers"), raw.get("probe_user")
    return LoadPlan(
        launches=tuple(map(launch_of, raw["launches"])),
        segments=tuple(Segment(**segment) for segment in raw["segments"]),
        turns=tuple(Turn(**turn) for turn in raw["turns"]),
        pause_s=raw["pause_s"],
        output_dir=Path(raw["output_dir"]),
        environment=raw.get("environment", {}),
        processes=raw.get("processes", 1),
        workers=None if workers is None else Workers(**workers),
        null_url=raw.get("null_url"),
        once=raw.get("once", False),
        probe_user=None if probe_user is None else ProbeRequest(**probe_user),
    )


def launch_of(raw: Mapping[str, Any]) -> LaunchLoad:
    """A launch from plain values."""
    gauges = raw.get("gauges")
    paths = {"scenario": Path(raw["scenario"]), "gauges": None if gauges is None else Path(gauges)}
    chosen = {name: tuple(raw.get(name, ())) for name in ("user_classes", "tags", "exclude_tags")}
    return LaunchLoad(**{**raw, **paths, **chosen})
