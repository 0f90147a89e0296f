"""What the gate's error rates are: whole jobs, recorded with a change that is known, judged as they would have been.

`python -m benchmarks.gate record` measures every side at once, hot together block by block: the base, the base again,
and a head for each known change (`KINDS`), as many blocks as two stages may take. `python -m benchmarks.gate live N`
runs N gates without a change as a user would, which end after their first stage unless it raises an alarm. Both add
what they measured, with machine and time, to `benchmarks/gate_jobs.jsonl`: the figures of every launch.
`python -m benchmarks.gate counts N` records N single blocks of a service whose requests take what depends on data, on a
cache and on chance, with a head that takes one statement more, in `benchmarks/gate_counts.jsonl`.
`python -m benchmarks gate` replays both: of each recording and change the gate is given the blocks it asks for, and its
verdict counted. That takes seconds and measures nothing.

Bounds count recordings, which are independent, and never what is resampled from them; the changes of one recording
share its base. Resampled are jobs without a change whose labels are drawn anew, block by block: that has many more
verdicts, and hides whatever the launches of a side share in a job; both figures stand beside each other.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from harness import analyse, plan, run, strategies
from harness.analyse.launches import measure_launches
from harness.analyse.runs import outcomes_of
from harness.domain.cell import Cell
from harness.domain.events import Note
from harness.domain.experiment import Experiment, Gate, Rule
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure, Figures, GateVerdict, RuleVerdict, Taken
from harness.domain.load import launch_of
from harness.domain.strategy import Outcome
from harness.profiles import this_machine
from harness.store import RunStore
from harness.strategies import StrategyName

RECORDED = Path(__file__).with_name("gate_jobs.jsonl")
COUNTS_RECORDED = Path(__file__).with_name("gate_counts.jsonl")
MOST = 7
"""blocks of a stage of a recorded job, at most; it has two"""
NOTHING = "none"
KINDS = ("p95+5%", "p95+10%", "p95+20%", "cpu+5%", "cpu+10%", "cpu+20%", "statement")
GATE = Gate(rule=(Rule(metric="cpu_ms_per_request"),))
WATCHED = replace(GATE, rule=(*GATE.rule, *(Rule(metric=name) for name in ("p50_ms", "p99_ms"))))
"""what is recorded of each launch, of which the gate judges a part"""
FAILED_AT_MOST = 0.01
PLAIN_THRESHOLD = 0.10
DRAWN = 200
"""jobs drawn from each recorded one by swapping labels"""
RATE_RPS = 120.0
PILOT_BLOCKS = 2
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
pool_size = 8
max_overflow = 0
pool_prewarm = true
[load]
scenario = "mixed"
rate_rps = {rate_rps}
warmup_s = 1
measure_s = 5
[design]
seed = {seed}
"""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was measured at one sitting of this benchmark: a base, twice, and heads with a known change each."""

    recorded_utc: str
    machine: Mapping[str, Any]
    load_average: float
    """of the minute before it began: what others did on the machine"""
    seconds: float
    rate_rps: float
    measure_s: float
    live: bool
    """whether a gate decided how many blocks there are"""
    most: int
    """blocks that a stage had time for"""
    injected: Mapping[str, Mapping[str, str]]
    """kind -> what its head overrides"""
    outcomes: tuple[Outcome, ...]
    """of arms base, base' and the kinds"""

    def job(self, kind: str) -> Job:
        """Return the launches of the base and of one head, as one gate measures them."""
        arms = {BASE: BASE, BASE_AGAIN: BASE_AGAIN, kind: HEAD}
        return Job(
            kind=kind,
            recording=self,
            outcomes=tuple(
                replace(own, launch=launch_of(replace(own.launch.cell, arm=arms[arm]), own.launch.block))
                for own in self.outcomes
                if (arm := own.launch.cell.arm) in arms
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One gate's launches."""

    kind: str
    recording: Recording
    outcomes: tuple[Outcome, ...]


def measure() -> Mapping[str, Any]:
    """Replay every recorded job, and count what the gate makes of it."""
    recordings = list(read_recordings(RECORDED))
    if not recordings:
        raise RuntimeError(f"{RECORDED.name} has no job: record some with python -m benchmarks.gate record")
    jobs = [own.job(kind) for own in recordings for kind in own.injected]
    verdicts = [(job, *replay(job)) for job in jobs]
    alike = [job for job in jobs if job.kind == NOTHING]
    false_alarms = sum(verdict.verdict == "regressed" for job, verdict, _ in verdicts if job.kind == NOTHING)
    swapped = [replay(drawn)[0].verdict == "regressed" for job in alike for drawn in swaps(job, DRAWN)]
    exact = [own for _, verdict, _ in verdicts for own in verdict.rules if own.kind == "exact"]
    whole = [job for job in jobs if not job.recording.live]
    return {
        "aa_jobs": len(alike),
        "false_alarms": false_alarms,
        "false_alarm_upper": upper_bound(false_alarms, len(alike)),
        "false_alarms_labels_swapped": _share(swapped),
        "first_stage_alarms": sum(verdict.alarm for job, verdict, _ in verdicts if job.kind == NOTHING),
        "noise": {name: _noise(whole, name) for name in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_request")},
        "noise_p95_by_recording": [round(_noise([own.job(NOTHING)], "p95_ms"), 3) for own in recordings],
        "noise_p95_less_null_leg": _noise_without_leg(whole),
        "correlation_within_a_job": {name: _correlation(alike, name) for name in ("p95_ms", "cpu_ms_per_request")},
        "effects": {kind: _effect(whole, kind) for kind in (NOTHING, *KINDS)},
        "power": {share: _found(verdicts, f"p95+{share}") for share in ("5%", "10%", "20%")},
        "power_cpu": {share: _found(verdicts, f"cpu+{share}") for share in ("5%", "10%", "20%")},
        "exact_found": _found(verdicts, "statement"),
        "exact_invented": sum(
            own.kind == "exact" and own.verdict == "regressed"
            for job, verdict, _ in verdicts
            if job.kind != "statement"
            for own in verdict.rules
        ),
        "exact_compared": len(exact),
        "counts_of_one_block": _counts_of_one_block(list(read_recordings(COUNTS_RECORDED))),
        "plain_threshold": {kind: _plain(jobs, kind) for kind in (NOTHING, "p95+10%", "p95+20%")},
        "locomotive": {kind: _locomotive(jobs, kind) for kind in (NOTHING, "p95+10%", "p95+20%")},
        "blocks": {kind: _median_blocks(verdicts, kind) for kind in (NOTHING, "p95+20%")},
        "job_minutes": {kind: _job_minutes(verdicts, kind) for kind in (NOTHING, "p95+20%")},
        "recordings": len(recordings),
        "hours": len({own.recorded_utc[:13] for own in recordings}),
        "load_average": [own.load_average for own in recordings],
        "machines": len({json.dumps(own.machine, sort_keys=True) for own in recordings}),
        "live_jobs": sum(own.live for own in recordings),
        "live_alarms": sum(verdict.alarm for job, verdict, _ in verdicts if job.recording.live),
    }


def replay(job: Job) -> tuple[GateVerdict, int]:
    """Give the gate the blocks that it asks for. Returns its verdict and how many they were."""
    block, most = 0, job.recording.most
    while block < analyse.blocks_wanted(GATE, [own for own in job.outcomes if own.launch.block <= block], most):
        block += 1
    given = [own for own in job.outcomes if own.launch.block <= block]
    return analyse.judge(GATE, given, most=most), block


def swaps(job: Job, count: int) -> Iterator[Job]:
    """The job with the sides of each block drawn anew."""
    draw = random.Random(job.recording.recorded_utc)
    by_block: dict[int, list[Outcome]] = {}
    for own in job.outcomes:
        by_block.setdefault(own.launch.block, []).append(own)
    for _ in range(count):
        swapped = []
        for launches in by_block.values():
            cells = [own.launch.cell for own in launches]
            for own, cell in zip(launches, draw.sample(cells, k=len(cells)), strict=True):
                swapped.append(replace(own, launch=launch_of(cell, own.launch.block)))
        yield replace(job, outcomes=tuple(swapped))


def upper_bound(events: int, trials: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of a share."""
    from scipy.stats import beta

    return 1.0 if events >= trials else float(beta.ppf(confidence, events + 1, trials - events))


Verdicts = Sequence[tuple[Job, GateVerdict, int]]


def _found(verdicts: Verdicts, kind: str) -> Mapping[str, int]:
    own = [verdict.verdict == "regressed" for job, verdict, _ in verdicts if job.kind == kind]
    return {"jobs": len(own), "found": sum(own)}


def _counts_of_one_block(recordings: Sequence[Recording]) -> Mapping[str, Any]:
    """Of a service whose counts vary, with one launch of each side: more statements found, by endpoint, and any count
    of the others said to have grown, whichever of three equal launches is the head."""
    more = [own for recording in recordings for own in _exact(recording.job("statement"))]
    asked = [own for own in more if own.metric == "statements_per_request"]
    alike = [
        own
        for recording in recordings
        for head in (NOTHING, BASE, BASE_AGAIN)
        for own in _exact(_with_head(recording.job(NOTHING), head))
    ]
    return {
        "jobs": len(recordings),
        "found": {
            endpoint: _share([own.verdict == "regressed" for own in asked if own.endpoint == endpoint])
            for endpoint in dict.fromkeys(own.endpoint for own in asked)
        },
        "invented": sum(own.verdict == "regressed" for own in alike),
        "compared": len(alike),
    }


def _exact(job: Job) -> list[RuleVerdict]:
    return [own for own in analyse.judge(GATE, job.outcomes, most=1).rules if own.kind == "exact"]


def _with_head(job: Job, arm: str) -> Job:
    """The job with another of its launches for the head."""
    if arm == NOTHING:
        return job
    cells = {own.launch.cell.arm: own.launch.cell for own in job.outcomes}
    turned = {arm: cells[HEAD], HEAD: cells[arm]}
    return replace(
        job,
        outcomes=tuple(
            replace(own, launch=launch_of(turned.get(own.launch.cell.arm, own.launch.cell), own.launch.block))
            for own in job.outcomes
        ),
    )


def _effect(jobs: Sequence[Job], kind: str) -> Mapping[str, float]:
    """How many times the base's the head's figures are: a delay is less of a tail that waits for something else."""
    return {
        metric: round(math.exp(fmean(math.log(head / base) for base, head in pairs)), 3)
        for metric in ("p50_ms", "p95_ms", "cpu_ms_per_request")
        if (pairs := [pair for job in jobs if job.kind == kind for pair in _pairs(job, metric, BASE, HEAD)])
    }


def _plain(jobs: Sequence[Job], kind: str) -> Mapping[str, float]:
    """What a limit of 10 % on one launch of each side makes of the same launches."""
    ratios = [head / base for base, head in _single_runs(jobs, kind)]
    return {"pairs": len(ratios), "failed": _share([ratio > 1 + PLAIN_THRESHOLD for ratio in ratios])}


def _locomotive(jobs: Sequence[Job], kind: str) -> Mapping[str, float] | None:
    """What locomotive makes of them by the rules that it writes for a new project; None where it is not installed."""
    try:
        from locomotive.analyzer import Rule as Limit  # type: ignore[import-not-found]  # asked, not needed
        from locomotive.analyzer import analyze
    except ImportError:
        return None
    # p95 +25 % fails, as `loco init` of 0.3.1 writes it
    limit = Limit(metric="p95_ms", mode="relative", direction="increase", warn=10.0, fail=25.0)
    said = [analyze({"p95_ms": head}, {"p95_ms": base}, [limit])["status"] for base, head in _single_runs(jobs, kind)]
    return {
        "pairs": len(said),
        "failed": _share([status == "DEGRADATION" for status in said]),
        "warned": _share([status == "WARNING" for status in said]),
    }


def _single_runs(jobs: Sequence[Job], kind: str) -> list[tuple[float, float]]:
    """p95 of one launch of each side, as who measures each once has them."""
    pairs = (pair for job in jobs if job.kind == kind for pair in _pairs(job, "p95_ms", BASE, HEAD))
    return [(base, head) for base, head in pairs if 0 < base < math.inf]


def _pairs(job: Job, metric: str, one: str, other: str) -> Iterator[tuple[float, float]]:
    return ((first.value, second.value) for first, second in _figure_pairs(job, metric, one, other))


def _figure_pairs(job: Job, metric: str, one: str, other: str) -> Iterator[tuple[Figure, Figure]]:
    """A metric's figures of two arms, block by block."""
    sides: dict[str, dict[int, Figure]] = {}
    for own in job.outcomes:
        found = own.figures.get(metric, {}).get("*")
        if found is not None and not own.broken:
            sides.setdefault(own.launch.cell.arm, {})[own.launch.block] = found
    for block in sides.get(one, {}).keys() & sides.get(other, {}).keys():
        yield sides[one][block], sides[other][block]


def _logs(job: Job, metric: str) -> list[float]:
    return [math.log(one / two) for one, two in _pairs(job, metric, BASE, BASE_AGAIN) if 0 < one < math.inf > two > 0]


def _noise(jobs: Sequence[Job], metric: str) -> float:
    """sd of the log ratio of two equal launches that are hot together."""
    logs = [log for job in jobs if job.kind == NOTHING for log in _logs(job, metric)]
    return math.sqrt(fmean(log * log for log in logs)) if logs else math.nan


def _noise_without_leg(jobs: Sequence[Job]) -> float:
    """The noise of p95 that is left when the null requests beside each launch are regressed out.

    What they take depends on the machine and never on the service: the one control variate that cannot hide a change.
    """
    import numpy as np

    pairs = [
        (math.log(one.value / two.value), one.leg - two.leg)
        for job in jobs
        if job.kind == NOTHING
        for one, two in _figure_pairs(job, "p95_ms", BASE, BASE_AGAIN)
        if 0 < one.value < math.inf > two.value > 0 and math.isfinite(one.leg - two.leg)
    ]
    if len(pairs) < 3:
        return math.nan
    y, x = np.array(pairs).T
    slope = float(x @ y / (x @ x)) if x @ x > 0 else 0.0
    return float(np.sqrt(np.sum((y - slope * x) ** 2) / (len(y) - 1)))


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


def _median_blocks(verdicts: Verdicts, kind: str) -> float:
    blocks = [count for job, _, count in verdicts if job.kind == kind]
    return median(blocks) if blocks else math.nan


def _job_minutes(verdicts: Verdicts, kind: str) -> float:
    """What the blocks of such a job take by themselves: a recording's blocks have more sides than a gate's."""
    minutes = [
        count * (3 / len(arms)) * job.recording.seconds / blocks / 60
        for job, _, count in verdicts
        if job.kind == kind
        for arms in ({own.launch.cell.arm for own in job.recording.outcomes},)
        for blocks in (max(own.launch.block for own in job.recording.outcomes),)
    ]
    return median(minutes) if minutes else math.nan


def record(results: Path) -> Recording:
    """Measure the base twice and a head for each kind; the runs that it takes are kept in `results`."""
    experiment = _experiment()
    alike: dict[str, Mapping[str, Any]] = {BASE: {}, BASE_AGAIN: {}}
    pilots = _run(
        replace(experiment, arms=alike, design=replace(experiment.design, launches=PILOT_BLOCKS)), results, "fixed"
    )
    injected: dict[str, Mapping[str, str]] = {NOTHING: {}} | {kind: _change(kind, pilots) for kind in KINDS}
    experiment = replace(experiment, arms=alike | injected)
    return _recorded(replace(experiment, design=replace(experiment.design, launches=2 * MOST)), injected, results)


def record_live(results: Path) -> Recording:
    """Run a gate whose sides are alike, as a user would."""
    experiment = _experiment(LIVE)
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


def _experiment(more: str = "") -> Experiment:
    return plan.parse_experiment(EXPERIMENT.format(rate_rps=RATE_RPS, seed=_seed()) + more, source="gate")


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


def read_recordings(path: Path) -> Iterator[Recording]:
    """The recordings in a file, one a line."""
    for line in path.read_text().splitlines() if path.is_file() else ():
        raw = json.loads(line)
        cells = cells_of(tuple(raw["injected"]))
        launches = tuple(
            Outcome(launch=launch_of(cells[own["arm"]], own["block"]), sitting=own["block"], figures=_figures(own))
            for own in raw.pop("launches")
        )
        yield Recording(outcomes=launches, **raw)


def cells_of(kinds: Sequence[str]) -> Mapping[str, Cell]:
    """The arms of a recording of these kinds -> their cells."""
    arms: dict[str, Mapping[str, Any]] = {BASE: {}, BASE_AGAIN: {}, **{kind: {} for kind in kinds}}
    return {cell.arm: cell for cell in plan.expand(replace(_experiment(), arms=arms))}


def _figures(launch: Mapping[str, Any]) -> Figures:
    return {
        metric: {
            endpoint: Figure(value=value, raised=raised, leg=leg, taken=_taken(*counted))
            for endpoint, (value, raised, leg, *counted) in by_endpoint.items()
        }
        for metric, by_endpoint in launch["figures"].items()
    }


def _taken(*counted: Sequence[Sequence[float]]) -> Taken | None:
    """How many requests took how many; of what was recorded before that was kept, and of times, None."""
    used, fresh = (tuple((value, int(requests)) for value, requests in own) for own in counted or ((), ()))
    return Taken(used=used, fresh=fresh) if counted else None


def as_line(recording: Recording) -> str:
    """A recording as one line of the file."""
    launches = [
        {
            "arm": own.launch.cell.arm,
            "block": own.launch.block,
            "figures": {
                metric: {
                    endpoint: [
                        *(round(part, 5) for part in (figure.value, figure.raised, figure.leg)),
                        *([] if figure.taken is None else [figure.taken.used, figure.taken.fresh]),
                    ]
                    for endpoint, figure in by_endpoint.items()
                }
                for metric, by_endpoint in own.figures.items()
            },
        }
        for own in recording.outcomes
    ]
    kept = {field.name: getattr(recording, field.name) for field in fields(recording) if field.name != "outcomes"}
    return json.dumps({**kept, "launches": launches})


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


if __name__ == "__main__":
    main(sys.argv[1:])
