"""Commands on the machine that poolbench runs on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.options import Json, Quiet, Results
from harness.cli.showing import print_json


def doctor(results: Results = Path("results"), as_json: Json = False) -> None:
    """Check this machine: what a run needs, and what would spoil its numbers."""
    from harness.doctor import examine

    checks = examine(results)
    if as_json:
        print_json([check.as_dict() for check in checks])
    else:
        console = Console()
        for check in checks:
            console.print(check.line, highlight=False, soft_wrap=True, markup=False)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(5)


def calibrate(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    rung_s: Annotated[float, typer.Option("--rung-s", min=0.1, help="Seconds at each rate of the generator.")] = 1.0,
    measure_s: Annotated[float, typer.Option("--measure-s", min=0.5, help="Seconds measured in each launch.")] = 6.0,
    launches: Annotated[int, typer.Option("--launches", min=2, help="Launches of each of two equal cells.")] = 5,
    observer: Annotated[
        Path | None,
        typer.Option("--observer", metavar="FILE", help="What `python -m benchmarks observer --json FILE` found."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure this machine once: the generator's ceiling and lag, and how much equal cells differ."""
    from harness import calibrate as calibration
    from harness.handlers import telling
    from harness.profiles import save_profile

    cost = {} if observer is None else calibration.read_observer(observer)
    with telling(quiet=quiet or as_json) as emit:
        profile = calibration.calibrate(rung_s=rung_s, measure_s=measure_s, launches=launches, observer=cost, emit=emit)
    path = save_profile(profile)
    if as_json:
        print_json({"path": str(path), **dataclasses.asdict(profile)})
        return
    for sentence in (*calibration.sentences(profile), f"Kept in {path}; `poolbench plan` and certificates use it."):
        Console().print(sentence, highlight=False, soft_wrap=True, markup=False)
