"""What the way to a service and back adds to a figure at most, whatever the service does.

A request to a service that does nothing takes the client's own work, the way there and back, and the waking up of
either side: the leg, which every request has and none of which is the service's. What such a request lay there before
the generator took it up is known of each, of null requests and of others, and is no part of the leg.

By quantile. Of a service that always takes as long, a quantile grows by that quantile of the leg; of one whose
latencies are spread wide, by the leg's mean; of one with two kinds of requests, by a quantile that lies further out.
So both are taken, the leg's quantile at a third of what is left beyond the one asked for, and of each its upper 95 %
bound over the null requests seen. docs/decisions/0019 has what this was chosen by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyse.arrays import Floats
from harness.analyse.critical import CONFIDENCE
from harness.analyse.windows import Windows

BEYOND = 3.0
"""the leg's quantile is so many times closer to 1 than the share asked for"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leg:
    """The legs that were seen while a launch had its turns."""

    ascending_ms: Floats

    @property
    def known(self) -> bool:
        return len(self.ascending_ms) > 0

    def at_most_ms(self, share: float) -> float:
        """Return what the leg adds to the quantile `share` of a latency at most; 0 where it is not known."""
        from scipy.special import bdtrik, ndtri

        count = len(self.ascending_ms)
        if not count:
            return 0.0
        # at most so many of them lie below the true quantile, but for a chance of 5 %
        below = int(np.ceil(bdtrik(CONFIDENCE, count, 1 - (1 - share) / BEYOND)))
        mean_ms = self.ascending_ms.mean() + ndtri(CONFIDENCE) * self.ascending_ms.std() / math.sqrt(count)
        return max(float(mean_ms), float(self.ascending_ms[min(below, count - 1)]))


def leg_of(null: pd.DataFrame, loaded: Windows) -> Leg:
    """The leg by the null requests that were sent in the stretches."""
    if null.empty:
        return Leg(ascending_ms=np.zeros(0))
    inside, _ = loaded.locate(null["started_ns"].to_numpy())
    own = null[inside]
    leg_ns = own["finished_ns"].to_numpy() - own["started_ns"].to_numpy() - own["uptake_ns"].to_numpy(dtype=np.int64)
    return Leg(ascending_ms=np.sort(leg_ns / 1e6))
