"""What a probe user met beside the load: judged apart, in no other figure.

A readiness check asks so seldom that a launch may hold a handful of its answers. A percentile is shown from as many on
as it takes to have one beyond it; the promise is judged whatever their number, as what it says: "p95 at most 1 s" is
kept where at most one in twenty takes longer, by the same bounds as a share of failures is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.analyse.arrays import Floats
from harness.analyse.endpoint_figures import SHARES
from harness.analyse.estimate import quantile
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.promise import all_of, error_rate_promise
from harness.domain.experiment import Limits, ProbeUser
from harness.domain.verdict import Bounds, CellSummary, EndpointSummary, Promise


def with_probe_user(summary: CellSummary, asked: ProbeUser, launches: Sequence[LaunchFigures]) -> CellSummary:
    """Give a cell's summary what its probe user met; what is promised of that counts for the cell's SLO as well."""
    if not asked.request or not launches:
        return summary
    own = _figures(summary.cell.id, asked, launches)
    met = np.concatenate([launch.probe_user_ms for launch in launches])
    kept = all_of([summary.slo, own.slo])
    return replace(
        summary,
        slo=kept,
        slo_instrument=summary.slo_instrument and kept == "unclear" != own.slo,
        probe_user=own,
        probe_user_worst_ms=float(met.max()) if len(met) else math.nan,
    )


def not_kept(asked: ProbeUser, met: Floats) -> Iterator[str]:
    """Name what one launch did not keep of what is promised of its probe user, as its answers have it.

    Of none nothing is known. The limit of a percentile is broken where more than the rest is slower.
    """
    limits, answers = asked.slo, len(met)
    shares = (("p50_ms", 0.5, limits.p50_ms), ("p95_ms", 0.95, limits.p95_ms), ("p99_ms", 0.99, limits.p99_ms))
    for name, share, limit_ms in shares:
        if answers and limit_ms is not None and np.count_nonzero(met > limit_ms) > (1 - share) * answers + 1e-9:
            yield f"{name} of {asked.name}"
    failed = np.count_nonzero(met == np.inf)
    if answers and limits.error_rate is not None and failed > limits.error_rate * answers + 1e-9:
        yield f"error_rate of {asked.name}"


def _figures(cell_id: str, asked: ProbeUser, launches: Sequence[LaunchFigures]) -> EndpointSummary:
    each = [launch.probe_user_ms for launch in launches]
    met = np.sort(np.concatenate(each))
    ok, seconds = int(np.count_nonzero(met < np.inf)), sum(launch.seconds for launch in launches)
    p50, p90, p95, p99 = (
        Bounds(value=quantile(met, share) if len(met) * (1 - share) > 1 - 1e-9 else math.nan, low=None, high=None)
        for share in SHARES
    )
    return EndpointSummary(
        cell_id=cell_id,
        endpoint=asked.name,
        launches=len(each),
        requests=len(met),
        achieved_rps=math.nan,
        carried_rps=ok / seconds if seconds else math.nan,
        goodput_rps=math.nan,
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        p95_bound_low_ms=math.nan,
        served_p99_ms=math.nan,
        error_rate=1 - ok / len(met) if len(met) else math.nan,
        dropped=0,
        pool_ms_p95=math.nan,
        pool_share=math.nan,
        db_share=math.nan,
        slo=_kept(asked.slo, each),
    )


def _kept(limits: Limits, each: Sequence[Floats]) -> Promise | None:
    """Whether what is promised is kept, from each launch's latencies, a failure being slower than any limit."""
    latencies = [
        error_rate_promise([(int(np.count_nonzero(own > limit_ms)), len(own)) for own in each], 1 - share)
        for share, limit_ms in ((0.5, limits.p50_ms), (0.95, limits.p95_ms), (0.99, limits.p99_ms))
        if limit_ms is not None
    ]
    failed = [(int(np.count_nonzero(own == np.inf)), len(own)) for own in each]
    return all_of([*latencies, error_rate_promise(failed, limits.error_rate)])
