"""The command that looks for the smallest pool that is good enough."""

from __future__ import annotations

from pathlib import Path

import typer

from harness.cli.measuring import measure
from harness.cli.options import (
    Events,
    ExperimentFile,
    Jobs,
    Json,
    MaxConnections,
    Overrides,
    Quiet,
    Replicas,
    Reserved,
    Results,
    Surge,
)
from harness.cli.showing import show_tune


def tune(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    experiment: ExperimentFile = None,
    overrides: Overrides = None,
    results: Results = Path("results"),
    replicas: Replicas = None,
    jobs: Jobs = None,
    surge: Surge = None,
    max_connections: MaxConnections = None,
    reserved: Reserved = None,
    events: Events = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the smallest pool that is shown to be good enough: near the best, or within the SLO.

    With --replicas, sizes are left out whose connections do not fit production's Postgres.
    """
    from harness import plan
    from harness.strategies import SIZES, tunable

    fleet = {
        "replicas": replicas,
        "jobs": jobs,
        "surge": surge,
        "max_connections": max_connections,
        "reserved": reserved,
    }
    given = [*(overrides or ()), *(f"tune.{key}={value}" for key, value in fleet.items() if value is not None)]
    loaded = tunable(plan.load_experiment(experiment, given))  # refused before sizes that nobody named are
    if not any(len(values) > 1 for values in loaded.matrix.values()):
        alone = [] if "pool.max_overflow" in loaded.named else ["pool.max_overflow=0"]
        sizes = f"pool.pool_size={','.join(map(str, SIZES))}"
        loaded = tunable(plan.load_experiment(experiment, [*given, sizes, *alone]))
    store = measure(loaded, "tune", results, events, as_json=as_json, quiet=quiet)
    raise typer.Exit(show_tune(store, as_json=as_json))
