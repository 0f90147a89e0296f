"""Record jobs of a gate with a change that is known: `python -m benchmarks.gate record`, `live N` or `counts N`."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.gate_recordings import (
    COUNTS_RECORDED,
    GATE,
    KINDS,
    NOTHING,
    RATE_RPS,
    RECORDED,
    Recording,
    as_line,
    experiment_of,
)
from harness import plan, run, strategies
from harness.analyse.launches import measure_launches
from harness.analyse.runs import outcomes_of
from harness.domain.events import Note
from harness.domain.experiment import Experiment, Rule
from harness.domain.gate import BASE, BASE_AGAIN, HEAD
from harness.domain.strategy import Outcome
from harness.profiles import this_machine
from harness.store import RunStore
from harness.strategies import StrategyName

MOST = 7
"""blocks of a stage of a recorded job, at most; it has two"""
WATCHED = replace(GATE, rule=(*GATE.rule, *(Rule(metric=name) for name in ("p50_ms", "p99_ms"))))
"""what is recorded of each launch, of which the gate judges a part"""
FAILED_AT_MOST = 0.01
PILOT_BLOCKS = 2
LIVE = """
[gate]
stage_limit_s = 90
[[gate.rule]]
metric = "cpu_ms_per_request"
"""
COUNTS = """
schema_version = 1
name = "counts"
[target]
app = "benchmarks.varying_app:make_app"
dir = "{dir}"
[load]
scenario = "{dir}/benchmarks/varying_locustfile.py"
rate_rps = 80
warmup_s = 0.5
measure_s = 3
[design]
launches = 1
seed = {seed}
"""
LIVE_S = 2.5
"""of load that a launch of a live gate is measured for: such a gate takes a minute and a half"""


def record(results: Path) -> Recording:
    """Measure the base twice and a head for each kind; the runs that it takes are kept in `results`."""
    experiment = experiment_of(_seed())
    alike: dict[str, Mapping[str, Any]] = {BASE: {}, BASE_AGAIN: {}}
    pilots = _run(
        replace(experiment, arms=alike, design=replace(experiment.design, launches=PILOT_BLOCKS)), results, "fixed"
    )
    injected: dict[str, Mapping[str, str]] = {NOTHING: {}} | {kind: _change(kind, pilots) for kind in KINDS}
    experiment = replace(experiment, arms=alike | injected)
    return _recorded(replace(experiment, design=replace(experiment.design, launches=2 * MOST)), injected, results)


def record_live(results: Path) -> Recording:
    """Run a gate whose sides are alike, as a user would."""
    experiment = experiment_of(_seed(), LIVE)
    sides = strategies.comparison(replace(experiment, load=replace(experiment.load, measure_s=LIVE_S)))
    found = _recorded(sides, {NOTHING: {}}, results)
    heads = tuple(
        replace(own, launch=replace(own.launch, cell=replace(own.launch.cell, arm=NOTHING)))
        if own.launch.cell.arm == HEAD
        else own
        for own in found.outcomes
    )
    return replace(found, live=True, most=sides.design.launches, outcomes=heads)


def record_counts(results: Path) -> Recording:
    """Measure one block of a service whose counts vary: the base twice, the same again, and one statement more."""
    root = Path(__file__).parents[1]
    experiment = plan.parse_experiment(COUNTS.format(dir=root, seed=_seed()), source="counts")
    injected: dict[str, Mapping[str, str]] = {NOTHING: {}, "statement": {"target.env.MORE": "1"}}
    alike: dict[str, Mapping[str, Any]] = {BASE: {}, BASE_AGAIN: {}}
    found = _recorded(replace(experiment, arms=alike | injected), injected, results)
    return replace(found, most=1, rate_rps=experiment.load.rate_rps or 0.0)


def _recorded(experiment: Experiment, injected: Mapping[str, Mapping[str, Any]], results: Path) -> Recording:
    recorded_utc, began_s = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    load_average = os.getloadavg()[0]
    outcomes = tuple(_run(experiment, results, "two_stage" if HEAD in experiment.arms else "fixed"))
    return Recording(
        recorded_utc=recorded_utc,
        machine=this_machine(),
        load_average=round(load_average, 1),
        seconds=round(time.monotonic() - began_s, 1),
        rate_rps=RATE_RPS,
        measure_s=experiment.load.measure_s,
        live=False,
        most=MOST,
        injected=injected,
        outcomes=outcomes,
    )


def _seed() -> int:
    return random.SystemRandom().randrange(1 << 30)


def _change(kind: str, pilots: Sequence[Outcome]) -> Mapping[str, str]:
    """What the head overrides: a delay or a computation that is the wanted share of what pilots find."""
    if kind == "statement":
        return {"target.env.REFRESH_AFTER_WRITE": "true"}
    metric, share = ("p95_ms", "DELAY_MS") if kind.startswith("p95") else ("cpu_ms_per_request", "BURN_MS")
    found = fmean(own.figures[metric]["*"].value for own in pilots)
    return {f"target.env.{share}": f"{found * float(kind.partition('+')[2].rstrip('%')) / 100:.3f}"}


def _run(experiment: Experiment, results: Path, strategy: StrategyName) -> list[Outcome]:
    store = RunStore.create(results, "gate")
    run.run_experiment(
        experiment,
        store,
        emit=lambda event: print(event.text, file=sys.stderr) if isinstance(event, Note) else None,
        strategy=strategy,
    )
    outcomes = outcomes_of(measure_launches(store.read()).counted, WATCHED)
    if max(own.figures["error_rate"]["*"].value for own in outcomes) > FAILED_AT_MOST:
        raise RuntimeError("A side fails: what is recorded would say nothing of latency.")
    return outcomes


def main(arguments: Sequence[str]) -> None:
    """`python -m benchmarks.gate record`, `live N` or `counts N`: measure, and add it to what is recorded."""
    file_path = RECORDED
    match list(arguments):
        case ["record"]:
            measures = [record]
        case ["live", count] if count.isdigit():
            measures = [record_live] * int(count)
        case ["counts", count] if count.isdigit():
            measures, file_path = [record_counts] * int(count), COUNTS_RECORDED
        case _:
            raise SystemExit("python -m benchmarks.gate record, live N or counts N")
    for own in measures:
        with tempfile.TemporaryDirectory(prefix="poolbench-gate-") as folder:
            recording = own(Path(folder))
        with file_path.open("a") as file:
            file.write(as_line(recording) + "\n")
        print(f"{len(recording.outcomes)} launches in {recording.seconds:.0f} s", flush=True)
