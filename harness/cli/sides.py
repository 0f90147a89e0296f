"""Commands that hold one side against another."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.ending import warn
from harness.cli.measuring import measure
from harness.cli.options import Baselines, Events, Json, Overrides, Quiet, Results
from harness.cli.showing import gate_answer, gate_code, open_run, print_json, show_report
from harness.errors import (
    MeasurementError,
    UsageError,
)

if TYPE_CHECKING:
    from harness.domain.experiment import Gate
    from harness.domain.gate import GateVerdict
    from harness.domain.verdict import Report
    from harness.present.ci import Gated
    from harness.store import RunStore


def compare(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    sides: Annotated[
        list[Path],
        typer.Argument(
            metavar="EXPERIMENT | BASE_RUN HEAD_RUN",
            help="An experiment with the arms base and head, or two runs that were measured before.",
        ),
    ],
    overrides: Overrides = None,
    results: Results = Path("results"),
    events: Events = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure two sides in turns, and say whether the head is worse; fresh launches have to confirm an alarm."""
    if len(sides) == 1:
        report = _two_sides(sides[0], overrides or (), results, events, as_json=as_json, quiet=quiet)
        raise typer.Exit(MeasurementError.exit_code if gate_answer(report) == MeasurementError.exit_code else 0)
    if len(sides) > 2 or overrides:
        raise UsageError(
            "Two runs are compared as they were measured: two folders, and no --set.",
            next_step="Write poolbench compare BASE_RUN HEAD_RUN.",
        )
    _show_two_runs(*map(open_run, sides), as_json=as_json)


def gate(  # noqa: PLR0917 -- likewise
    experiment: Annotated[Path, typer.Argument(help="An experiment with the arms base and head.")],
    overrides: Overrides = None,
    results: Results = Path("results"),
    against: Annotated[
        str | None,
        typer.Option("--baseline", metavar="NAME|RUN", help="Measure the head alone, and hold it against a baseline."),
    ] = None,
    baselines: Baselines = Path("baselines"),
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write a case for each rule as JUnit XML.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the verdict and the rules as Markdown.")
    ] = None,
    events: Events = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two sides as `compare` does, for CI: exit code 1 if the head is worse (docs/gate.md)."""
    from harness import present
    from harness.baselines import held_against

    for path in filter(None, (junit, markdown)):
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{path} cannot be written.", next_step="Name a file in a folder that exists.")
    if against is not None:
        base = held_against(against, baselines)
        gated = _against(experiment, overrides or (), results, base, events, as_json=as_json, quiet=quiet)
    else:
        report = _two_sides(experiment, overrides or (), results, events, as_json=as_json, quiet=quiet)
        gated = present.gated_of(report, str(results / report.info.run_id))
    tell_ci(gated, junit, markdown)
    raise typer.Exit(gate_code(gated))


def _against(
    path: Path,
    overrides: Sequence[str],
    results: Path,
    base: Mapping[str, RunStore],
    events: Path | None,
    *,
    as_json: bool,
    quiet: bool,
) -> Gated:
    """Measure the head alone, hold it against each of the runs in `base`, and show what comes of it."""
    from harness import analyse, environment, plan, present
    from harness import run as sequencing
    from harness.strategies import head_alone

    runs = {name: own.read() for name, own in base.items()}
    head = head_alone(plan.load_experiment(path, overrides), next(iter(runs.values())))
    for own in runs.values():  # before, not after minutes
        analyse.refuse_unlike(own, head.name, plan.expand(head), environment.fingerprint(None))
    store = measure(head, "fixed", results, events, as_json=as_json, quiet=quiet)
    report = sequencing.publish(store, lambda name, error: warn(f"{name} was not written: {error.strerror}."))
    judged = {
        f"{label} against {name}": verdict
        for name, own in runs.items()
        for label, verdict in analyse.compare_runs(own, store.read()).items()
    }
    _show_judged(judged, head.gate, as_json=as_json, run=str(store.path))
    return present.gated_of(report, str(store.path), judged)


def _two_sides(
    path: Path, overrides: Sequence[str], results: Path, events: Path | None, *, as_json: bool, quiet: bool
) -> Report:
    """Measure and show a comparison."""
    from harness import plan
    from harness.profiles import load_profile
    from harness.strategies import comparison, foreseen

    sides = comparison(plan.load_experiment(path, overrides))
    said = foreseen(sides, load_profile())
    store = measure(sides, "two_stage", results, events, as_json=as_json, quiet=quiet, said=said)
    return show_report(store, as_json=as_json)


def _show_two_runs(base: RunStore, head: RunStore, *, as_json: bool) -> None:
    """Judge two runs that were measured before, cell by cell."""
    from harness import analyse

    judged = analyse.compare_runs(base.read(), head.read())
    _show_judged(judged, head.read_info().experiment.gate, as_json=as_json)


def _show_judged(judged: Mapping[str, GateVerdict], gate: Gate, *, as_json: bool, **beside: str) -> None:
    from harness import present

    if as_json:
        cells = [{"cell": label, **present.gate_dict(verdict)} for label, verdict in judged.items()]
        print_json({**beside, "cells": cells})
        return
    for label, verdict in judged.items():
        present.print_gate(label, verdict, gate, Console())


def tell_ci(gated: Gated, junit: Path | None, markdown: Path | None) -> None:
    """Write what CI shows of a gate. What cannot be written is told, and changes nothing of the answer."""
    from harness import present

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    wanted = [(junit, "wb", present.junit_xml), (markdown, "wb", present.gate_markdown)]
    wanted += [(Path(summary), "ab", present.gate_markdown)] if summary else []
    for path, mode, render in wanted:
        if path is not None:
            try:
                with path.open(mode) as file:
                    file.write(render(gated))
            except OSError as error:
                warn(f"{path} was not written: {error.strerror}.")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in present.github_lines(gated):
            typer.echo(line, err=True)  # GitHub reads both; standard output may be for a program
