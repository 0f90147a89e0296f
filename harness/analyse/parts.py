"""Where the time of an average request went on both sides of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np

from harness.analyse.launches import EndpointFigures, LaunchFigures
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Part

INTERVAL = 0.975


def parts_of(launches: Sequence[LaunchFigures]) -> tuple[Part, ...]:
    """Mean ms of a served request, by part, with the 95 % interval of head - base over blocks; none without the probe.

    "elsewhere" is what neither pool nor database nor application code took: the way there and back, waiting for the
    event loop or a thread, and the generator's lateness. "cpu" is the service's CPU time, which lies within the others.
    """
    readers: Mapping[str, Callable[[LaunchFigures], float]] = {
        "pool": lambda own: _mean(own.all, own.all.pool_sum_ms),
        "database": lambda own: _mean(own.all, own.all.db_sum_ms),
        "application": lambda own: _mean(own.all, own.all.app_sum_ms),
        "elsewhere": lambda own: _mean(
            own.all, own.all.latency_sum_ms - own.all.pool_sum_ms - own.all.db_sum_ms - own.all.app_sum_ms
        ),
        "cpu": lambda own: METRICS["cpu_ms_per_request"].of(own, ALL),
    }
    found = (_part(name, read, launches) for name, read in readers.items())
    return tuple(part for part in found if part is not None)


def _mean(figures: EndpointFigures, total_ms: float) -> float:
    return total_ms / figures.probed if figures.probed else math.nan


def _part(name: str, read: Callable[[LaunchFigures], float], launches: Sequence[LaunchFigures]) -> Part | None:
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
    if not both:
        return None
    differences = np.array([sides[HEAD][block] - bases[block] for block in both])
    half = math.nan
    if len(both) > 1:
        half = float(stdtrit(len(both) - 1, INTERVAL) * differences.std(ddof=1) / math.sqrt(len(both)))
    mean = float(differences.mean())
    return Part(
        name=name,  # type: ignore[arg-type]  # the keys above
        base_ms=fmean(bases[block] for block in both),
        head_ms=fmean(sides[HEAD][block] for block in both),
        low_ms=mean - half if math.isfinite(half) else None,
        high_ms=mean + half if math.isfinite(half) else None,
    )
