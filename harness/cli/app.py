"""The command line itself: `poolbench` and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from harness import __version__
from harness.cli.claiming import claims, findings
from harness.cli.fleet import budget
from harness.cli.machine import calibrate, doctor
from harness.cli.measuring import plan, run
from harness.cli.predicting import predict
from harness.cli.search import capacity
from harness.cli.sides import compare, gate
from harness.cli.starting import init, schema
from harness.cli.stored import export, list_, promote, report
from harness.cli.tuning import tune

app = typer.Typer(
    name="poolbench",
    help="Which pool, driver and session settings should a service run with, and what load will it then carry?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
baseline = typer.Typer(no_args_is_help=True, help="Keep a run under a name, for others to be held against.")


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


# in the order in which --help lists them
_COMMANDS = (
    run,
    compare,
    gate,
    capacity,
    tune,
    predict,
    claims,
    findings,
    plan,
    report,
    export,
    init,
    schema,
    doctor,
    calibrate,
    budget,
)
for _command in _COMMANDS:
    app.command()(_command)
baseline.command()(promote)
baseline.command(name="list")(list_)
app.add_typer(baseline, name="baseline")
