"""What a search for a capacity found: in words, rows and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.domain.binding import GENERATOR_FAILED
from harness.domain.capacity import CellCapacity, MeasuredStep
from harness.domain.experiment import Experiment
from harness.domain.profile import CEILING_SHARE_MAX
from harness.domain.search import BROKEN_IN_A_ROW
from harness.present.numbers import UNKNOWN, number, percent
from harness.present.phrases import percent_text, slo_text

CAPACITY_SCHEMA_VERSION = 1
_RESULTS = {"pass": "meets it", "fail": "does not", "unsettled": "not settled"}
_ROLES = {"probe": "search", "confirm": "fresh"}


def capacity_text(cell: CellCapacity, experiment: Experiment) -> str:
    """What was found of one cell, and what it rests on."""
    found, label, slo = cell.found, cell.cell.label, f"its SLO ({slo_text(experiment)})"
    launches = experiment.capacity.confirmations
    if found is None:
        return f"{label}: the search is not over."
    rests = "by one fresh launch at each" if launches == 1 else f"by {launches} fresh launches at each"
    match found.stop:
        case "bracketed":
            told = (
                f"{label} carries {number(found.highest_pass_rps)}/s within {slo}, and no longer "
                f"{number(found.lowest_fail_rps)}/s, shown {rests}."
            )
            if found.widened:
                told += " Fresh launches did not agree with the search at first, so the two lie further apart."
            return told
        case "ceiling":
            return (
                f"{label} meets {slo} up to {number(found.highest_pass_rps)}/s, beyond which nothing was "
                "tried: its capacity is not known; raise capacity.limit_rps."
            )
        case "generator":
            return (
                f"{label} meets {slo} up to {number(found.highest_pass_rps)}/s, the generator's ceiling: no more may "
                f"be asked of it here than {percent_text(CEILING_SHARE_MAX)} of what calibration found it to send, so "
                "the capacity is not known. Several generators send more: load.processes, or load.workers elsewhere."
            )
        case "nothing_meets":
            return f"{label} does not meet {slo} at any rate, down to {number(found.lowest_fail_rps)}/s."
        case _:
            return f"{label}: the search ended because what measures failed in two launches running: {_broken(cell)}"


def _broken(cell: CellCapacity) -> str:
    """What failed in the last launches, and what to do about it."""
    reasons = [
        (reason.code, reason.message)
        for launch in cell.spoilt[-BROKEN_IN_A_ROW:]
        for reason in cell.certificates[launch].reasons
        if reason.kind == "instrument"
    ]
    messages = "; ".join(dict.fromkeys(message for _, message in reasons)) or "no arrival was sent"
    if reasons and {code for code, _ in reasons} <= GENERATOR_FAILED:
        return (
            f"{messages}. Give the load generator more processes (load.processes) or a machine of its own, or search "
            "below that rate (capacity.limit_rps)."
        )
    return (
        f"{messages}. Search again where nothing else uses the machine; docs/certificates.md says what each reason "
        "means."
    )


def left_out_text(cells: Sequence[CellCapacity]) -> str:
    """Which launches were no steps of a search, and why; "" where all were."""
    left_out = [
        f"{launch} ({', '.join(cell.certificates[launch].broken) or 'nothing_sent'})"
        for cell in cells
        for launch in cell.spoilt
    ]
    return f"{', '.join(left_out)}: no steps of the search, since what measures failed." if left_out else ""


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
