"""What a queue's latencies really are: the same arrivals and holds, run through without interruption.

Shares nothing with poolbench. The arrivals follow from the seeds in trial.json, the holds are the service's own log.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from benchmarks.queueing_app import Holds

SHARES = (0.50, 0.95, 0.99)
STEADY_ARRIVALS = 300_000


def departures_s(arrivals_s: Sequence[float], holds_s: Sequence[float], permits: int) -> Iterator[float]:
    """When each leaves a queue that is served in order of arrival by so many permits, from empty."""
    free_s = [0.0] * permits
    for arrival_s, hold_s in zip(arrivals_s, holds_s, strict=True):
        departure_s = max(arrival_s, heapq.heappop(free_s)) + hold_s
        heapq.heappush(free_s, departure_s)
        yield departure_s


def launch_percentiles_ms(trial: Path, permits: int) -> list[float]:
    """The percentiles (SHARES) of one launch's measured arrivals, had nobody interrupted it."""
    described = json.loads((trial / "trial.json").read_text())
    lines = (line.split() for line in (trial / "target.log").read_text().splitlines() if line.startswith("hold "))
    holds_s = {arrival: int(hold_ns) / 1e9 for _, arrival, hold_ns in lines}
    due: list[tuple[float, str, bool]] = []
    for segment in described["segments"]:
        due += [
            (at_s, f"{segment['index']}-{number}", segment["phase"] == "measure")
            for number, at_s in enumerate(_arrivals_s(segment))
        ]
    due.sort()
    missing = [arrival for _, arrival, _ in due if arrival not in holds_s]
    if missing:
        raise AssertionError(f"{len(missing)} arrivals of {trial} never reached the service: {missing[:5]}")
    left_s = departures_s([at_s for at_s, _, _ in due], [holds_s[arrival] for _, arrival, _ in due], permits)
    latencies_ms = [
        1000 * (departure_s - at_s) for departure_s, (at_s, _, measured) in zip(left_s, due, strict=True) if measured
    ]
    return _percentiles(latencies_ms)


def _arrivals_s(segment: dict[str, float]) -> Iterator[float]:
    """A Poisson process on the segment's stretch of the load clock, from its seed as docs/formats.md gives it."""
    random, offset_s = Random(f"{segment['seed']}/gaps"), 0.0
    while True:
        offset_s -= math.log(1.0 - random.random()) / segment["rate_rps"]
        if offset_s >= segment["duration_s"]:
            return
        yield segment["start_s"] + offset_s


def steady_percentiles_ms(holds: Holds, rate_rps: float, permits: int) -> list[float]:
    """The percentiles of the same service once it has forgotten that it began empty; infinite when it never does."""
    if rate_rps * holds.mean_s / permits >= 1:
        return [math.inf] * len(SHARES)
    random = Random(1)
    arrivals_s, at_s = [], 0.0
    for _ in range(STEADY_ARRIVALS):
        at_s += random.expovariate(rate_rps)
        arrivals_s.append(at_s)
    holds_s = [holds.draw_s(random) for _ in arrivals_s]
    left_s = departures_s(arrivals_s, holds_s, permits)
    settled = [1000 * (left - at) for left, at in zip(left_s, arrivals_s, strict=True)][STEADY_ARRIVALS // 10 :]
    return _percentiles(settled)


def _percentiles(latencies_ms: Sequence[float]) -> list[float]:
    """By the definition of reports, without their code: it is what is put to the test."""
    ascending = sorted(latencies_ms)
    return [ascending[max(0, math.ceil(len(ascending) * share - 1e-9) - 1)] for share in SHARES]


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
