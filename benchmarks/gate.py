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
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any

from benchmarks.gate_record import main
from benchmarks.gate_recordings import COUNTS_RECORDED, GATE, KINDS, NOTHING, RECORDED, Job, Recording, read_recordings
from harness import analyse
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure, GateVerdict, RuleVerdict
from harness.domain.load import launch_of
from harness.domain.strategy import Outcome

PLAIN_THRESHOLD = 0.10
DRAWN = 200
"""jobs drawn from each recorded one by swapping labels"""


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


if __name__ == "__main__":
    main(sys.argv[1:])
