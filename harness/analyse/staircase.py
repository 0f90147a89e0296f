"""What a launch sustained on its staircase."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.analyse.measured import OUTCOME_PLACES, category_codes
from harness.analyse.windows import windows
from harness.domain.load import Ledger, Segment

FEW = 50
"""A rung with fewer good answers scatters by 15 % and more; it counts only where no rung has as many."""


def staircase_capacity_rps(rows: pd.DataFrame, segments: Sequence[Segment], ledger: Ledger) -> float:
    """The highest throughput that one launch sustained on a rung of its staircase, in good answers a second.

    Only requests that were sent and answered well within the rung count, over the time it really took: a rung that
    runs into a backlog shows what the target completes, not what was thrown at it. A rung is credited with no more
    than its own rate, since a short one may happen to be offered more; a burst is not sustained. 0 without an answer.
    """
    rungs = [segment for segment in segments if segment.phase == "staircase"]
    turns = [turn for turn in ledger.turns if turn.launch_id in {rung.launch_id for rung in rungs}]
    number, finished = rows["segment"].to_numpy(), rows["finished_ns"].to_numpy()
    ok = category_codes(rows["outcome"], OUTCOME_PLACES) == OUTCOME_PLACES["ok"]
    achieved: list[tuple[bool, float]] = []
    for rung in rungs:
        span = windows([rung], turns)
        completed = int(np.count_nonzero(ok & (number == rung.index) & span.contain(finished)))
        if span.seconds > 0:  # the staircase went so far
            throughput = completed / span.seconds
            achieved.append((completed >= FEW, min(throughput, rung.rate_rps or math.inf)))
    _, capacity_rps = max(achieved, default=(False, 0.0))
    return capacity_rps
