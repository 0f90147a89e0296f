"""By how much the generator itself can have moved a launch's figures: what it sent late, and what it took up late.

An arrival that is handed over late reaches the service late, and may push what queues behind it. The departures of a
queue served in order never come earlier when an arrival comes later, and are not delayed by more than the largest
delay of the arrivals that they had to wait for. So of the latency L of an arrival at most

    e = the largest hand-over lateness since nothing was last in flight, up to its own

is the generator's for that reason. An answer that lay there before the generator took it up delays nobody else in the
open model; for how long, its event loop knows. Less both, and less the way there and back (`leg`), a latency is at most
the service's, and the service's true quantile lies between those of what is left and of L. The bound is made of the
generator's own times and of when it had nothing in flight; it does not choose launches or arrivals by latency.
"""

from __future__ import annotations

import numpy as np

from harness.analyse.arrays import Floats, Times
from harness.analyse.measured import Arrivals, Requests


def without_generator_ms(of: Arrivals | Requests) -> Floats:
    """Return each latency less what the generator can have added to it: what it sent and took up late."""
    moved_ns = lateness_bound_ns(of.due_ns, of.gone_ns, of.late_ns) + of.uptake_ns
    return of.latency_ms - moved_ns / 1e6


def lateness_bound_ns(due_ns: Times, gone_ns: Times, late_ns: Times) -> Times:
    """The bound e of each arrival, in the order given.

    Args:
        due_ns: when each was due.
        gone_ns: when each was gone; later than any time where it never was.
        late_ns: how late it was handed over.
    """
    order = np.argsort(due_ns, kind="stable")  # rows come in the order they ended, which is nearly this one
    due_ns, late_ns = due_ns[order], late_ns[order]
    gone_so_far_ns = np.maximum.accumulate(gone_ns[order])
    alone = np.ones(len(order), dtype=np.bool_)  # nothing was in flight when it came
    alone[1:] = due_ns[1:] > gone_so_far_ns[:-1]
    # each stretch with something in flight starts its maximum anew: it is lifted above all there was before
    lift_ns = np.cumsum(alone) * (2 * int(late_ns.max(initial=0)) + 1)
    bound_ns = np.empty(len(order), dtype=np.int64)
    bound_ns[order] = np.maximum(np.maximum.accumulate(late_ns + lift_ns) - lift_ns, 0)
    return bound_ns
