"""Whether a launch's requests queued, for how long, and whether its service could have kept up at all.

All is computed from when arrivals were due and when they ended, on the launch's load clock, and from how many the
service can hold at once: its connections. In a queue served in the order of arrival the i-th request of a service with
c connections begins when it arrives, or when the (i - c)-th departure makes room, whichever is later; what follows
until its own departure is its *hold*. The sum of holds is the work that arrived; divided by what c connections can do
in that time it is the *utilisation*, which beyond 1 no service survives. Arrivals come at random, so over many such
launches the work in time T has the variance rate x T x E[hold^2] (a compound Poisson sum; Ross, Introduction to
Probability Models, 5.4.2), which the holds seen estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analyse.arrays import Bools, Floats

WAITING_SHARE_MAX = 0.10
"""The longest stretch with somebody waiting, as a share of the measurement, from which on the queue had not settled.
Simulated (M/M/c, M/D/c, 1 to 10 connections, 10 s): marks 9 of 10 cases or more whose steady p95 is at least 1.5 times
the measured one, and none at a utilisation of 0.5 or less."""
SIGMAS = 2.33
"""One-sided 99 %: how surely the utilisation has to exceed 1 for a service to be called saturated."""
NEAR_LIMIT = 0.95
FEW = 20
"""arrivals below which nothing is said"""
GAVE_UP_SHARE = 0.9
"""An error that took this share of pool_timeout_s or more had waited for a connection, and was not served."""
SHORTFALL_MAX = 0.05
"""Without a known number of connections: the share that may stay unanswered beyond what chance explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What one launch's arrivals tell of its queue."""

    arrivals: int
    unserved: int
    """of them dropped, unfinished, timed out, or given up on while they waited for a connection"""
    behind: int
    """of the others, still in progress when the load ended"""
    work_s: float
    """sum of the holds of those that were served"""
    work_squares_s2: float
    """sum of their squares"""
    capacity_s: float
    """connections x time of load; NaN where the number of connections is not known"""
    waiting_share: float
    """longest stretch of the measurement in which somebody waited, as a share of it; NaN likewise"""


def queue_of(
    *,
    due_s: Floats,
    latency_s: Floats,
    served: Bools,
    connections: int | None,
    warmup_s: float,
    load_s: float,
) -> Queue:
    """Watch one launch's queue.

    Args:
        due_s: when each arrival was due, on the load clock.
        latency_s: how long it was there; infinite where it never ended, 0 where it was dropped.
        served: whether it had a connection, or may have had one; the others only waited.
        connections: most the service can use at once, None where that is not known.
        warmup_s: where on the load clock the measurement begins.
        load_s: where it ends.
    """
    order = np.argsort(due_s, kind="stable")
    due_s, latency_s, served = due_s[order], latency_s[order], served[order]
    gone_s = due_s + latency_s
    known = connections is not None and len(due_s) > 0
    holds_s = _holds_s(due_s[served], gone_s[served], connections or 1) if known else np.zeros(0)
    return Queue(
        arrivals=len(due_s),
        unserved=int(np.count_nonzero(~served)),
        behind=int(np.count_nonzero(served & (gone_s > load_s))),
        work_s=float(holds_s.sum()),
        work_squares_s2=float(np.square(holds_s).sum()),
        capacity_s=load_s * connections if known and connections else math.nan,
        waiting_share=_waiting_share(due_s, gone_s, connections or 0, warmup_s, load_s) if known else math.nan,
    )


def _holds_s(due_s: Floats, gone_s: Floats, connections: int) -> Floats:
    """How long each held a connection; see the module."""
    begun_s = due_s.copy()
    if len(due_s) > connections:
        begun_s[connections:] = np.maximum(due_s[connections:], np.sort(gone_s)[: len(due_s) - connections])
    held_s: Floats = np.maximum(gone_s - begun_s, 0.0)  # one that overtook another
    return held_s


def _waiting_share(due_s: Floats, gone_s: Floats, connections: int, warmup_s: float, load_s: float) -> float:
    """The longest time for which more were there than there are connections, within the measurement."""
    ends = np.concatenate([due_s, gone_s[np.isfinite(gone_s)]])
    steps = np.concatenate([np.ones(len(due_s)), -np.ones(len(ends) - len(due_s))])
    order = np.argsort(ends, kind="stable")
    waiting = np.cumsum(steps[order]) > connections
    edges_s = np.clip(ends[order], warmup_s, load_s)
    changes = np.flatnonzero(np.diff(np.concatenate([[False], waiting, [False]])))
    begun, ended = changes[::2], changes[1::2]
    until_s = np.concatenate([edges_s, [load_s]])  # what waits at the last event waits until the end
    longest_s = float((until_s[ended] - edges_s[begun]).max(initial=0.0)) if len(begun) else 0.0
    return longest_s / (load_s - warmup_s) if load_s > warmup_s else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueVerdict:
    """What all launches of a cell say together."""

    utilisation: float
    """offered work / what the connections can do; NaN where not known"""
    saturated: bool
    near_its_limit: bool
    """not surely saturated, but close to it"""
    from_empty: bool
    """the queue had not settled: in a steady state latency is higher"""


def judge_queue(launches: Sequence[Queue]) -> QueueVerdict:
    """Decide over all launches of a cell, beyond what chance explains; nothing is said of fewer than FEW arrivals."""
    arrivals = sum(queue.arrivals for queue in launches)
    served = arrivals - sum(queue.unserved for queue in launches)
    if arrivals < FEW:
        return QueueVerdict(utilisation=math.nan, saturated=False, near_its_limit=False, from_empty=False)
    capacity_s = sum(queue.capacity_s for queue in launches)
    if math.isnan(capacity_s):
        utilisation, least = math.nan, 1.0 + _surely_unanswered(launches, arrivals) - SHORTFALL_MAX
    elif served:
        # who was turned away would have brought as much work as who was served
        scale = arrivals / served / capacity_s
        utilisation = scale * sum(queue.work_s for queue in launches)
        least = utilisation - SIGMAS * scale * math.sqrt(sum(queue.work_squares_s2 for queue in launches))
    else:
        utilisation, least = math.inf, math.inf
    saturated = least > 1.0
    waiting = max((queue.waiting_share for queue in launches if not math.isnan(queue.waiting_share)), default=0.0)
    return QueueVerdict(
        utilisation=utilisation,
        saturated=saturated,
        near_its_limit=not saturated and utilisation > NEAR_LIMIT,
        from_empty=saturated or waiting > WAITING_SHARE_MAX,
    )


def _surely_unanswered(launches: Sequence[Queue], arrivals: int) -> float:
    """The share of arrivals that the end of the load found unanswered, less what chance may make of it."""
    unanswered = sum(queue.unserved + queue.behind for queue in launches)
    return unanswered / arrivals - SIGMAS * math.sqrt(2 * arrivals) / arrivals
