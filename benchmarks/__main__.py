"""`python -m benchmarks NAME [--json FILE]`: run one benchmark (or `all`) and print its figures as JSON."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import accuracy, analysis, binding, busy, gate, generator, observer, overhead, predict, queueing, tune

BENCHMARKS: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    "accuracy": accuracy.measure,
    "analysis": analysis.measure,
    "binding": binding.measure,
    "busy": busy.measure,
    "gate": gate.measure,
    "generator": generator.measure,
    "overhead": overhead.measure,
    "observer": observer.measure,
    "predict": predict.measure,
    "queueing": queueing.measure,
    "tune": tune.measure,
}


def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(BENCHMARKS)}, or all.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file as well.")] = None,
) -> None:
    """Run a benchmark of poolbench itself."""
    if name not in {*BENCHMARKS, "all"}:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(BENCHMARKS)}, all")
    figures = {each: measure() for each, measure in BENCHMARKS.items() if name in {each, "all"}}
    text = json.dumps(figures if name == "all" else figures[name], indent=1)
    print(text)
    if json_file is not None:
        json_file.write_text(text + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what the benchmark started ends with it
    typer.run(main)
