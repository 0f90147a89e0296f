"""Which of many values a percentile is."""

from __future__ import annotations

import math


def rank(count: int, share: float) -> int:
    """Return the place, from 1, of the quantile `share` among `count` ascending values: the first that at least this
    share of them does not exceed.
    """
    return max(1, math.ceil(count * share - 1e-9))  # the product can come out a rounding error above a whole number
