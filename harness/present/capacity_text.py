"""What a search for a capacity found: in words, rows and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.domain.capacity import CellCapacity, MeasuredStep
from harness.domain.experiment import Slo
from harness.present.numbers import UNKNOWN, number, percent

CAPACITY_SCHEMA_VERSION = 1
_LIMITS = (("p50_ms", "p50", "ms"), ("p95_ms", "p95", "ms"), ("p99_ms", "p99", "ms"))
_RESULTS = {"pass": "meets it", "fail": "does not", "unsettled": "not settled"}
_ROLES = {"probe": "search", "confirm": "fresh"}


def capacity_text(cell: CellCapacity, slo: Slo, confirmations: int) -> str:
    """What was found of one cell, and what it rests on."""
    found, label = cell.found, cell.cell.label
    if found is None:
        return f"{label}: the search is not over."
    rests = "by one fresh launch at each" if confirmations == 1 else f"by {confirmations} fresh launches at each"
    match found.stop:
        case "bracketed":
            told = (
                f"{label} carries {number(found.highest_pass_rps)}/s within {slo_text(slo)}, and no longer "
                f"{number(found.lowest_fail_rps)}/s, shown {rests}."
            )
            if found.widened:
                told += " Fresh launches did not agree with the search at first, so the two lie further apart."
            return told
        case "ceiling":
            return (
                f"{label} meets {slo_text(slo)} up to {number(found.highest_pass_rps)}/s, beyond which nothing was "
                "tried: its capacity is not known; raise capacity.limit_rps."
            )
        case "nothing_meets":
            return f"{label} does not meet {slo_text(slo)} at any rate, down to {number(found.lowest_fail_rps)}/s."
        case _:
            return (
                f"{label}: the search ended because what measures failed twice running "
                f"({', '.join(cell.spoilt)}; docs/certificates.md)."
            )


def slo_text(slo: Slo) -> str:
    """What is promised, in short."""
    parts = [
        f"{name} {'of ' + endpoint + ' ' if endpoint != '*' else ''}\u2264 {number(getattr(limits, key))} {unit}"
        for endpoint, limits in slo.promised.items()
        for key, name, unit in _LIMITS
        if getattr(limits, key) is not None
    ]
    parts += [
        f"at most {percent(limits.error_rate)} %{' of ' + endpoint if endpoint != '*' else ''} failing"
        for endpoint, limits in slo.promised.items()
        if limits.error_rate is not None
    ]
    return " and ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A launch of a search as a row of a table."""

    cell: str
    launch: str
    kind: str
    rate: str
    result: str
    p95: str
    failed: str
    carried: str
    connections: str
    pool: str
    cpu: str
    why: str


def step_rows(cells: Sequence[CellCapacity]) -> list[StepRow]:
    """Every launch of every search, in the order in which they ran."""
    return [_row(cell, step) for cell in cells for step in cell.steps]


def _row(cell: CellCapacity, step: MeasuredStep) -> StepRow:
    length = f", {step.times} times as long" if step.times > 1 else ""
    return StepRow(
        cell=cell.cell.label,
        launch=step.launch_id,
        kind=f"{_ROLES[step.role]}{length}",
        rate=number(step.rate_rps),
        result=_RESULTS[step.result],
        p95=number(step.p95_ms),
        failed=percent(step.error_rate),
        carried=number(step.carried_rps),
        connections=str(step.connections_peak),
        pool=UNKNOWN if math.isnan(step.pool_used_share) else percent(step.pool_used_share),
        cpu=UNKNOWN if math.isnan(step.cpu_share) else percent(step.cpu_share),
        why=", ".join(step.broken_promises),
    )


def capacity_dict(cells: Sequence[CellCapacity]) -> Mapping[str, Any]:
    """What `poolbench capacity --json` prints, the history of each search included."""
    return {"schema_version": CAPACITY_SCHEMA_VERSION, "cells": [_cell(cell) for cell in cells]}


def _cell(cell: CellCapacity) -> Mapping[str, Any]:
    found = cell.found
    return {
        "cell": cell.cell.label,
        "id": cell.cell.id,
        "highest_pass_rps": None if found is None else found.highest_pass_rps,
        "lowest_fail_rps": None if found is None else found.lowest_fail_rps,
        "stop": None if found is None else found.stop,
        "widened": None if found is None else found.widened,
        "steps": [asdict(step) for step in cell.steps],
    }
