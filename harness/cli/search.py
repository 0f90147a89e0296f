"""The command that searches for a capacity."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.cli.measuring import measure
from harness.cli.options import Events, ExperimentFile, Json, Overrides, Quiet, Results
from harness.cli.showing import show_capacity


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
    store = measure(loaded, "capacity", results, events, as_json=as_json, quiet=quiet)
    raise typer.Exit(show_capacity(store, as_json=as_json))
