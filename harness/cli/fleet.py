"""The command that counts the connections of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.options import Json
from harness.cli.showing import print_json
from harness.errors import (
    AnswerIsNo,
    UsageError,
)


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
        print_json(present.budget_dict(weighed))
    else:
        for line in present.budget_page(weighed):
            Console().print(line, highlight=False, soft_wrap=True)
    if not weighed.fits:
        raise typer.Exit(AnswerIsNo.exit_code)
