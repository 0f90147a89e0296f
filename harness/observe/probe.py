"""What the probe wrote inside the targets, read once they have been measured."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.domain.evidence import COUNT_COLUMNS, PROBE_COLUMNS, AppliedPool, AppliedProcess, RunningTarget, SamplerGap
from harness.observe.sampler import Row

_KEY = ("segment", "method", "route", "status")
_COUNTED = tuple(name for name in COUNT_COLUMNS if name not in _KEY)


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
            lines, broken = _read_lines(file, PROBE_COLUMNS)
            rows.extend({**line, "launch_id": target.launch_id} for line in lines)
            gaps.extend(_gap(target, f"{file.name} of {target.launch_id}, {reason}") for reason in broken)
    return rows, gaps


def read_applied(targets: Sequence[RunningTarget]) -> tuple[tuple[AppliedPool, ...], tuple[AppliedProcess, ...]]:
    """The engines of every target and what else took effect in its processes, as these said."""
    engines: list[AppliedPool] = []
    processes: list[AppliedProcess] = []
    for target in targets:
        for file in sorted(target.probe_dir.glob("applied-*.json")) if target.probe_dir else ():
            said = json.loads(file.read_text())
            of: dict[str, Any] = {"launch_id": target.launch_id, "pid": int(file.stem.rpartition("-")[2])}
            engines += [AppliedPool(**of, **engine) for engine in said.pop("engines")]
            lists = {name: tuple(value) for name, value in said.items() if isinstance(value, list)}
            processes.append(AppliedProcess(**of, **said | lists))
    return tuple(engines), tuple(processes)


def read_counts(targets: Sequence[RunningTarget]) -> tuple[list[Row], list[SamplerGap]]:
    """What the requests of every target took of the database, by segment, endpoint and status, and a gap for each line
    that cannot be read. A target that answered no request wrote nothing."""
    rows: list[Row] = []
    gaps: list[SamplerGap] = []
    for target in targets:
        lines: list[dict[str, Any]] = []
        for file in sorted(target.probe_dir.glob("counts-*.jsonl")) if target.probe_dir else ():
            good, broken = _read_lines(file, COUNT_COLUMNS)
            lines += good
            gaps.extend(_gap(target, f"{file.name} of {target.launch_id}, {reason}") for reason in broken)
        rows.extend({**line, "launch_id": target.launch_id} for line in _sums(lines))
    return rows, gaps


def _sums(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines are increments, of several processes. What is unknown of one is unknown of the sum."""
    sums: dict[tuple[object, ...], dict[str, Any]] = {}
    for line in lines:
        counts = {name: math.nan if line[name] is None else line[name] for name in _COUNTED}
        total = sums.setdefault(tuple(line[name] for name in _KEY), {**line, **dict.fromkeys(_COUNTED, 0)})
        for name, count in counts.items():
            total[name] += count
    return list(sums.values())


def _read_lines(file: Path, columns: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Good lines and what is wrong with the others. A last line without its end was cut as the process ended."""
    text = file.read_text(errors="replace")
    whole = text[: text.rfind("\n") + 1]
    good: list[dict[str, Any]] = []
    broken: list[str] = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            row = json.loads(line)
            good.append({name: row[name] for name in columns})
        except (ValueError, KeyError, TypeError) as error:
            broken.append(f"line {number}: {type(error).__name__} {error}")
    return good, broken


def _gap(target: RunningTarget, reason: str) -> SamplerGap:
    t_ns = time.monotonic_ns()
    return SamplerGap(sampler="probe", t_ns=t_ns, length_s=0.0, reason=reason, launch_id=target.launch_id)
