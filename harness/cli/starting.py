"""Commands that write what one starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from harness.cli.ending import errors_named
from harness.cli.measuring import show_check
from harness.cli.options import Quiet
from harness.cli.showing import print_json
from harness.errors import (
    AnswerIsNo,
    UsageError,
)


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
            well = show_check(plan.load_experiment(path), emit, as_json=False)
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
    with telling(quiet=quiet) as emit, errors_named():
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

    print_json(GATE_SCHEMA)
