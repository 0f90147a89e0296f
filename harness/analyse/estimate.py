"""Quantiles of one launch, and what several launches say together.

Quantile. Of n sorted latencies the quantile q is number ceil(n q): the smallest latency that at least the share q
of them does not exceed (numpy calls it `inverted_cdf`). It is always a latency that was seen, so failures, which are
infinitely slow, never interpolate to NaN.

Over launches. The launch is the unit of evidence. A cell's point is the geometric mean of its launches' quantiles:
latencies vary by factors, so their logarithms scatter evenly; the mean is the centre of the t interval on that scale;
and the ratio of two cells' points is the mean of their paired ratios. A launch in which more than that share failed
has an infinite quantile and makes the point infinite: settings that fail one start out of five are not settings to
run with, and a median would hide it. No interval on the log scale exists then, so its bounds are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.analyse.arrays import Floats
from harness.domain.verdict import Estimate

CONFIDENCE = 0.95
SMALLEST_MS = 1e-6
"""One clock tick: keeps a latency of zero out of the logarithm."""


def quantile(ascending: Floats, share: float) -> float:
    """The value that at least `share` of the ascending values do not exceed; NaN when there are none."""
    return float(quantiles(ascending, np.array([share]))[0])


def quantile_of(values: NDArray[np.floating], share: float) -> float:
    """`quantile` of values in any order, without sorting them all."""
    if len(values) == 0:
        return math.nan
    place = _place(len(values), share)
    return float(np.partition(values, place)[place])


def quantiles(ascending: Floats, shares: Floats) -> Floats:
    """The quantile of each share, 0 to 1."""
    count = len(ascending)
    if count == 0:
        return np.full(len(shares), np.nan)
    return ascending[[_place(count, share) for share in shares]]


def _place(count: int, share: float) -> int:
    # n q can come out a rounding error above a whole number
    return max(0, math.ceil(count * share - 1e-9) - 1)


def geometric_mean(by_launch: Floats) -> Floats:
    """Over the first axis; infinite wherever one launch is."""
    return np.asarray(np.exp(np.log(np.maximum(by_launch, SMALLEST_MS)).mean(axis=0)), dtype=np.float64)


def half_width(values: Sequence[float] | Floats) -> float:
    """Half the 95 % t interval of the mean; NaN with fewer than two values."""
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        return math.nan
    t = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2))
    return t * float(np.std(values, ddof=1)) / math.sqrt(count)


def over_launches(values: Iterable[float]) -> Estimate:
    """Geometric mean and 95 % interval of one figure per launch; launches without the figure (NaN) are left out."""
    seen = [value for value in values if not math.isnan(value)]
    if not seen:
        return Estimate(value=math.nan, low=math.nan, high=math.nan)
    if any(math.isinf(value) for value in seen):
        return Estimate(value=math.inf, low=math.nan, high=math.nan)
    return _from_logs(np.log(np.maximum(seen, SMALLEST_MS)))


def paired_logs(base: Mapping[int, float], other: Mapping[int, float]) -> Floats:
    """Log ratios other / base of the blocks in which both have a finite figure."""
    blocks = [
        block for block in sorted(base) if math.isfinite(base[block]) and math.isfinite(other.get(block, math.nan))
    ]
    pairs = np.maximum([(base[block], other[block]) for block in blocks], SMALLEST_MS).reshape(-1, 2)
    return np.asarray(np.log(pairs[:, 1]) - np.log(pairs[:, 0]), dtype=np.float64)


def paired_ratio(base: Mapping[int, float], other: Mapping[int, float]) -> Estimate:
    """How many times `base` the `other` is, paired by block.

    A block in which only `other` is infinite makes the ratio infinite; NaN where no block has both.
    """
    shared = [block for block in base if block in other]
    if any(math.isfinite(base[block]) and math.isinf(other[block]) for block in shared):
        return Estimate(value=math.inf, low=math.nan, high=math.nan)
    return _from_logs(paired_logs(base, other))


def _from_logs(logs: Floats) -> Estimate:
    if len(logs) == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan)
    centre, half = float(np.mean(logs)), half_width(logs)
    with np.errstate(over="ignore"):  # two launches that differ wildly: the bound is beyond any float
        low, value, high = (float(np.exp(log)) for log in (centre - half, centre, centre + half))
    return Estimate(value=value, low=low, high=high)
