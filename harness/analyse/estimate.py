"""Quantiles of one launch, and what several launches say together.

Quantile. Of n sorted latencies the quantile q is number ceil(n q): the smallest latency that at least the share q
of them does not exceed (numpy calls it `inverted_cdf`). It is always a latency that was seen, so failures, which are
infinitely slow, never interpolate to NaN.

Over launches. The launch is the unit of evidence. A cell's point is the geometric mean of its launches' quantiles:
latencies vary by factors, so their logarithms scatter evenly (`compare` has the intervals), and the ratio of two cells'
points is the mean of their paired ratios. A launch in which more than that share failed
has an infinite quantile and makes the point infinite: settings that fail one start out of five are not settings to
run with, and a median would hide it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harness.analyse.arrays import Floats
from harness.domain.rank import rank

SMALLEST_MS = 1e-6
"""One clock tick: keeps a latency of zero out of the logarithm."""


def quantile(ascending: Floats, share: float) -> float:
    """The value that at least `share` of the ascending values do not exceed; NaN when there are none."""
    return float(ascending[rank(len(ascending), share) - 1]) if len(ascending) else math.nan


def quantile_of(values: NDArray[np.floating], share: float) -> float:
    """`quantile` of values in any order, without sorting them all."""
    if len(values) == 0:
        return math.nan
    place = rank(len(values), share) - 1
    return float(np.partition(values, place)[place])


def quantiles(ascending: Floats, shares: Floats) -> Floats:
    """The quantile of each share, 0 to 1."""
    count = len(ascending)
    if count == 0:
        return np.full(len(shares), np.nan)
    return ascending[[rank(count, share) - 1 for share in shares]]


def geometric_mean(by_launch: Floats) -> Floats:
    """Over the first axis; infinite wherever one launch is."""
    return np.asarray(np.exp(np.log(np.maximum(by_launch, SMALLEST_MS)).mean(axis=0)), dtype=np.float64)


def over_launches(values: Iterable[float]) -> float:
    """Geometric mean of one figure per launch; NaN ones are left out, infinite where one launch is."""
    seen = [value for value in values if not math.isnan(value)]
    if not seen:
        return math.nan
    return float(geometric_mean(np.array(seen)))
