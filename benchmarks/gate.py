"""What the gate's error rates are: whole jobs, recorded with a change that is known, judged as they would have been.

Jobs are recorded by `python -m benchmarks.gate record KIND`, one after the other in as many hours as there are, and
kept in `benchmarks/gate_jobs.jsonl` with their machine and time: every launch's figures of a base, the base again and
a head, hot together, as many blocks as two stages may take. `python -m benchmarks gate` replays each: the gate is
given the blocks it asks for, and its verdict counted. That takes seconds and measures nothing.

Bounds count jobs, which are independent, and never what is resampled from them. Resampled are jobs without a change
whose labels are drawn anew, block by block: that has many more verdicts, and hides whatever the launches of a side
share in a job; both figures stand beside each other.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from harness import analyse, plan, run
from harness.analyse.launches import measure_launches
from harness.analyse.runs import outcomes_of
from harness.domain.events import Note
from harness.domain.experiment import Experiment, Gate, Rule
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure, Figures, GateVerdict
from harness.domain.load import launch_of
from harness.domain.strategy import Outcome
from harness.profiles import this_machine
from harness.store import RunStore

RECORDED = Path(__file__).with_name("gate_jobs.jsonl")
BLOCKS = 16
"""of a recorded job: two stages of eight"""
MOST = BLOCKS // 2
KINDS = ("none", "p95+5%", "p95+10%", "p95+20%", "cpu+5%", "cpu+10%", "cpu+20%", "statement")
GATE = Gate(rule=(Rule(metric="cpu_ms_per_request"),))
WATCHED = replace(GATE, rule=(*GATE.rule, *(Rule(metric=name) for name in ("p50_ms", "p99_ms"))))
"""what is recorded of each launch, of which the gate judges a part"""
FAILED_AT_MOST = 0.01
PLAIN_THRESHOLD = 0.10
DRAWN = 200
"""jobs drawn from each recorded one by swapping labels"""
EXPERIMENT = """
schema_version = 1
name = "gate"
[arms.base]
[arms.head]
[target]
app = "benchmarks.slowed_app:create_app"
gc_freeze = true # as a comparison does of itself
[database]
prepare = ["{{python}}", "-m", "target_app.prepare", "--rows", "10000"]
[pool]
pool_size = 10
max_overflow = 0
pool_prewarm = true
[load]
scenario = "mixed"
rate_rps = {rate_rps}
warmup_s = 1.5
measure_s = 6
[design]
launches = {blocks}
seed = {seed}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recorded job."""

    kind: str
    recorded_utc: str
    machine: Mapping[str, Any]
    seconds: float
    rate_rps: float
    injected: Mapping[str, str]
    outcomes: tuple[Outcome, ...]


def measure() -> Mapping[str, Any]:
    """Replay every recorded job, and count what the gate makes of it."""
    jobs = list(read_jobs(RECORDED))
    if not jobs:
        raise RuntimeError(f"{RECORDED.name} has no job: record some with python -m benchmarks.gate record none")
    verdicts = [(job, replay(job.outcomes)) for job in jobs]
    alike = [(job, verdict) for job, (verdict, _) in verdicts if job.kind == "none"]
    false_alarms = sum(verdict.verdict == "regressed" for _, verdict in alike)
    swapped = [replay(drawn)[0] for job, _ in alike for drawn in swaps(job, DRAWN)]
    exact = [own for _, (verdict, _) in verdicts for own in verdict.rules if own.kind == "exact"]
    return {
        "aa_jobs": len(alike),
        "false_alarms": false_alarms,
        "false_alarm_upper": upper_bound(false_alarms, len(alike)),
        "false_alarms_labels_swapped": _share([verdict.verdict == "regressed" for verdict in swapped]),
        "first_stage_alarms": sum(verdict.alarm for _, verdict in alike),
        "noise": {name: _noise(jobs, name) for name in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_request")},
        "correlation_within_a_job": {name: _correlation(jobs, name) for name in ("p95_ms", "cpu_ms_per_request")},
        "power": {kind: _found(verdicts, kind) for kind in KINDS[1:-1]},
        "exact_found": _found(verdicts, "statement"),
        "exact_invented": sum(
            own.kind == "exact" and own.verdict == "regressed"
            for job, (verdict, _) in verdicts
            if job.kind != "statement"
            for own in verdict.rules
        ),
        "exact_compared": len(exact),
        "plain_threshold": {kind: _plain(jobs, kind) for kind in ("none", "p95+10%", "p95+20%")},
        "blocks": {"clean": _median_blocks(verdicts, "none"), "most": 2 * MOST},
        "job_minutes": median(job.seconds for job in jobs) / 60,
        "hours": len({job.recorded_utc[:13] for job in jobs}),
        "machines": len({json.dumps(job.machine, sort_keys=True) for job in jobs}),
        "live_jobs": len(jobs),
    }


def replay(outcomes: Sequence[Outcome]) -> tuple[GateVerdict, int]:
    """Give the gate the blocks that it asks for. Returns its verdict and how many they were."""
    block = 0
    while block < analyse.blocks_wanted(GATE, [own for own in outcomes if own.launch.block <= block], MOST):
        block += 1
    given = [own for own in outcomes if own.launch.block <= block]
    return analyse.judge(GATE, given, most=MOST), block


def swaps(job: Job, count: int) -> Iterator[list[Outcome]]:
    """The job with the sides of each block drawn anew."""
    draw = random.Random(job.recorded_utc)
    by_block: dict[int, list[Outcome]] = {}
    for own in job.outcomes:
        by_block.setdefault(own.launch.block, []).append(own)
    for _ in range(count):
        swapped = []
        for launches in by_block.values():
            cells = [own.launch.cell for own in launches]
            for own, cell in zip(launches, draw.sample(cells, k=len(cells)), strict=True):
                swapped.append(replace(own, launch=launch_of(cell, own.launch.block)))
        yield swapped


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of a share."""
    from scipy.stats import beta

    return 1.0 if events >= trials else float(beta.ppf(confidence, events + 1, trials - events))


def _found(verdicts: Sequence[tuple[Job, tuple[GateVerdict, int]]], kind: str) -> Mapping[str, float]:
    own = [verdict.verdict == "regressed" for job, (verdict, _) in verdicts if job.kind == kind]
    return {"jobs": len(own), "found": sum(own)}


def _plain(jobs: Sequence[Job], kind: str) -> Mapping[str, float]:
    """What a limit of 10 % on one launch of each side makes of the same launches."""
    ratios = [
        head / base
        for job in jobs
        if job.kind == kind
        for base, head in _pairs(job, "p95_ms", BASE, HEAD)
        if base > 0 and math.isfinite(head)
    ]
    return {"pairs": len(ratios), "failed": _share([ratio > 1 + PLAIN_THRESHOLD for ratio in ratios])}


def _pairs(job: Job, metric: str, one: str, other: str) -> Iterator[tuple[float, float]]:
    sides: dict[str, dict[int, float]] = {}
    for own in job.outcomes:
        found = own.figures.get(metric, {}).get("*")
        if found is not None and not own.broken:
            sides.setdefault(own.launch.cell.arm, {})[own.launch.block] = found.value
    for block in sides.get(one, {}).keys() & sides.get(other, {}).keys():
        yield sides[one][block], sides[other][block]


def _logs(job: Job, metric: str) -> list[float]:
    return [math.log(one / two) for one, two in _pairs(job, metric, BASE, BASE_AGAIN) if 0 < one < math.inf > two > 0]


def _noise(jobs: Sequence[Job], metric: str) -> float:
    """sd of the log ratio of two equal launches that are hot together."""
    logs = [log for job in jobs for log in _logs(job, metric)]
    return math.sqrt(fmean(log * log for log in logs)) if logs else math.nan


def _correlation(jobs: Sequence[Job], metric: str) -> float:
    """Share of that noise's variance that the blocks of one job have in common (intraclass, one way; Fisher)."""
    groups = [logs for job in jobs if len(logs := _logs(job, metric)) > 1]
    if len(groups) < 2:
        return math.nan
    size = fmean(map(len, groups))
    grand = fmean(log for logs in groups for log in logs)
    between = sum(len(logs) * (fmean(logs) - grand) ** 2 for logs in groups) / (len(groups) - 1)
    within = sum((log - fmean(logs)) ** 2 for logs in groups for log in logs) / sum(len(logs) - 1 for logs in groups)
    return (between - within) / (between + (size - 1) * within)


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else math.nan


def _median_blocks(verdicts: Sequence[tuple[Job, tuple[GateVerdict, int]]], kind: str) -> float:
    blocks = [count for job, (_, count) in verdicts if job.kind == kind]
    return median(blocks) if blocks else math.nan


def record(kind: str, results: Path, *, rate_rps: float) -> Job:
    """Measure one job with a known change; the runs that it takes are kept in `results`."""
    seed = random.SystemRandom().randrange(1 << 30)
    text = EXPERIMENT.format(rate_rps=rate_rps, blocks=BLOCKS, seed=seed)
    injected = _injected(kind, text, results)
    sides = plan.parse_experiment(text, source="gate")
    sides = replace(sides, arms={BASE: {}, BASE_AGAIN: {}, HEAD: injected})
    recorded_utc, began_s = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    outcomes = tuple(_run(sides, results))
    return Job(
        kind=kind,
        recorded_utc=recorded_utc,
        machine=this_machine(),
        seconds=time.monotonic() - began_s,
        rate_rps=rate_rps,
        injected={key: str(value) for key, value in injected.items()},
        outcomes=outcomes,
    )


def _injected(kind: str, text: str, results: Path) -> Mapping[str, Any]:
    """What the head overrides: a delay or a computation that is the wanted share of what a pilot finds."""
    if kind == "none":
        return {}
    if kind == "statement":
        return {"target.env.REFRESH_AFTER_WRITE": "true"}
    metric, share = ("p95_ms", "DELAY_MS") if kind.startswith("p95") else ("cpu_ms_per_request", "BURN_MS")
    pilot = plan.parse_experiment(text, source="gate", overrides=["design.launches=1"])
    found = fmean(own.figures[metric]["*"].value for own in _run(pilot, results))
    return {f"target.env.{share}": f"{found * float(kind.partition('+')[2].rstrip('%')) / 100:.3f}"}


def _run(experiment: Experiment, results: Path) -> list[Outcome]:
    store = RunStore.create(results, "gate")
    run.run_experiment(
        experiment,
        store,
        emit=lambda event: print(event.text, file=sys.stderr) if isinstance(event, Note) else None,
    )
    outcomes = outcomes_of(measure_launches(store.read()).counted, WATCHED)
    if max(own.figures["error_rate"]["*"].value for own in outcomes) > FAILED_AT_MOST:
        raise RuntimeError("A side fails: what is recorded would say nothing of latency.")
    return outcomes


def read_jobs(path: Path) -> Iterator[Job]:
    """The jobs that are recorded in a file, one a line."""
    cells = {cell.arm: cell for cell in plan.expand(_template())}
    for line in path.read_text().splitlines() if path.is_file() else ():
        raw = json.loads(line)
        launches = tuple(
            Outcome(launch=launch_of(cells[own["arm"]], own["block"]), sitting=own["block"], figures=_figures(own))
            for own in raw.pop("launches")
        )
        yield Job(outcomes=launches, **raw)


def _figures(launch: Mapping[str, Any]) -> Figures:
    return {
        metric: {
            endpoint: Figure(value=figure[0], raised=figure[1], leg=figure[2])
            for endpoint, figure in by_endpoint.items()
        }
        for metric, by_endpoint in launch["figures"].items()
    }


def _template() -> Experiment:
    sides = plan.parse_experiment(EXPERIMENT.format(rate_rps=1, blocks=1, seed=1), source="gate")
    return replace(sides, arms={BASE: {}, BASE_AGAIN: {}, HEAD: {}})


def as_line(job: Job) -> str:
    """A job as one line of the file."""
    launches = [
        {
            "arm": own.launch.cell.arm,
            "block": own.launch.block,
            "figures": {
                metric: {
                    endpoint: [round(part, 7) for part in (figure.value, figure.raised, figure.leg)]
                    for endpoint, figure in by_endpoint.items()
                }
                for metric, by_endpoint in own.figures.items()
            },
        }
        for own in job.outcomes
    ]
    kept = {name: getattr(job, name) for name in ("kind", "recorded_utc", "machine", "seconds", "rate_rps", "injected")}
    return json.dumps({**kept, "launches": launches})


def main(arguments: Sequence[str]) -> None:
    """`python -m benchmarks.gate record KIND ...`: measure a job of each kind and add it to those that are recorded."""
    if arguments[:1] != ["record"] or not arguments[1:] or not set(arguments[1:]) <= set(KINDS):
        raise SystemExit(f"python -m benchmarks.gate record KIND ...; kinds are {', '.join(KINDS)}")
    for kind in arguments[1:]:
        with tempfile.TemporaryDirectory(prefix="poolbench-gate-") as folder:
            job = record(kind, Path(folder), rate_rps=120.0)
        with RECORDED.open("a") as file:
            file.write(as_line(job) + "\n")
        print(f"{kind}: {len(job.outcomes)} launches in {job.seconds:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
