"""What the probe wrote inside the targets, read once they have been measured."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.domain.deployed import RunningTarget
from harness.domain.observed import AppliedPool, AppliedProcess, SamplerGap
from harness.domain.tables import COUNT_COLUMNS, HOLD_COLUMNS, PROBE_COLUMNS, SITE_COLUMNS, UNRETURNED_COLUMNS
from harness.observe.sampler import Row

_COUNTED = ("statements", "transactions", "checkouts", "round_trips", "first_round_trips")
_KEY = ("segment", "method", "route", "status")


def read_probe(targets: Sequence[RunningTarget]) -> tuple[list[Row], list[SamplerGap]]:
    """The lines of every target's probe files, and a gap for each file or line that should be there and is not."""
    rows: list[Row] = []
    gaps: list[SamplerGap] = []
    for target in targets:
        if target.probe_dir is None:
            continue
        if not any(target.probe_dir.glob("probe-*.jsonl")):
            gaps.append(_gap(target, f"the target of {target.launch_id} wrote no probe-*.jsonl"))
        for _, lines in _lines_of(target, "probe", PROBE_COLUMNS, gaps):
            rows.extend({**line, "launch_id": target.launch_id} for line in lines)
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
    """What the requests of every target took of the database, by segment, endpoint, status and kind, and a gap for each
    line that cannot be read. A target that answered no request wrote nothing."""
    return _summed(targets, "counts", COUNT_COLUMNS, (*_KEY, "fresh", "alike", "kind"), kind_of=_kind)


def read_holds(targets: Sequence[RunningTarget]) -> tuple[list[Row], list[SamplerGap]]:
    """How those requests held connections, by how many at once as well, likewise."""
    return _summed(targets, "holds", HOLD_COLUMNS, (*_KEY, "connections"))


def read_unreturned(targets: Sequence[RunningTarget]) -> tuple[list[Row], list[SamplerGap]]:
    """The connections of every target that were out after their request; a later line of one says that it is back."""
    rows: list[Row] = []
    gaps: list[SamplerGap] = []
    for target in targets:
        for file, lines in _lines_of(target, "unreturned", [n for n in UNRETURNED_COLUMNS if n != "pid"], gaps):
            pid, last = int(file.stem.rpartition("-")[2]), {line["taken_ns"]: line for line in lines}
            for line in last.values():
                back_ns = -1 if line["back_ns"] is None else line["back_ns"]
                rows.append({**line, "back_ns": back_ns, "pid": pid, "launch_id": target.launch_id})
    return rows, gaps


def read_sites(targets: Sequence[RunningTarget]) -> tuple[list[Row], list[SamplerGap]]:
    """Which lines of every target took its connections, as they were written: their longest ones do not add up."""
    rows: list[Row] = []
    gaps: list[SamplerGap] = []
    for target in targets:
        for _, lines in _lines_of(target, "sites", SITE_COLUMNS, gaps):
            rows.extend({**line, "launch_id": target.launch_id} for line in lines)
    return rows, gaps


def _kind(line: dict[str, Any]) -> tuple[float | None, ...]:
    """What each of its requests took; nothing where they do not take the same."""
    taken = [line[name] for name in _COUNTED if line["alike"]]
    return tuple(None if value is None else value / line["requests"] for value in taken)


def _summed(
    targets: Sequence[RunningTarget],
    name: str,
    columns: Iterable[str],
    key: Sequence[str],
    *,
    kind_of: Callable[[dict[str, Any]], object] | None = None,
) -> tuple[list[Row], list[SamplerGap]]:
    rows: list[Row] = []
    gaps: list[SamplerGap] = []
    for target in targets:
        lines = [line for _, own in _lines_of(target, name, columns, gaps) for line in own]
        if kind_of is not None:
            lines = [{**line, "kind": kind_of(line)} for line in lines]
        rows.extend({**line, "launch_id": target.launch_id} for line in _sums(lines, key))
    return rows, gaps


def _lines_of(
    target: RunningTarget, name: str, columns: Iterable[str], gaps: list[SamplerGap]
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Each of a target's files of one kind with its good lines; the others are added to `gaps`."""
    for file in sorted(target.probe_dir.glob(f"{name}-*.jsonl")) if target.probe_dir else ():
        good, broken = _read_lines(file, columns)
        gaps.extend(_gap(target, f"{file.name} of {target.launch_id}, {reason}") for reason in broken)
        yield file, good


def _sums(lines: Sequence[dict[str, Any]], key: Sequence[str]) -> list[dict[str, Any]]:
    """The lines are increments, of several processes. What is unknown of one is unknown of the sum."""
    sums: dict[tuple[object, ...], dict[str, Any]] = {}
    for line in lines:
        counts = {name: math.nan if value is None else value for name, value in line.items() if name not in key}
        total = sums.setdefault(tuple(line[name] for name in key), {**line, **dict.fromkeys(counts, 0)})
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
