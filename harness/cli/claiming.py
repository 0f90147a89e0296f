"""Commands that settle what is claimed, and write down what was found."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from harness.cli.ending import errors_named, warn
from harness.cli.options import Json, Overrides, Quiet, Results
from harness.cli.showing import print_json
from harness.errors import Interrupted, MeasurementError, PoolbenchError

if TYPE_CHECKING:
    from harness.domain.claims import Recording
    from harness.domain.experiment import Experiment
    from harness.store import RunStore


def claims(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NUMBER | FILE]...", help="Of the claims that are shipped, or files of yours.", show_default=False
        ),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option("--on", metavar="EXPERIMENT", help="Of your own service: those that can be asked of any."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show what is claimed; measure nothing.")] = False,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FOLDER", help="Keep there what the answers rest on.")
    ] = None,
    overrides: Overrides = None,
    results: Results = Path("results"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what is claimed about pools, sessions and drivers, and say of each claim whether it is so.

    Each takes one to three minutes, and is confirmed, refuted, inconclusive, or depends on what its contexts differ in.
    """
    from harness import claims as claiming
    from harness import plan, present
    from harness import run as sequencing
    from harness.handlers import telling

    chosen = claiming.chosen(wanted or (), () if on else overrides or ())
    experiments, behaviours = chosen.experiments, chosen.behaviours
    if on is not None:
        experiments, behaviours = claiming.of_service(experiments, plan.load_experiment(on, overrides or ())), ()
    told: list[Mapping[str, Any]] = []
    codes = {0}
    for experiment in experiments:
        if list_:
            told.append(present.claim_dict(experiment))
            _say([present.claim_text(experiment)], as_json=as_json)
            continue
        store = None
        try:
            with errors_named(), telling(quiet=quiet or as_json, events=None) as emit:
                store = sequencing.create_store(experiment, results)
                recording = claiming.measure(experiment, store, emit)
        except Interrupted as error:
            raise _cut_short(error, experiment, store) from error
        except PoolbenchError as error:
            warn(f"claim {present.claim_called(experiment)} was not measured: {error}")
            told.append({**present.claim_dict(experiment), "answer": "inconclusive", "why": str(error)})
            codes.add(error.exit_code)
            continue
        codes.add(_tell(recording, results, told, as_json=as_json))
        if record is not None:
            claiming.keep(recording, record)
    told += map(present.behaviour_dict, behaviours)
    _say(map(present.behaviour_text, behaviours), as_json=as_json)
    if as_json:
        print_json({"schema_version": present.CLAIMS_SCHEMA_VERSION, "claims": told})
    raise typer.Exit(max(codes))


def _cut_short(error: Interrupted, experiment: Experiment, store: RunStore | None) -> Interrupted:
    """The error to end with, which says what becomes of the claim that was being measured."""
    from harness import present

    again = f"Claim {present.claim_called(experiment)} has no answer yet: ask again for it, and for those after it"
    if store is not None and store.measured():
        return Interrupted(
            error.cause,
            next_step=f"{again}; what it had finished is kept: poolbench report {shlex.quote(str(store.path))}",
        )
    if store is not None:
        store.discard()
    return Interrupted(error.cause, next_step=f"{again}.")


def _tell(recording: Recording, results: Path, told: list[Mapping[str, Any]], *, as_json: bool) -> int:
    """Say what a claim came to. Returns the exit code: 4 where what it compares did not take effect."""
    from harness import analyse, present

    settled = analyse.settle(recording)
    told.append(present.settled_dict(recording, settled))
    report = results / recording.run_id / "report.html"
    _say([present.settled_text(recording, settled), *present.seen_lines(settled), f"report: {report}"], as_json=as_json)
    ineffective = any(own.why == "not_applied" for context in settled.contexts for own in context.judged)
    return MeasurementError.exit_code if ineffective else 0


def _say(lines: Iterable[str], *, as_json: bool) -> None:
    if not as_json:
        for line in lines:
            Console().print(line, highlight=False, soft_wrap=True, markup=False)


def findings(
    folder: Annotated[Path, typer.Argument(help="What `poolbench claims --record` wrote.")],
) -> None:
    """Print the page of findings, of all runs of claims that a folder has: findings.md, to stand beside it."""
    from harness import claims as claiming

    typer.echo(claiming.findings(folder), nl=False)
