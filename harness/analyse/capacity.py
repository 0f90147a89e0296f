"""From a short staircase to the rate of a run: what a launch sustained, and a share of the weakest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.analyse.measured import OUTCOME_PLACES, category_codes
from harness.analyse.rounds import windows
from harness.domain.load import Ledger, Segment
from harness.errors import MeasurementError

FEW = 50
"""A rung with fewer good answers scatters by 15 % and more; it counts only where no rung has as many."""


def staircase_capacity_rps(rows: pd.DataFrame, segments: Sequence[Segment], ledger: Ledger) -> float:
    """The highest throughput that one launch sustained on a rung of its staircase, in good answers a second.

    Only requests that were sent and answered well within the rung count, over the time it really took: a rung that
    runs into a backlog shows what the target completes, not what was thrown at it. A rung is credited with no more
    than its own rate, since a short one may happen to be offered more; a burst is not sustained. 0 without an answer.
    """
    rungs = {segment.index: segment for segment in segments if segment.phase == "staircase"}
    spans = windows(list(rungs.values()), ledger)
    segment = rows["segment"].to_numpy()
    finished = rows["finished_ns"].to_numpy()
    ok = category_codes(rows["outcome"], OUTCOME_PLACES) == OUTCOME_PLACES["ok"]
    achieved: list[tuple[bool, float]] = []
    for number, start_ns, end_ns in zip(spans.segments, spans.start_ns, spans.end_ns, strict=True):
        own = ok & (segment == number)
        completed = int(np.count_nonzero(own & (finished >= start_ns) & (finished <= end_ns)))
        if end_ns > start_ns:
            throughput = completed / (float(end_ns - start_ns) / 1e9)
            achieved.append((completed >= FEW, min(throughput, rungs[int(number)].rate_rps or math.inf)))
    _, capacity_rps = max(achieved, default=(False, 0.0))
    return capacity_rps


def choose_rate(capacities: Mapping[str, float], share: float) -> tuple[float, str]:
    """The rate at which every pilot is loaded to at most `share` of its capacity, and how it was found.

    Args:
        capacities: arrivals a second that each pilot sustained, by the label of its cell.
        share: of the weakest pilot's capacity, 0 to 1.

    Raises:
        MeasurementError: a pilot answered nothing well.
    """
    weakest = min(capacities, key=lambda label: capacities[label])
    capacity_rps = capacities[weakest]
    if capacity_rps <= 0:
        raise MeasurementError(
            f"The staircase found no capacity: {weakest} gave no good answer.",
            next_step="Look at that target's log, or give the rate yourself with load.rate_rps.",
        )
    rate_rps = _two_digits(capacity_rps * share)
    of = f"the weakest of {len(capacities)} pilots" if len(capacities) > 1 else "the pilot"
    return rate_rps, f"{share:.0%} of the {capacity_rps:.0f} arrivals/s that {of} sustained in a staircase ({weakest})"


def _two_digits(value: float) -> float:
    digits = 1 - math.floor(math.log10(value))
    return round(value, digits)
