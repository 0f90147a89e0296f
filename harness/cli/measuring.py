"""Commands that measure an experiment, or say what that would do."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.cli.ending import errors_named, is_full, name_error, warn
from harness.cli.options import Events, ExperimentFile, Json, Overrides, Quiet, Results
from harness.cli.showing import open_run, print_json, show
from harness.errors import (
    AnswerIsNo,
    InfrastructureError,
    Interrupted,
    PoolbenchError,
    UsageError,
)

if TYPE_CHECKING:
    from harness.domain.events import Emit
    from harness.domain.experiment import Experiment
    from harness.store import RunStore
    from harness.strategies import StrategyName


def run(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    experiment: ExperimentFile = None,
    overrides: Overrides = None,
    results: Results = Path("results"),
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Measure what a run that was cut short still lacks."),
    ] = None,
    events: Events = None,
    check: Annotated[
        bool, typer.Option("--check", help="Send each task once and say what would go wrong; nothing is kept.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure an experiment and show the result; without a file, the quickstart.

    A run that is resumed keeps the experiment it began with: a file given then only brings back what is secret in it.
    """
    from harness import plan

    if check:
        from harness.handlers import telling

        if resume is not None:
            raise UsageError("--check resumes nothing.", next_step="Leave --resume out.")
        loaded = plan.load_experiment(experiment, overrides or ())
        with telling(quiet=quiet or as_json, events=events) as emit:
            well = show_check(loaded, emit, as_json=as_json)
        raise typer.Exit(0 if well else AnswerIsNo.exit_code)
    work: Callable[..., None]
    if resume is not None:
        store = open_run(resume)
        again = plan.load_experiment(experiment, overrides or ()) if experiment or overrides else None
        from harness import run as sequencing  # a second, once nothing more of what was asked for can be refused

        work = partial(sequencing.resume, store, again)
    else:
        loaded = plan.load_experiment(experiment, overrides or ())
        from harness import run as sequencing

        store = sequencing.create_store(loaded, results)
        work = partial(sequencing.run_experiment, loaded, store)
    from harness.handlers import telling

    with store.lock():
        if resume is not None:
            store.read()  # damage is found before hours are spent, not after
        try:
            with telling(quiet=quiet or as_json, events=events) as emit:
                work(emit=emit)
        except Exception as error:
            raise cut_short(store, error, resumed=resume is not None, as_json=as_json) from error
        code = show(store, as_json=as_json)
    raise typer.Exit(code)


def plan(experiment: ExperimentFile = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show what a run would do: cells, order, duration, connection ceiling, what it could tell apart."""
    from harness import plan as planning
    from harness.outline import outline
    from harness.present import plan_table
    from harness.profiles import load_profile
    from harness.scenario import look_at

    loaded = planning.load_experiment(experiment, overrides or ())
    planned = outline(loaded, load_profile(), look_at(planning.expand(loaded)))
    if as_json:
        print_json(planned.as_dict())
    else:
        Console().print(plan_table(planned.cells, planned.sittings, planned.duration_s, planned.notes))


def show_check(experiment: Experiment, emit: Emit, *, as_json: bool) -> bool:
    """Send each task once and show what came of it. Returns whether all went well."""
    from harness import present
    from harness.check import check_experiment

    with errors_named():
        checks = check_experiment(experiment, emit=emit)
    if as_json:
        print_json(present.check_dict(checks))
    else:
        Console().print(present.check_table(checks))
    return not any(checked.problems for checked in checks)


def measure(
    experiment: Experiment,
    strategy: StrategyName,
    results: Path,
    events: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    said: Iterable[str] = (),
) -> RunStore:
    """Measure an experiment by a strategy; `said` is told before it begins."""
    from harness import run as sequencing
    from harness.domain.events import Note
    from harness.handlers import telling

    store = sequencing.create_store(experiment, results)
    with store.lock():
        try:
            with telling(quiet=quiet or as_json, events=events) as emit:
                for text in said:
                    emit(Note(text=text))
                sequencing.run_experiment(experiment, store, emit=emit, strategy=strategy)
        except Exception as error:
            raise cut_short(store, error, resumed=False, as_json=as_json) from error
    return store


def cut_short(store: RunStore, error: Exception, *, resumed: bool, as_json: bool) -> PoolbenchError:
    """The error to end with, after showing what there is of the run and saying how to go on."""
    named = name_error(error, store.path)
    if isinstance(named, InfrastructureError) and is_full(store.path) and "is full" not in named.cause:
        full = f"The disk that holds {store.path} is full. {named.cause}"  # what failed may not have known
        named = InfrastructureError(full, next_step=named.next_step, detail=named.detail)
    if resumed and isinstance(named, UsageError):  # refused: the run is as it was
        return named
    kept = len(store.measured())
    if not kept:
        if isinstance(named, UsageError | Interrupted):  # others may name a log in the folder
            store.discard()
        following = "Nothing had been measured yet."
    else:
        try:
            show(store, as_json=as_json)
        except (PoolbenchError, OSError) as second:  # the first one is the cause
            warn(f"no report could be made: {second}")
        following = f"{kept} finished trials are kept; {_how_to_go_on(store)}"
    return type(named)(named.cause, next_step=f"{named.next_step} {following}".strip(), detail=named.detail)


def _how_to_go_on(store: RunStore) -> str:
    from harness import plan
    from harness import run as sequencing

    folder = shlex.quote(str(store.path))
    info = store.read_info()
    if sequencing.is_finished(store):
        return f"none is lacking: poolbench report {folder}"
    file = "FILE " if plan.masked_keys(info.experiment) else ""  # FILE has what the run does not store
    return f"go on with: poolbench run {file}--resume {folder}"
