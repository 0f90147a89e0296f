"""Commands on runs that are stored: shown again, written for other programs, kept as baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from harness.cli.ending import warn
from harness.cli.options import Baselines, Json, Results
from harness.cli.showing import open_run, print_json, show
from harness.domain.strict_json import strict_json
from harness.errors import (
    UsageError,
)


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

    raise typer.Exit(show(RunStore.latest(results) if run is None else open_run(run), as_json=as_json))


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
    stored = open_run(run).read()
    if form == "github-action-benchmark":
        entries, left_out = present.benchmark_entries(analyse.analyse(stored))
        content = f"{strict_json(entries, indent=1)}\n".encode()
        if left_out:
            warn(f"{present.left_out_text(left_out)}.")
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


def promote(
    run: Annotated[Path, typer.Argument(help="A folder results/<run-id>.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="What the baseline is called.")] = "main",
    baselines: Baselines = Path("baselines"),
) -> None:
    """Make a finished run the baseline of that name; the one before is replaced once the new one is whole."""
    from harness.baselines import promote as promoted

    kept = promoted(open_run(run), name, baselines)
    Console().print(f"{name} is {kept.read_info().run_id} from now on: {kept.path}", highlight=False, soft_wrap=True)


def list_(baselines: Baselines = Path("baselines"), as_json: Json = False) -> None:
    """Show the baselines there are."""
    from harness import present
    from harness.baselines import baselines_in

    found = baselines_in(baselines)
    if as_json:
        print_json(present.baselines_dict(found))
    else:
        Console().print(present.baseline_table(found, str(baselines)))
