"""The command that counts the connections of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.options import (
    Jobs,
    Json,
    MaxClientConn,
    MaxConnections,
    PgBouncerPool,
    Replicas,
    Reserved,
    Surge,
    Workers,
)
from harness.cli.showing import print_json
from harness.errors import (
    AnswerIsNo,
    UsageError,
)


def budget(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    replicas: Replicas = None,
    workers: Workers = None,
    engines: Annotated[int | None, typer.Option("--engines", help="Engines of a process; default 1.")] = None,
    pool_size: Annotated[int | None, typer.Option("--pool-size", help="Default 5, as SQLAlchemy's.")] = None,
    max_overflow: Annotated[int | None, typer.Option("--max-overflow", help="Default 10, as SQLAlchemy's.")] = None,
    jobs: Jobs = None,
    surge: Surge = None,
    max_connections: MaxConnections = None,
    reserved: Reserved = None,
    pgbouncer: PgBouncerPool = None,
    max_client_conn: MaxClientConn = None,
    services: Annotated[
        Path | None, typer.Option("--services", metavar="FILE", help="Several services that share a server, as TOML.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the connections a fleet may open against what Postgres and PgBouncer take; nothing is run."""
    from harness import analyse, plan, present

    options = {
        "replicas": replicas,
        "workers": workers,
        "engines": engines,
        "pool_size": pool_size,
        "max_overflow": max_overflow,
        "jobs": jobs,
        "surge": surge,
        "max_connections": max_connections,
        "reserved": reserved,
        "default_pool_size": pgbouncer,
        "max_client_conn": max_client_conn,
    }
    given = {key: value for key, value in options.items() if value is not None}
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
        fleet = plan.fleet_of(given)
    weighed = analyse.weigh(fleet)
    if as_json:
        print_json(present.budget_dict(weighed))
    else:
        for line in present.budget_page(weighed):
            Console().print(line, highlight=False, soft_wrap=True)
    if not weighed.fits:
        raise typer.Exit(AnswerIsNo.exit_code)
