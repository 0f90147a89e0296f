"""The files by which the generator and the orchestrator signal each other (docs/formats.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.domain.load import LaunchLoad, LoadPlan, Segment


def publish(path: Path, value: Any) -> None:
    """Write JSON beside the path and rename it there: a reader sees the whole file or none."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(value), encoding="utf-8")
    beside.replace(path)


def read_plan(path: Path) -> LoadPlan:
    """The load plan as the orchestrator wrote it."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return LoadPlan(
        launches=tuple(LaunchLoad(**{**launch, "scenario": Path(launch["scenario"])}) for launch in raw["launches"]),
        segments=tuple(Segment(**segment) for segment in raw["segments"]),
        output_dir=Path(raw["output_dir"]),
    )
