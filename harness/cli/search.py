"""The command that searches for a capacity, and plans a fleet with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.measuring import measure
from harness.cli.options import (
    Events,
    Jobs,
    Json,
    MaxClientConn,
    MaxConnections,
    Overrides,
    PgBouncerPool,
    Quiet,
    Replicas,
    Reserved,
    Results,
    Surge,
    Workers,
)
from harness.cli.showing import open_run, show_capacity
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.store import RunStore


def capacity(  # noqa: PLR0917 -- likewise
    experiment: Annotated[
        Path | None,
        typer.Argument(
            metavar="EXPERIMENT | RUN",
            help="An experiment file, or a folder results/<run-id> of a search that was made before.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    results: Results = Path("results"),
    report: Annotated[
        bool, typer.Option("--report", help="Plan a fleet with what was found: plan.html in the run's folder.")
    ] = False,
    peak: Annotated[
        float | None, typer.Option("--peak", metavar="RPS", help="Plan for this load; default: the largest fleet.")
    ] = None,
    headroom: Annotated[
        str | None, typer.Option("--headroom", metavar="SHARE%", help="Plan to have it free at the peak; default 30%.")
    ] = None,
    replicas: Replicas = None,
    workers: Workers = None,
    jobs: Jobs = None,
    surge: Surge = None,
    max_connections: MaxConnections = None,
    reserved: Reserved = None,
    pgbouncer: PgBouncerPool = None,
    max_client_conn: MaxClientConn = None,
    events: Events = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for the highest rate at which each cell meets the SLO, and show it on both sides by fresh launches.

    With --report a fleet is planned for a peak, from a search that is made now or was made before.
    """
    from harness import plan

    options = {
        "replicas": replicas,
        "workers": workers,
        "jobs": jobs,
        "surge": surge,
        "max_connections": max_connections,
        "reserved": reserved,
        "default_pool_size": pgbouncer,
        "max_client_conn": max_client_conn,
    }
    given = {key: value for key, value in options.items() if value is not None}
    if not report and (given or peak is not None or headroom is not None):
        raise UsageError(
            "A peak, its headroom and a fleet's options are for the plan.", next_step="Ask for it: --report."
        )
    wanted = plan.wanted_of(given, peak_rps=peak, headroom=headroom or DEFAULT_HEADROOM)  # before minutes, not after
    if experiment is not None and experiment.is_dir():
        store = _searched(experiment, overrides or ())
    else:
        store = _search(experiment, overrides or (), results, events, as_json=as_json, quiet=quiet)
    raise typer.Exit(show_capacity(store, wanted if report else None, as_json=as_json))


DEFAULT_HEADROOM = "30%"


def _search(
    path: Path | None, overrides: Sequence[str], results: Path, events: Path | None, *, as_json: bool, quiet: bool
) -> RunStore:
    """Measure."""
    from harness import plan
    from harness.strategies import searchable

    loaded = searchable(plan.load_experiment(path, overrides))
    return measure(loaded, "capacity", results, events, as_json=as_json, quiet=quiet)


def _searched(folder: Path, overrides: Sequence[str]) -> RunStore:
    """Open what was measured before."""
    store = open_run(folder)
    if store.read_info().strategy != "capacity":
        raise UsageError(
            f"The run {store.run_id} did not search for a capacity.",
            next_step="Search for one: poolbench capacity EXPERIMENT.",
        )
    if overrides:
        raise UsageError(
            f"The run {store.run_id} is shown as it was measured, so --set changes nothing.",
            next_step="Leave it out, or search again: poolbench capacity EXPERIMENT.",
        )
    return store
