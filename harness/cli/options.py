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
