"""What the probe wrote inside the targets, read once they have been measured."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from harness.domain.evidence import PROBE_COLUMNS, RunningTarget, SamplerGap
from harness.observe.sampler import Row


def read_probe(targets: Sequence[RunningTarget]) -> tuple[list[Row], list[SamplerGap]]:
    """The lines of every target's probe files, and a gap for each file or line that should be there and is not."""
    rows: list[Row] = []
    gaps: list[SamplerGap] = []
    for target in targets:
        if target.probe_dir is None:
            continue
        files = sorted(target.probe_dir.glob("probe-*.jsonl"))
        if not files:
            gaps.append(_gap(target, f"the target of {target.launch_id} wrote no probe-*.jsonl"))
        for file in files:
            lines, broken = _read_lines(file)
            rows.extend({**line, "launch_id": target.launch_id} for line in lines)
            gaps.extend(_gap(target, f"{file.name} of {target.launch_id}, {reason}") for reason in broken)
    return rows, gaps


def _read_lines(file: Path) -> tuple[list[dict[str, object]], list[str]]:
    """Good lines and what is wrong with the others. A last line without its end was cut as the process ended."""
    text = file.read_text(errors="replace")
    whole = text[: text.rfind("\n") + 1]
    good: list[dict[str, object]] = []
    broken: list[str] = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            good.append({name: row[name] for name in PROBE_COLUMNS})
        except (ValueError, KeyError, TypeError) as error:
            broken.append(f"line {number}: {type(error).__name__} {error}")
    return good, broken


def _gap(target: RunningTarget, reason: str) -> SamplerGap:
    t_ns = time.monotonic_ns()
    return SamplerGap(sampler="probe", t_ns=t_ns, length_s=0.0, reason=reason, launch_id=target.launch_id)
