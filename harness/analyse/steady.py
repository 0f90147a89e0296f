"""When latency had settled: MSER-5 over a launch's own load time.

White's marginal standard error rule: of all points at which the beginning could be cut off, the one that leaves the
mean of the rest best known. Batches of five bins keep single bins from deciding; a point beyond the middle is not
trusted, since little is left to judge by.
"""

from __future__ import annotations

import numpy as np

from harness.analyse.arrays import Floats
from harness.analyse.measured import Arrivals

BIN_S = 0.1
BATCH = 5
BATCHES_MIN = 8
ENOUGH = 50_000
"""Arrivals whose medians tell as much as those of millions."""
NEARLY = 2.0
"""The variance of a few batches scatters by half and more, so the first of all points nearly as good counts."""


def bin_medians_ms(arrivals: Arrivals) -> Floats:
    """Median latency of what was served, by tenth of a second of load time; bins without an arrival are left out."""
    few = slice(None, None, 1 + len(arrivals.latency_ms) // ENOUGH)  # of the arrivals as they came: of no latency more
    latency_all_ms, load_s = arrivals.latency_ms[few], arrivals.load_s[few]
    served = np.isfinite(latency_all_ms)
    number = (load_s[served] / BIN_S).astype(np.int64)
    latency_ms: Floats = latency_all_ms[served]
    order = np.lexsort((latency_ms, number))
    _, first, counts = np.unique(number[order], return_index=True, return_counts=True)
    medians_ms: Floats = latency_ms[order][first + counts // 2]
    return medians_ms


def settled_after_s(bins_ms: Floats) -> float:
    """Load time to cut off; 0 where there is too little to judge by."""
    batches = bins_ms[: len(bins_ms) // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    if len(batches) < BATCHES_MIN:
        return 0.0
    errors = [float(np.var(batches[cut:])) / len(batches[cut:]) for cut in range(len(batches) // 2 + 1)]
    earliest = next(cut for cut, error in enumerate(errors) if error <= NEARLY * min(errors))
    return earliest * BATCH * BIN_S
