"""By how much the generator's own lateness can have moved a launch's figures.

An arrival that is handed over late reaches the service late, and may push what queues behind it. The departures of a
queue served in order never come earlier when an arrival comes later, and are not delayed by more than the largest
delay of the arrivals that they had to wait for. So of the latency L of an arrival at most

    e = the largest hand-over lateness since nothing was last in flight, up to its own

is the generator's, and the service's true quantile lies between the quantiles of L - e and of L. The bound is made of
hand-over times and of when the client had nothing in flight; it does not choose launches or arrivals by latency.
"""

from __future__ import annotations

import numpy as np

from harness.analyse.arrays import Floats


def lateness_bound_s(due_s: Floats, there_s: Floats, late_s: Floats) -> Floats:
    """The bound e of each arrival, in the order given.

    Args:
        due_s: when each was due, on the load clock.
        there_s: how long it was there; infinite where it never ended, 0 where it was dropped.
        late_s: how late it was handed over; 0 where it was dropped.
    """
    order = np.argsort(due_s, kind="stable")
    gone_s = np.maximum.accumulate((due_s + there_s)[order])
    begins = np.ones(len(order), dtype=np.bool_)  # of a stretch with something in flight
    begins[1:] = due_s[order][1:] > gone_s[:-1]
    stretch = np.cumsum(begins)
    lift = 2.0 * (float(late_s.max(initial=0.0)) + 1.0)  # more than any lateness: each stretch starts its maximum anew
    largest = np.maximum.accumulate(late_s[order] + stretch * lift) - stretch * lift
    bound_s = np.empty(len(order))
    bound_s[order] = np.maximum(largest, 0.0)
    return bound_s
