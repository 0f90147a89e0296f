"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ExperimentFile = Annotated[
    Path | None,
    typer.Argument(help="An experiment file; without one, the quickstart.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE[,VALUE...]", help="Set any key; several values make it a factor."),
]
Results = Annotated[Path, typer.Option("--results", help="Where runs are kept.")]
Baselines = Annotated[Path, typer.Option("--baselines", help="Where baselines are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Events = Annotated[
    Path | None, typer.Option("--events", metavar="FILE", help="Write what happens as JSON, one event a line.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while running.")]

Replicas = Annotated[int | None, typer.Option("--replicas", help="Instances of the service.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes of a replica.")]
Jobs = Annotated[int | None, typer.Option("--jobs", help="Connections of jobs, straight to Postgres.")]
Surge = Annotated[
    str | None, typer.Option("--surge", metavar="SHARE%|N", help="As a deployment's maxSurge; default 25%.")
]
MaxConnections = Annotated[int | None, typer.Option("--max-connections", help="Of Postgres; default 100.")]
Reserved = Annotated[int | None, typer.Option("--reserved", help="What Postgres keeps back; default 3.")]
PgBouncerPool = Annotated[
    int | None, typer.Option("--pgbouncer", metavar="POOL", help="Through PgBouncer, with this default_pool_size.")
]
MaxClientConn = Annotated[
    int | None, typer.Option("--max-client-conn", help="Through PgBouncer, with this limit; default 100.")
]
