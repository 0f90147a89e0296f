"""Whether a launch's requests queued, how long a queue of that kind remembers, and whether it was too much.

All is computed from when requests were due and when they ended, and from how many the service can hold at once: its
connections. In a queue served in the order of arrival the i-th request of a service with c connections begins when it
arrives, or when the (i - c)-th departure makes room, whichever is later; what follows until its own departure is its
*hold*. What a hold lasts on average times the planned rate, divided by the connections, is the *utilisation*, which
beyond 1 no service survives. The rate is known, so only the holds make it uncertain.

The work that waits is nearly a reflected Brownian motion with drift utilisation - 1 and variance s2 = rate x
E[hold^2] / c^2 (that of a compound Poisson sum; of evenly spaced arrivals with Var[hold]), whose correlation in time
fades as exp(-t / settling) with settling = 2 s2 / (1 - utilisation)^2 (its spectral gap; Abate and Whitt, Transient
behavior of regulated Brownian motion I, 1987). A measurement that is no multiple of it still shows that the queue was
empty when it began.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analyse.arrays import Bools, Floats, Times, Where
from harness.analyse.windows import Windows

SETTLING_SHARE_MAX = 0.05
"""The settling time, as a share of a launch's load, from which on the queue had not settled. Simulated (M/M/c, M/D/c
and one hold in fifty 300 times as long, 1 to 10 connections, 10 s): marks 19 of 20 cases whose steady p95 is at least
1.5 times the measured one. See tests/simulation/test_queueing.py."""
LIGHT = 0.5
LIGHT_SETTLING_SHARE_MAX = 0.25
"""Where utilisation is not surely above LIGHT, few holds make the settling time uncertain: a far longer one counts."""
SIGMAS = 2.33
"""One-sided 99 %: a service is saturated whose utilisation surely exceeds 1, and near its limit where it may do so."""
NEAR_LIMIT = 0.95
FEW = 20
"""arrivals below which nothing is said"""
GAVE_UP_SHARE = 0.9
"""An error that took this share of pool_timeout_s or more had waited for a connection, and was not served."""
BACKLOG_FROM = 1 / 3
"""of the load: what is in progress from then on, be it for long, is no backlog unless it grows"""
SHORTFALL_MAX = 0.05
"""Without a known number of connections: the share that may stay unanswered beyond what chance explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """CPU time as a resource that requests queue for, however many connections there are: a process has one core."""

    used_s: float
    """by the target's processes, while the launch was measured"""
    processes: int
    measured_s: float
    arrivals: int
    """due in that time"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What one launch's requests tell of its queue; here each is an arrival of its own."""

    arrivals: int
    unserved: int
    """of them dropped, unfinished, timed out, or given up on while they waited for a connection"""
    late_arrivals: int
    """due after BACKLOG_FROM of the load"""
    fallen_behind: int
    """how many more were unanswered at the end of the load than then, those counted that gave up since"""
    planned: float
    """rate x time: as many as arrive on average"""
    even: bool
    """whether they came at even gaps instead of at random, so that only holds make their work scatter"""
    work_s: float
    """sum of the holds of those that were served"""
    work_squares_s2: float
    """sum of their squares"""
    connections: int | None
    load_s: float
    """time on the load clock, warm-up included"""
    cpu: Cpu | None = None
    """None where the target's processes were not seen"""


def queue_of(
    *,
    due_ns: Times,
    gone_ns: Times,
    served: Bools,
    connections: int | None,
    loaded: Windows,
    planned: float,
    even: bool = False,
    cpu: Cpu | None = None,
) -> Queue:
    """Watch one launch's queue.

    Args:
        due_ns: when each request was due, or the arrival that was dropped before it had one.
        gone_ns: when it was there no longer, answered or not; NEVER where it did not end, its due_ns where it was
            dropped.
        served: whether it had a connection, or may have had one; the others only waited.
        connections: most the service can use at once, None where that is not known.
        loaded: when warm-up and measurement were on.
        planned: rate x time.
        even: whether arrivals came at even gaps instead of at random.
        cpu: what it used of its processors; None where not known.
    """
    work_s = squares_s2 = math.nan
    if connections is not None:
        which: Where = served if not served.all() else slice(None)
        holds_ns = _holds_ns(due_ns[which], gone_ns[which], connections)
        work_s, squares_s2 = float(holds_ns.sum()) / 1e9, float(np.square(holds_ns).sum()) / 1e18
    return Queue(
        arrivals=len(due_ns),
        unserved=int(np.count_nonzero(~served)),
        **_backlog(due_ns, gone_ns, served, loaded),
        planned=planned,
        even=even,
        work_s=work_s,
        work_squares_s2=squares_s2,
        connections=connections,
        load_s=loaded.seconds,
        cpu=cpu,
    )


def _backlog(due_ns: Times, gone_ns: Times, served: Bools, loaded: Windows) -> dict[str, int]:
    """How the number of those that were not answered grew from BACKLOG_FROM of the load to its end."""
    if not len(loaded.start_ns):
        return {"late_arrivals": 0, "fallen_behind": 0}
    from_s = BACKLOG_FROM * loaded.seconds
    place = int(np.searchsorted(loaded.load_s, from_s, side="right")) - 1
    from_ns = int(loaded.start_ns[place]) + round((from_s - float(loaded.load_s[place])) * 1e9)
    end_ns = int(loaded.end_ns[-1])
    then = int(np.count_nonzero((due_ns <= from_ns) & (gone_ns > from_ns)))
    now = int(np.count_nonzero(served & (gone_ns > end_ns)))
    lost = int(np.count_nonzero(~served & (gone_ns >= from_ns)))
    return {"late_arrivals": int(np.count_nonzero(due_ns > from_ns)), "fallen_behind": now + lost - then}


def _holds_ns(due_ns: Times, gone_ns: Times, connections: int) -> Floats:
    """How long each held a connection, in the order of arrival; see the module."""
    left_ns = np.sort(gone_ns, kind="stable")  # rows come in the order in which they ended: little to do
    order = np.argsort(due_ns, kind="stable")
    begun_ns, gone_ns = due_ns[order], gone_ns[order]
    waits = len(due_ns) - connections
    if waits > 0:
        np.maximum(begun_ns[connections:], left_ns[:waits], out=begun_ns[connections:])
    np.subtract(gone_ns, begun_ns, out=gone_ns)
    np.maximum(gone_ns, 0, out=gone_ns)  # one that overtook another
    return gone_ns.astype(np.float64)


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
    settling_s: float
    """for about how long the queue remembers that it began empty; infinite at its limit, NaN where not known"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    """Something that requests queue for, over all launches of a cell."""

    utilisation: float
    standard_error: float
    settling_s: float
    load_s: float
    """of one launch"""

    @property
    def is_unsettled(self) -> bool:
        is_light = self.utilisation - SIGMAS * self.standard_error <= LIGHT
        allowed = LIGHT_SETTLING_SHARE_MAX if is_light else SETTLING_SHARE_MAX
        return self.settling_s > allowed * self.load_s

    @property
    def is_near_its_limit(self) -> bool:
        return self.utilisation > NEAR_LIMIT or self.utilisation + SIGMAS * self.standard_error > 1.0


def judge_queue(launches: Sequence[Queue]) -> QueueVerdict:
    """Decide over all launches of a cell, beyond what chance explains; nothing is said of fewer than FEW arrivals."""
    if sum(queue.arrivals for queue in launches) < FEW:
        return QueueVerdict(
            utilisation=math.nan, saturated=False, near_its_limit=False, from_empty=False, settling_s=math.nan
        )
    connections, cpu = _connections(launches), _cpu(launches)
    if connections is None:
        saturated = _surely_unanswered(launches) > SHORTFALL_MAX
    else:
        saturated = connections.utilisation - SIGMAS * connections.standard_error > 1.0
    known = [resource for resource in (connections, cpu) if resource is not None]
    return QueueVerdict(
        utilisation=math.nan if connections is None else connections.utilisation,
        saturated=saturated,
        near_its_limit=not saturated and any(resource.is_near_its_limit for resource in known),
        from_empty=saturated or any(resource.is_unsettled for resource in known),
        settling_s=max((resource.settling_s for resource in known), default=math.nan),
    )


def _connections(launches: Sequence[Queue]) -> _Resource | None:
    """Connections: who was turned away would have held one for as long as who was served. None where not known."""
    capacity_s = sum(queue.load_s * (queue.connections or math.nan) for queue in launches)
    served = sum(queue.arrivals - queue.unserved for queue in launches)
    if not capacity_s > 0:
        return None
    total_s = sum(queue.load_s for queue in launches)
    if not served:
        return _Resource(utilisation=math.inf, standard_error=0.0, settling_s=math.inf, load_s=total_s / len(launches))
    planned = sum(queue.planned for queue in launches)
    mean_s = sum(queue.work_s for queue in launches) / served
    mean_square_s2 = sum(queue.work_squares_s2 for queue in launches) / served
    variance_s2 = max(0.0, mean_square_s2 - mean_s * mean_s)
    scatter_s2 = variance_s2 if all(queue.even for queue in launches) else mean_square_s2
    utilisation = planned * mean_s / capacity_s
    return _Resource(
        utilisation=utilisation,
        standard_error=planned / capacity_s * math.sqrt(variance_s2 / served),
        settling_s=_settling_s(utilisation, planned * scatter_s2 * total_s / capacity_s**2),
        load_s=total_s / len(launches),
    )


def _cpu(launches: Sequence[Queue]) -> _Resource | None:
    """Processors: how CPU time scatters between requests is not seen, so it is taken to be as much as it is long."""
    known = [queue.cpu for queue in launches if queue.cpu is not None]
    total_s, capacity_s = sum(cpu.measured_s for cpu in known), sum(cpu.processes * cpu.measured_s for cpu in known)
    arrivals = sum(cpu.arrivals for cpu in known)
    if not capacity_s > 0 or not arrivals:
        return None
    utilisation = sum(cpu.used_s for cpu in known) / capacity_s
    variance = 2 * utilisation * utilisation / arrivals  # twice the mean's square is an exponential time's mean square
    return _Resource(
        utilisation=utilisation,
        standard_error=math.sqrt(variance),
        settling_s=_settling_s(utilisation, variance * total_s),
        load_s=total_s / len(known),
    )


def _settling_s(utilisation: float, variance_s: float) -> float:
    """See the module; `variance_s` is its s2."""
    return 2 * variance_s / (1 - utilisation) ** 2 if utilisation < 1 else math.inf


def _surely_unanswered(launches: Sequence[Queue]) -> float:
    """The share of the planned rate by which answers fell short of it, less what chance may make of either."""
    planned = (1 - BACKLOG_FROM) * sum(queue.planned for queue in launches)
    if not planned:
        return 0.0
    answered = sum(queue.late_arrivals - queue.fallen_behind for queue in launches)
    return 1 - answered / planned - SIGMAS / math.sqrt(planned)
