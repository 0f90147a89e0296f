"""Whether verdicts hold on a busy machine: what a quiet run tells apart, runs beside two endless loops tell apart too.

Two experiments, each measured quiet and busy through `poolbench run` alone: the quickstart, whose pool of one
saturates, and two services of which one takes twice as long as the other (`queueing_app`, far below saturation).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOOPS = 2
TWICE = """
schema_version = 1
name = "twice"
[matrix]
target.env.SERVICE = ["short", "long"]
[pool]
pool_size = 8
max_overflow = 0
[target]
app = "benchmarks.queueing_app:make_app"
[load]
scenario = "{scenario}"
rate_rps = 40
warmup_s = 1
measure_s = 4
[design]
launches = 5
"""


def measure() -> Mapping[str, Any]:
    """How many launches the busy runs had, how many of them are invalid, and which verdicts they got wrong."""
    with tempfile.TemporaryDirectory(prefix="poolbench-busy-") as folder:
        twice = Path(folder) / "twice.toml"
        twice.write_text(TWICE.format(scenario=Path(__file__).with_name("stock_locustfile.py")))
        experiments = (ROOT / "experiments" / "quickstart.toml", twice)
        quiet = [_run(experiment, Path(folder) / "quiet") for experiment in experiments]
        with endless_loops():
            busy = [_run(experiment, Path(folder) / "busy") for experiment in experiments]
    errors = [error for runs in zip(quiet, busy, strict=True) for error in verdict_errors(*runs)]
    standing = [certificate for run in busy for certificate in _standing(run["certificates"])]
    return {
        "launches": len(standing),
        "invalid": sum(not certificate["valid"] for certificate in standing),
        "measured_again": sum(len(run["certificates"]) for run in busy) - len(standing),
        "pairs": sum(len(_apart(run)) for run in quiet),
        "verdict_errors": len(errors),
        "errors": errors,
        "recommended": {"quiet": [run["recommended"] for run in quiet], "busy": [run["recommended"] for run in busy]},
        "invalid_for": sorted({code for each in standing for code in _broken(each)}),
    }


def verdict_errors(quiet: Mapping[str, Any], busy: Mapping[str, Any]) -> Iterator[str]:
    """Pairs that the quiet run tells apart, and the busy one does not, or the other way round. A tie is an error."""
    wanted, found = _apart(quiet), _apart(busy)
    for pair, better in wanted.items():
        names = " and ".join(sorted(pair))
        if pair not in found:
            yield f"{names} are not told apart"
        elif found[pair] != better:
            yield f"{names} are in the wrong order"


def _apart(run: Mapping[str, Any]) -> Mapping[frozenset[str], str]:
    """The better of each two cells that a run tells apart, by their labels."""
    ranked = sorted((cell for cell in run["cells"] if cell["valid"]), key=lambda cell: cell["rank"])
    return {
        frozenset((one["label"], other["label"])): one["label"]
        for one, other in combinations(ranked, 2)
        if other["id"] not in one["ties"]
    }


def _standing(certificates: Mapping[str, Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The certificates of launches in whose place no fresh one stands."""
    return [own for trial, own in certificates.items() if f"{trial}-again" not in certificates]


def _broken(certificate: Mapping[str, Any]) -> Iterator[str]:
    return (reason["code"] for reason in certificate["reasons"] if reason["kind"] == "instrument")


@contextmanager
def endless_loops(count: int = LOOPS) -> Iterator[None]:
    """So many processes that want a core each, and never rest."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield


def _run(experiment: Path, results: Path) -> Mapping[str, Any]:
    """What a run says of itself; the exit code may say that some cell has no valid launch."""
    command = [sys.executable, "-m", "harness", "run", str(experiment), "--results", str(results), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        raise RuntimeError(f"{experiment.name} ended with exit code {done.returncode}")
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found
