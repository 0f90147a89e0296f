"""Where the time of an average request went on both sides of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np

from harness.analyse.endpoint_figures import EndpointFigures
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS
from harness.analyse.resources import ProbeTimes
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Part, PartName

INTERVAL = 0.975


def parts_of(launches: Sequence[LaunchFigures]) -> tuple[Part, ...]:
    """Mean ms of a served request, by part, with the 95 % interval of head - base over blocks; none without the probe.

    The first six add up to the latency; "elsewhere" is what the service's own clock does not see: the way there and
    back, waiting for the event loop to take the request up, and the generator's lateness. What lies within these
    follows: waiting for a thread (by Little's law, from how many wait at ten readings a second), garbage collection
    (what stood still, divided by the requests), and CPU time. "loop" is no part: it is how late the event loop runs
    whatever is due, and a request is due as often as it waits for something. A part that neither side has is left out.
    """
    readers: Mapping[PartName, Callable[[LaunchFigures], float]] = {
        "queue": lambda own: _pool_share(own, lambda times: times.wait_s),
        "dial": lambda own: _pool_share(own, lambda times: times.dial_s),
        "ping": lambda own: _pool_share(own, lambda times: times.ping_s),
        "database": lambda own: _mean(own.all, own.all.db_sum_ms),
        "application": lambda own: _mean(own.all, own.all.app_sum_ms),
        "elsewhere": lambda own: _mean(
            own.all, own.all.latency_sum_ms - own.all.pool_sum_ms - own.all.db_sum_ms - own.all.app_sum_ms
        ),
        "threads": lambda own: _each(own, lambda times: times.threads_waiting * own.seconds),
        "gc": lambda own: _each(own, lambda times: times.gc_s),
        "cpu": lambda own: METRICS["cpu_ms_per_request"].of(own, ALL),
        "loop": lambda own: own.probe_times.loop_lag_ms if own.probe_times else math.nan,
    }
    found = (_part(name, read, launches) for name, read in readers.items())
    return tuple(part for part in found if part is not None)


def _mean(figures: EndpointFigures, total_ms: float) -> float:
    return total_ms / figures.probed if figures.probed else math.nan


def _pool_share(launch: LaunchFigures, of: Callable[[ProbeTimes], float]) -> float:
    """The requests' time for connections, divided as the pools' own counters are.

    Listeners of the service make up the rest, which is next to nothing, and is given to the three alike.
    """
    times = launch.probe_times
    if times is None or not (whole_s := times.wait_s + times.dial_s + times.ping_s):
        return math.nan if times is None else 0.0
    return _mean(launch.all, launch.all.pool_sum_ms) * of(times) / whole_s


def _each(launch: LaunchFigures, seconds: Callable[[ProbeTimes], float]) -> float:
    """Milliseconds a request of what all processes spent together."""
    if launch.probe_times is None or not launch.all.answered:
        return math.nan
    return 1000 * seconds(launch.probe_times) / launch.all.answered


def _part(name: PartName, read: Callable[[LaunchFigures], float], launches: Sequence[LaunchFigures]) -> Part | None:
    from scipy.special import stdtrit

    sides: dict[str, dict[int, float]] = {BASE: {}, BASE_AGAIN: {}, HEAD: {}}
    for own in launches:
        if own.trial.launch.cell.arm in sides and math.isfinite(value := read(own)):
            sides[own.trial.launch.cell.arm][own.block] = value
    bases = {
        block: fmean(sides[arm][block] for arm in (BASE, BASE_AGAIN) if block in sides[arm])
        for block in sides[BASE].keys() | sides[BASE_AGAIN].keys()
    }
    both = sorted(bases.keys() & sides[HEAD].keys())
    if not any(bases[block] or sides[HEAD][block] for block in both):
        return None
    differences = np.array([sides[HEAD][block] - bases[block] for block in both])
    half = math.nan
    if len(both) > 1:
        half = float(stdtrit(len(both) - 1, INTERVAL) * differences.std(ddof=1) / math.sqrt(len(both)))
    mean = float(differences.mean())
    return Part(
        name=name,
        base_ms=fmean(bases[block] for block in both),
        head_ms=fmean(sides[HEAD][block] for block in both),
        low_ms=mean - half if math.isfinite(half) else None,
        high_ms=mean + half if math.isfinite(half) else None,
    )
