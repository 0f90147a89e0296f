"""Stored runs shown as what they are, and the exit code that says what the answer is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from harness import __version__
from harness.cli.ending import warn
from harness.domain.strict_json import strict_json
from harness.errors import (
    AnswerIsNo,
    Inconclusive,
    MeasurementError,
)

if TYPE_CHECKING:
    from harness.domain.capacity import CellCapacity
    from harness.domain.capacity_plan import CapacityPlan, Wanted
    from harness.domain.experiment import Gate
    from harness.domain.gate import GateVerdict
    from harness.domain.verdict import Report
    from harness.present.ci import Gated
    from harness.store import RunStore


def open_run(path: Path) -> RunStore:
    from harness.store import RunStore

    return RunStore.open(path)


def print_json(value: object) -> None:
    """Strict JSON: figures that are infinite or missing become null."""
    typer.echo(strict_json(value, indent=1))


def show(store: RunStore, *, as_json: bool) -> int:
    """Show a run as what it is; the exit code says what the answer is."""
    if store.read_info().strategy == "capacity":
        return show_capacity(store, as_json=as_json)
    if store.read_info().strategy == "tune":
        return show_tune(store, as_json=as_json)
    return answer(show_report(store, as_json=as_json))


def show_report(store: RunStore, *, as_json: bool) -> Report:
    """Analyse, write the derived files, print."""
    from harness import present
    from harness import run as sequencing

    unwritten: dict[str, OSError] = {}
    report = sequencing.publish(store, unwritten.__setitem__)
    if as_json:
        print_json({"run": str(store.path), **present.as_dict(report)})
    else:
        files = [name for name in ("report.html", "summary.csv") if name not in unwritten]
        present.print_report(report, Console(), {name: str(store.path / name) for name in files})
    for name, error in unwritten.items():
        warn(f"{store.path / name} was not written: {error.strerror}.")
    if _numbers(report.info.poolbench_version) > _numbers(__version__):
        warn(f"the run was made by poolbench {report.info.poolbench_version}, newer than this {__version__}.")
    return report


def show_capacity(store: RunStore, wanted: Wanted | None = None, *, as_json: bool) -> int:
    """Write the derived files, a plan for what is wanted among them, and print. Returns the exit code."""
    from harness import present
    from harness import run as sequencing

    unwritten: dict[str, OSError] = {}
    cells, planned = sequencing.publish_capacity(store, unwritten.__setitem__, wanted)
    info = store.read_info()
    if as_json:
        plan = {} if planned is None else {"plan": present.capacity_plan_dict(planned, info.experiment)}
        print_json({"run": str(store.path), **present.capacity_dict(cells), **plan})
    else:
        names = ("plan.html",) if planned is not None else ()
        files = {
            name: str(store.path / name) for name in (*names, "report.html", "capacity.json") if name not in unwritten
        }
        present.print_capacity(info, cells, Console(), files, planned)
    for name, error in unwritten.items():
        warn(f"{store.path / name} was not written: {error.strerror}.")
    return capacity_code(cells, planned)


def capacity_code(cells: Sequence[CellCapacity], planned: CapacityPlan | None) -> int:
    """The exit code of a search: 1 where no cell meets the SLO at any rate, 4 where none could be measured; with a plan
    also 1 where no fleet of it holds, 3 where nothing is known to plan with."""
    stops = {cell.found.stop for cell in cells if cell.found is not None}
    if stops == {"instrument"}:
        return MeasurementError.exit_code
    if stops == {"nothing_meets"}:
        return AnswerIsNo.exit_code
    if planned is None or (planned.best is not None and planned.best.holds):
        return 0
    return Inconclusive.exit_code if planned.best is None else AnswerIsNo.exit_code


def show_tune(store: RunStore, *, as_json: bool) -> int:
    """Write the derived files and print. Returns the exit code: 1 where no size carries the load, or meets the SLO, 3
    where none was shown to be good enough, 4 where what measures failed."""
    from harness import present
    from harness import run as sequencing

    unwritten: dict[str, OSError] = {}
    tuning = sequencing.publish_tune(store, unwritten.__setitem__)
    info = store.read_info()
    if as_json:
        print_json({"run": str(store.path), **present.tune_dict(tuning, info.experiment)})
    else:
        files = {name: str(store.path / name) for name in ("report.html", "tune.json") if name not in unwritten}
        present.print_tune(info, tuning, Console(), files)
    for name, error in unwritten.items():
        warn(f"{store.path / name} was not written: {error.strerror}.")
    codes = {
        "nothing_carries": AnswerIsNo.exit_code,
        "instrument": MeasurementError.exit_code,
        "not_shown": Inconclusive.exit_code,
    }
    return codes.get(tuning.stop or "", 0)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def answer(report: Report) -> int:
    """The exit code of a report: 4 where a cell has no valid trial; of a given SLO, 1 where no cell meets it, 3 where
    none surely does."""
    if report.gate is not None:
        return gate_answer(report)
    cells = report.summary.cells
    if not all(cell.valid for cell in cells) or report.summary.verdict.state == "not_applied":
        return MeasurementError.exit_code
    promises = [cell.slo for cell in cells if cell.slo is not None]
    if not promises or "met" in promises:
        return 0
    return Inconclusive.exit_code if "unclear" in promises else AnswerIsNo.exit_code


def gate_code(gated: Gated) -> int:
    """The exit code of a gate: 1 where a head is worse, 3 or 0 without a proof either way, 4 without a figure."""
    return MeasurementError.exit_code if gated.unusable else _worst(gated.verdicts.values(), gated.gate)


def gate_answer(report: Report) -> int:
    """The same of a comparison's report."""
    if report.gate is None or report.summary.verdict.state == "not_applied":
        return MeasurementError.exit_code
    return _worst([report.gate], report.info.experiment.gate)


def _worst(judged: Iterable[GateVerdict], gate: Gate) -> int:
    verdicts = {own.verdict for own in judged}
    if not verdicts or "invalid" in verdicts:
        return MeasurementError.exit_code
    if "regressed" in verdicts:
        return AnswerIsNo.exit_code
    return Inconclusive.exit_code if gate.on_inconclusive == "fail" and "inconclusive" in verdicts else 0
