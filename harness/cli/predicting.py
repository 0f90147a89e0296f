"""The command that says what other pools would come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from harness.cli.options import Json, Results
from harness.cli.showing import open_run, print_json
from harness.errors import Inconclusive, UsageError

Number = TypeVar("Number", int, float)
MOST_VALUES = 100
"""of an option"""
MOST = 100_000.0
"""of any of them"""


def predict(  # noqa: PLR0917 -- typer calls it by keyword; one parameter an option
    run: Annotated[
        Path | None,
        typer.Argument(help="A folder results/<run-id>; without one, the latest.", show_default=False),
    ] = None,
    pool_size: Annotated[
        str | None, typer.Option("--pool-size", metavar="N[,N...]", help="Of these sizes; default: those that matter.")
    ] = None,
    max_overflow: Annotated[int | None, typer.Option("--max-overflow", help="Beside each of them.")] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="RPS[,RPS...]", help="At these rates instead of those measured.")
    ] = None,
    rtt_ms: Annotated[
        str | None, typer.Option("--rtt-ms", metavar="MS[,MS...]", help="This far from Postgres, as network.rtt_ms.")
    ] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", metavar="N[,N...]", help="With so many processes.")
    ] = None,
    results: Results = Path("results"),
    as_json: Json = False,
) -> None:
    """Predict from a run's requests what other pools, rates, distances and numbers of workers would come to."""
    from harness import analyse, present
    from harness.domain.prediction import Asked
    from harness.store import RunStore

    asked = Asked(
        pool_sizes=_values("--pool-size", pool_size, int, least=1),
        max_overflow=None if max_overflow is None else _at_least("--max-overflow", max_overflow, 0),
        rates_rps=_values("--rate", rate, float, least=1e-3),
        rtts_ms=_values("--rtt-ms", rtt_ms, float, least=0),
        workers=_values("--workers", workers, int, least=1),
    )
    store = RunStore.latest(results) if run is None else open_run(run)
    curves = analyse.predict_run(store.read(), asked)
    if not curves:
        raise UsageError(
            f"No launch of the run {store.run_id} counts, so nothing can be predicted from it.",
            next_step="poolbench report says why; measure again.",
        )
    if as_json:
        print_json({"run": str(store.path), **present.predict_dict(curves)})
    else:
        for line in present.predict_page(curves):
            Console().print(line, highlight=False)
    if all(own.declined is not None for curve in curves for own in curve.predicted):
        raise typer.Exit(Inconclusive.exit_code)


def _values(option: str, text: str | None, kind: Callable[[str], Number], *, least: float) -> tuple[Number, ...]:
    """What an option lists."""
    if text is None:
        return ()
    try:
        found = tuple(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{option} {text!r} is no list of {what}.", next_step=f"Write it as {option} 2,4,8.") from None
    if len(found) > MOST_VALUES:
        raise UsageError(f"{option} has {len(found)} values.", next_step=f"Give {MOST_VALUES} at most.")
    return tuple(_at_least(option, value, least) for value in found)


def _at_least(option: str, value: Number, least: float) -> Number:
    if not least <= value <= MOST:
        raise UsageError(f"{option} {value:g} is out of range.", next_step=f"Give a number from {least:g} to {MOST:g}.")
    return value
