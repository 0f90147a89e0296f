"""argv -> one call -> print -> exit code."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from harness import __version__
from harness.domain.strict_json import strict_json
from harness.errors import (
    AnswerIsNo,
    Inconclusive,
    InfrastructureError,
    Interrupted,
    MeasurementError,
    PoolbenchError,
    UsageError,
    refused_by_the_system,
)

if TYPE_CHECKING:
    from harness.domain.events import Emit
    from harness.domain.experiment import Experiment
    from harness.domain.verdict import Report
    from harness.store import RunStore
    from harness.strategies import StrategyName

app = typer.Typer(
    name="poolbench",
    help="Which pool, driver and session settings should a service run with, and what load will it then carry?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

baseline = typer.Typer(no_args_is_help=True, help="Keep a run under a name, for others to be held against.")
app.add_typer(baseline, name="baseline")

ExperimentFile = Annotated[
    Path | None,
    typer.Argument(help="An experiment file; without one, the quickstart.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE[,VALUE...]", help="Set any key; several values make it a factor."),
]
Results = Annotated[Path, typer.Option("--results", help="Where runs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Events = Annotated[
    Path | None, typer.Option("--events", metavar="FILE", help="Write what happens as JSON, one event a line.")
]
Baselines = Annotated[Path, typer.Option("--baselines", help="Where baselines are kept.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while running.")]


@app.command()
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
    from harness import run as sequencing
    from harness.handlers import telling

    if check:
        if resume is not None:
            raise UsageError("--check resumes nothing.", next_step="Leave --resume out.")
        loaded = plan.load_experiment(experiment, overrides or ())
        with telling(quiet=quiet or as_json, events=events) as emit:
            well = _check(loaded, emit, as_json=as_json)
        raise typer.Exit(0 if well else AnswerIsNo.exit_code)
    work: Callable[..., None]
    if resume is not None:
        store = _open(resume)
        again = plan.load_experiment(experiment, overrides or ()) if experiment or overrides else None
        work = partial(sequencing.resume, store, again)
    else:
        loaded = plan.load_experiment(experiment, overrides or ())
        store = sequencing.create_store(loaded, results)
        work = partial(sequencing.run_experiment, loaded, store)
    with store.lock():
        if resume is not None:
            store.read()  # damage is found before hours are spent, not after
        try:
            with telling(quiet=quiet or as_json, events=events) as emit:
                work(emit=emit)
        except Exception as error:
            raise _cut_short(store, error, resumed=resume is not None, as_json=as_json) from error
        code = _show(store, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def compare(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    sides: Annotated[
        list[Path],
        typer.Argument(
            metavar="EXPERIMENT | BASE_RUN HEAD_RUN",
            help="An experiment with [arms.base] and [arms.head], or two runs that were measured before.",
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
        raise typer.Exit(MeasurementError.exit_code if _gate_answer(report) == MeasurementError.exit_code else 0)
    if len(sides) > 2 or overrides:
        raise UsageError(
            "Two runs are compared as they were measured: two folders, and no --set.",
            next_step="Write poolbench compare BASE_RUN HEAD_RUN.",
        )
    _show_two_runs(*map(_open, sides), as_json=as_json)


@app.command()
def gate(  # noqa: PLR0917 -- likewise
    experiment: Annotated[Path, typer.Argument(help="An experiment with [arms.base] and [arms.head].")],
    overrides: Overrides = None,
    results: Results = Path("results"),
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
    for path in filter(None, (junit, markdown)):
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{path} cannot be written.", next_step="Name a file in a folder that exists.")
    report = _two_sides(experiment, overrides or (), results, events, as_json=as_json, quiet=quiet)
    _tell_ci(report, str(results / report.info.run_id), junit, markdown)
    raise typer.Exit(_gate_answer(report))


def _tell_ci(report: Report, run: str, junit: Path | None, markdown: Path | None) -> None:
    """Write what CI shows of a gate. What cannot be written is told, and changes nothing of the answer."""
    from harness import present

    gated = present.gated_of(report, run)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    wanted = [(junit, "wb", present.junit_xml), (markdown, "wb", present.gate_markdown)]
    wanted += [(Path(summary), "ab", present.gate_markdown)] if summary else []
    for path, mode, render in wanted:
        if path is not None:
            try:
                with path.open(mode) as file:
                    file.write(render(gated))
            except OSError as error:
                _warn(f"{path} was not written: {error.strerror}.")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in present.github_lines(gated):
            typer.echo(line, err=True)  # GitHub reads both; standard output may be for a program


def _show_two_runs(base: RunStore, head: RunStore, *, as_json: bool) -> None:
    """Judge two runs that were measured before, cell by cell."""
    from harness import analyse, present

    judged = analyse.compare_runs(base.read(), head.read())
    if as_json:
        _print_json({"cells": [{"cell": label, **present.gate_dict(verdict)} for label, verdict in judged.items()]})
        return
    for label, verdict in judged.items():
        present.print_gate(label, verdict, head.read_info().experiment.gate, Console())


@app.command()
def capacity(  # noqa: PLR0917 -- likewise
    experiment: ExperimentFile = None,
    overrides: Overrides = None,
    results: Results = Path("results"),
    events: Events = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for the highest rate at which each cell meets the SLO, and show it on both sides by fresh launches."""
    from harness import plan
    from harness.strategies import searchable

    loaded = searchable(plan.load_experiment(experiment, overrides or ()))
    store = _measure(loaded, "capacity", results, events, as_json=as_json, quiet=quiet)
    raise typer.Exit(_present_capacity(store, as_json=as_json))


def _present_capacity(store: RunStore, *, as_json: bool) -> int:
    """Write the derived files, print; 1 where no cell meets the SLO at any rate, 4 where none could be measured."""
    from harness import present
    from harness import run as sequencing

    unwritten: dict[str, OSError] = {}
    cells = sequencing.publish_capacity(store, unwritten.__setitem__)
    if as_json:
        _print_json({"run": str(store.path), **present.capacity_dict(cells)})
    else:
        files = [name for name in ("report.html", "capacity.json") if name not in unwritten]
        present.print_capacity(store.read_info(), cells, Console(), {name: str(store.path / name) for name in files})
    for name, error in unwritten.items():
        _warn(f"{store.path / name} was not written: {error.strerror}.")
    stops = {cell.found.stop for cell in cells if cell.found is not None}
    if stops == {"nothing_meets"}:
        return AnswerIsNo.exit_code
    return MeasurementError.exit_code if stops == {"instrument"} else 0


def _measure(
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
            raise _cut_short(store, error, resumed=False, as_json=as_json) from error
    return store


def _two_sides(
    path: Path, overrides: Sequence[str], results: Path, events: Path | None, *, as_json: bool, quiet: bool
) -> Report:
    """Measure and show a comparison."""
    from harness import plan
    from harness.profiles import load_profile
    from harness.strategies import comparison, foreseen

    sides = comparison(plan.load_experiment(path, overrides))
    said = foreseen(sides, load_profile())
    store = _measure(sides, "two_stage", results, events, as_json=as_json, quiet=quiet, said=said)
    return _present(store, as_json=as_json)


def _gate_answer(report: Report) -> int:
    """The exit code of a gate: 1 where the head is worse, 3 or 0 without a proof either way, 4 without a figure."""
    verdict = report.gate
    if verdict is None or verdict.verdict == "invalid" or report.summary.verdict.state == "not_applied":
        return MeasurementError.exit_code
    if verdict.verdict == "regressed":
        return AnswerIsNo.exit_code
    strict = report.info.experiment.gate.on_inconclusive == "fail"
    return Inconclusive.exit_code if strict and verdict.verdict == "inconclusive" else 0


@app.command()
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
        _print_json(planned.as_dict())
    else:
        Console().print(plan_table(planned.cells, planned.sittings, planned.duration_s, planned.notes))


@app.command()
def report(
    run: Annotated[
        Path | None,
        typer.Argument(help="A folder results/<run-id>; without one, the latest.", show_default=False),
    ] = None,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Make a run's report again from its evidence, and show it."""
    from harness.store import RunStore

    raise typer.Exit(_show(RunStore.latest(results) if run is None else _open(run), as_json=as_json))


def _show(store: RunStore, *, as_json: bool) -> int:
    """Show a run as what it is; the exit code says what the answer is."""
    if store.read_info().strategy == "capacity":
        return _present_capacity(store, as_json=as_json)
    return _answer(_present(store, as_json=as_json))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A folder results/<run-id>.", show_default=False)],
    form: Annotated[
        Literal["github-action-benchmark", "csv", "parquet"],
        typer.Option(
            "--format", help="The action's customSmallerIsBetter, of each cell; csv and parquet of each launch."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to FILE instead of standard output.")
    ] = None,
) -> None:
    """Write a run's figures in the form of another program."""
    from harness import analyse, present

    if form == "parquet" and output is None:
        raise UsageError("Parquet is no text to be printed.", next_step="Name a file: --output FILE.")
    stored = _open(run).read()
    if form == "github-action-benchmark":
        entries, left_out = present.benchmark_entries(analyse.analyse(stored))
        content = f"{strict_json(entries, indent=1)}\n".encode()
        if left_out:
            _warn(f"{present.left_out_text(left_out)}.")
    else:
        rows = analyse.launch_rows(stored)
        content = rows.to_csv(index=False).encode() if form == "csv" else rows.to_parquet(index=False)
    if output is None:
        typer.echo(content.decode(), nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written: {error.strerror}.", next_step="Name a file in a folder that exists."
        ) from error


@baseline.command()
def promote(
    run: Annotated[Path, typer.Argument(help="A folder results/<run-id>.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="What the baseline is called.")] = "main",
    baselines: Baselines = Path("baselines"),
) -> None:
    """Make a finished run the baseline of that name; the one before is replaced once the new one is whole."""
    from harness.baselines import promote as promoted

    kept = promoted(_open(run), name, baselines)
    Console().print(f"{name} is {kept.read_info().run_id} from now on: {kept.path}", highlight=False, soft_wrap=True)


@baseline.command(name="list")
def list_(baselines: Baselines = Path("baselines"), as_json: Json = False) -> None:
    """Show the baselines there are."""
    from harness import present
    from harness.baselines import baselines_in

    found = baselines_in(baselines)
    if as_json:
        _print_json(present.baselines_dict(found))
    else:
        Console().print(present.baseline_table(found, str(baselines)))


@app.command()
def init(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    name: Annotated[str, typer.Argument(help="The experiment's name; the file is NAME.toml.")] = "experiment",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is already there.")] = False,
    service: Annotated[
        str | None, typer.Option("--app", metavar="PKG.MODULE:APP", help="Start this service once and write for it.")
    ] = None,
    folder: Annotated[str | None, typer.Option("--dir", help="The service's folder.")] = None,
    python: Annotated[str | None, typer.Option("--python", help="The service's interpreter.")] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="A locustfile; without it one is written to begin with.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable that the service needs.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write an experiment file with every key, its default and its meaning, and beside it its schema for editors.

    With --app it is written for that service, which is started once against an empty database and then checked, as
    `poolbench run --check` does.
    """
    from harness import plan, scaffold
    from harness.plan.json_schema import SCHEMA_FILE, json_schema_text

    path = Path(f"{name.removesuffix('.toml')}.toml")
    plan.check_name(path.stem, "init")
    if service is None:
        if folder or python or scenario or env:
            raise UsageError("--dir, --python, --scenario and --env describe a service.", next_step="Add --app.")
        _write_new({path: scaffold.experiment_text(path.stem)}, force=force)
    else:
        _refuse_present([path], force=force)
        given = {"app": service, "dir": folder, "python": python, "env": dict(map(_variable, env or ()))}
        target = {key: value for key, value in given.items() if value}
        _write_new(_for_service(path, target, scenario, quiet=quiet), force=force)
    path.with_name(SCHEMA_FILE).write_text(json_schema_text(), encoding="utf-8")
    Console().print(f"wrote {path}; see what it would do: poolbench plan {path}", highlight=False, soft_wrap=True)
    if service is not None:
        from harness.handlers import telling

        with telling(quiet=quiet) as emit:
            well = _check(plan.load_experiment(path), emit, as_json=False)
        raise typer.Exit(0 if well else AnswerIsNo.exit_code)


def _for_service(path: Path, target: dict[str, Any], scenario: str | None, *, quiet: bool) -> dict[Path, str]:
    """Start a service once. Returns the files to write for it, by path."""
    from harness import plan, present, scaffold
    from harness.discover import discover
    from harness.handlers import telling

    if scenario is not None:
        plan.resolve_scenario(scenario, path.parent)
    text = scaffold.target_text(path.stem, target)
    looked_at = plan.parse_experiment(text, source="init", folder=path.parent.resolve())
    with telling(quiet=quiet) as emit, _errors_named():
        found = discover(looked_at, emit=emit)
    said = present.discovered_texts(found)
    for line in said:
        Console().print(line, highlight=False, soft_wrap=True, markup=False)
    files = {}
    if scenario is None:
        starter = path.with_name(f"{path.stem}_scenario.py")
        files[starter] = scaffold.scenario_text(found)
        scenario = starter.name
    chosen = scaffold.chosen_for(found, target, scenario)
    sizes = scaffold.sizes_around(found)
    return {path: scaffold.experiment_text(path.stem, sizes=sizes, chosen=chosen, found=said), **files}


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--env {name} has no value.", next_step="Write --env NAME=VALUE.")
    return name, value


def _write_new(files: Mapping[Path, str], *, force: bool) -> None:
    """Write all of them, or none where one is there. Raises UsageError."""
    _refuse_present(files, force=force)
    for path, text in files.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.", next_step="Name a folder that exists."
            ) from error


def _refuse_present(paths: Iterable[Path], *, force: bool) -> None:
    for path in paths:
        try:
            there = path.exists()
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.", next_step="Name a folder that exists."
            ) from error
        if there and not force:
            raise UsageError(f"{path} is already there.", next_step="Name another, or replace it with --force.")


@app.command()
def schema(
    of: Annotated[
        Literal["experiment", "gate"], typer.Argument(help="Of experiment files, or of what a gate's --json says.")
    ] = "experiment",
) -> None:
    """Print the JSON schema of experiment files: with it an editor completes keys, explains them and marks mistakes."""
    from harness.plan.json_schema import json_schema_text

    if of == "experiment":
        typer.echo(json_schema_text(), nl=False)
        return
    from harness.present import GATE_SCHEMA

    _print_json(GATE_SCHEMA)


@app.command()
def doctor(results: Results = Path("results"), as_json: Json = False) -> None:
    """Check this machine: what a run needs, and what would spoil its numbers."""
    from harness.doctor import examine

    checks = examine(results)
    if as_json:
        _print_json([check.as_dict() for check in checks])
    else:
        console = Console()
        for check in checks:
            console.print(check.line, highlight=False, soft_wrap=True, markup=False)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(5)


@app.command()
def calibrate(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    rung_s: Annotated[float, typer.Option("--rung-s", min=0.1, help="Seconds at each rate of the generator.")] = 1.0,
    measure_s: Annotated[float, typer.Option("--measure-s", min=0.5, help="Seconds measured in each launch.")] = 6.0,
    launches: Annotated[int, typer.Option("--launches", min=2, help="Launches of each of two equal cells.")] = 5,
    observer: Annotated[
        Path | None,
        typer.Option("--observer", metavar="FILE", help="What `python -m benchmarks observer --json FILE` found."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure this machine once: the generator's ceiling and lag, and how much equal cells differ."""
    from harness import calibrate as calibration
    from harness.handlers import telling
    from harness.profiles import save_profile

    cost = {} if observer is None else calibration.read_observer(observer)
    with telling(quiet=quiet or as_json) as emit:
        profile = calibration.calibrate(rung_s=rung_s, measure_s=measure_s, launches=launches, observer=cost, emit=emit)
    path = save_profile(profile)
    if as_json:
        _print_json({"path": str(path), **dataclasses.asdict(profile)})
        return
    for sentence in (*calibration.sentences(profile), f"Kept in {path}; `poolbench plan` and certificates use it."):
        Console().print(sentence, highlight=False, soft_wrap=True, markup=False)


@app.command()
def budget(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    replicas: Annotated[int | None, typer.Option("--replicas", help="Instances of the service.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes of a replica; default 1.")] = None,
    engines: Annotated[int | None, typer.Option("--engines", help="Engines of a process; default 1.")] = None,
    pool_size: Annotated[int | None, typer.Option("--pool-size", help="Default 5, as SQLAlchemy's.")] = None,
    max_overflow: Annotated[int | None, typer.Option("--max-overflow", help="Default 10, as SQLAlchemy's.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Connections of jobs, straight to Postgres.")] = None,
    surge: Annotated[
        str | None, typer.Option("--surge", metavar="SHARE%|N", help="As a deployment's maxSurge; default 25%.")
    ] = None,
    max_connections: Annotated[int | None, typer.Option("--max-connections", help="Of Postgres; default 100.")] = None,
    reserved: Annotated[int | None, typer.Option("--reserved", help="What Postgres keeps back; default 3.")] = None,
    pgbouncer: Annotated[
        int | None, typer.Option("--pgbouncer", metavar="POOL", help="Through PgBouncer, with this default_pool_size.")
    ] = None,
    max_client_conn: Annotated[
        int | None, typer.Option("--max-client-conn", help="Through PgBouncer, with this limit; default 100.")
    ] = None,
    services: Annotated[
        Path | None, typer.Option("--services", metavar="FILE", help="Several services that share a server, as TOML.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the connections a fleet may open against what Postgres and PgBouncer take; nothing is run."""
    from harness import analyse, plan, present

    asked = {
        "replicas": replicas,
        "workers": workers,
        "engines": engines,
        "pool_size": pool_size,
        "max_overflow": max_overflow,
        "jobs": jobs,
        "surge": surge,
    }
    limits = {"max_connections": max_connections, "reserved": reserved}
    pooler = {"default_pool_size": pgbouncer, "max_client_conn": max_client_conn}
    given = {key: value for key, value in (asked | limits | pooler).items() if value is not None}
    if services is not None:
        if given:
            raise UsageError(
                f"{services} describes the whole fleet; {', '.join(given)} cannot be given beside it.",
                next_step="Write it in the file.",
            )
        fleet = plan.load_fleet(services)
    elif replicas is None:
        raise UsageError(
            "How many replicas there are is missing.", next_step="Add --replicas N, or --services FILE for several."
        )
    else:
        parts = [{key: given[key] for key in part if key in given} for part in (limits, asked, pooler)]
        fleet = plan.fleet_of(parts[0], parts[1], parts[2] or None)
    weighed = analyse.weigh(fleet)
    if as_json:
        _print_json(present.budget_dict(weighed))
    else:
        for line in present.budget_page(weighed):
            Console().print(line, highlight=False, soft_wrap=True)
    if not weighed.fits:
        raise typer.Exit(AnswerIsNo.exit_code)


def _check(experiment: Experiment, emit: Emit, *, as_json: bool) -> bool:
    """Send each task once and show what came of it. Returns whether all went well."""
    from harness import present
    from harness.check import check_experiment

    with _errors_named():
        checks = check_experiment(experiment, emit=emit)
    if as_json:
        _print_json(present.check_dict(checks))
    else:
        Console().print(present.check_table(checks))
    return not any(checked.problems for checked in checks)


def _present(store: RunStore, *, as_json: bool) -> Report:
    """Analyse, write the derived files, print."""
    from harness import present
    from harness import run as sequencing

    unwritten: dict[str, OSError] = {}
    report = sequencing.publish(store, unwritten.__setitem__)
    if as_json:
        _print_json({"run": str(store.path), **present.as_dict(report)})
    else:
        files = [name for name in ("report.html", "summary.csv") if name not in unwritten]
        present.print_report(report, Console(), {name: str(store.path / name) for name in files})
    for name, error in unwritten.items():
        _warn(f"{store.path / name} was not written: {error.strerror}.")
    if _numbers(report.info.poolbench_version) > _numbers(__version__):
        _warn(f"the run was made by poolbench {report.info.poolbench_version}, newer than this {__version__}.")
    return report


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _answer(report: Report) -> int:
    """The exit code of a report: 4 where a cell has no valid trial; of a given SLO, 1 where no cell meets it, 3 where
    none surely does."""
    if report.gate is not None:
        return _gate_answer(report)
    cells = report.summary.cells
    if not all(cell.valid for cell in cells) or report.summary.verdict.state == "not_applied":
        return MeasurementError.exit_code
    promises = [cell.slo for cell in cells if cell.slo is not None]
    if not promises or "met" in promises:
        return 0
    return Inconclusive.exit_code if "unclear" in promises else AnswerIsNo.exit_code


def _cut_short(store: RunStore, error: Exception, *, resumed: bool, as_json: bool) -> PoolbenchError:
    """The error to end with, after showing what there is of the run and saying how to go on."""
    named = _named(error, store.path)
    if isinstance(named, InfrastructureError) and _is_full(store.path) and "is full" not in named.cause:
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
            _show(store, as_json=as_json)
        except (PoolbenchError, OSError) as second:  # the first one is the cause
            _warn(f"no report could be made: {second}")
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


@contextmanager
def _errors_named() -> Iterator[None]:
    """What ends something that keeps no run, as what it means to the user."""
    try:
        yield
    except Exception as error:
        raise _named(error, Path.cwd()) from error


def _named(error: Exception, folder: Path) -> PoolbenchError:
    """An error that ended a run, as what it means to the user; the traceback of a bug is printed."""
    if _SIGNALLED.is_set():
        return Interrupted(INTERRUPTED)
    if isinstance(error, PoolbenchError):
        return error
    if isinstance(error, OSError) and (refused := refused_by_the_system(error, folder)) is not None:
        return refused
    if (psycopg := sys.modules.get("psycopg")) is not None and isinstance(error, psycopg.OperationalError):
        return InfrastructureError(f"Postgres failed: {next(iter(str(error).splitlines()), type(error).__name__)}.")
    return _bug(error)


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < 1_000_000
    return False


def _bug(error: Exception) -> PoolbenchError:
    traceback.print_exception(error)
    return PoolbenchError("This is a bug in poolbench.", next_step="Please report it with the lines above.")


def _open(path: Path) -> RunStore:
    from harness.store import RunStore

    return RunStore.open(path)


def _print_json(value: object) -> None:
    """Strict JSON: figures that are infinite or missing become null."""
    typer.echo(strict_json(value, indent=1))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"poolbench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code; docs/cli.md lists them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no dash still shows the table
    for number in _ENDING:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores a hang-up
            signal.signal(number, _interrupted)
    try:
        app(args=arguments)
    except PoolbenchError as error:
        sys.exit(_say(error))
    except Exception as error:  # noqa: BLE001 -- whatever is left is our bug: shown whole, with the exit code for one
        sys.exit(_say(Interrupted(INTERRUPTED) if _SIGNALLED.is_set() else _bug(error)))


_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, being told to end, and a terminal or connection that is closed."""
_SIGNALLED = threading.Event()
"""One of these came. Foreign code in C or Rust may turn what the handler raises into an error of its own."""
INTERRUPTED = "Interrupted; everything is stopped."


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End the run once; while everything is being stopped, further signals change nothing."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:  # a terminal that was closed: what is said from now on must not fail on that
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    _SIGNALLED.set()
    raise Interrupted(INTERRUPTED)


def _say(error: PoolbenchError) -> int:
    with suppress(OSError):  # nobody may be listening any more
        console = Console(stderr=True)
        console.print(
            f"[bold red]error:[/] {_plain(error.cause)} {_plain(error.next_step)}", highlight=False, soft_wrap=True
        )
        if error.detail:
            console.print(_plain(error.detail), highlight=False, soft_wrap=True, style="dim")
    return error.exit_code


def _warn(text: str) -> None:
    with suppress(OSError):
        Console(stderr=True).print(f"warning: {text}", highlight=False, soft_wrap=True, markup=False)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
