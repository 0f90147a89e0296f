"""The figures of one launch and endpoint, over its requests; of everything together, over arrivals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from harness.analyse.arrays import Floats, Where
from harness.analyse.estimate import quantile, quantile_of
from harness.analyse.lateness import without_generator_ms
from harness.analyse.leg import Leg
from harness.analyse.measured import ALL, OUTCOME_PLACES, Arrivals, Requests
from harness.domain.experiment import Slo

SHARES = (0.50, 0.90, 0.95, 0.99)
_DROPPED = OUTCOME_PLACES["dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFigures:
    """One launch and endpoint, whose requests these are; of ALL, its arrivals."""

    requests: int
    ok: int
    answered: int
    """whose answer, good or bad, came while the launch was measured, whenever they were due"""
    carried: int
    """likewise, of those answered well"""
    good: int
    """likewise, of those answered well and within the SLO's latency"""
    dropped: int
    seconds: float
    quantiles_ms: tuple[float, ...]
    """at SHARES, of all that was offered"""
    least_ms: tuple[float, ...]
    """at SHARES: what is left of the quantiles without all that the instrument can have added"""
    served_p99_ms: float
    pool_p95_ms: float
    probed: int
    """served requests that the probe saw; the sums are theirs"""
    pool_sum_ms: float
    db_sum_ms: float
    app_sum_ms: float
    latency_sum_ms: float

    @property
    def mean_parts_ms(self) -> tuple[float, float, float] | None:
        """Pool, database and application time of those that the probe saw; None without any."""
        if not self.probed:
            return None
        return self.pool_sum_ms / self.probed, self.db_sum_ms / self.probed, self.app_sum_ms / self.probed

    @property
    def error_rate(self) -> float:
        return (self.requests - self.ok) / self.requests


def endpoint_figures(
    requests: Requests, arrivals: Arrivals, leg: Leg, seconds: float, slo: Slo
) -> tuple[dict[str, EndpointFigures], Floats]:
    """The figures of ALL and of each endpoint that was asked, and the latencies that those of ALL are of, ascending.

    Args:
        requests: of warm-up and measurement.
        arrivals: likewise.
        leg: what the way there and back adds to each request.
        seconds: measured.
        slo: for the latency within which a request is good.
    """
    own_ms = without_generator_ms(requests)
    order = np.argsort(requests.endpoint, kind="stable")
    bounds = np.searchsorted(requests.endpoint[order], np.arange(-1, len(requests.endpoints) + 1))
    groups = [order[start:end] for start, end in pairwise(bounds)]  # the first: of no known endpoint
    sorted_ms = [np.sort(requests.latency_ms[group][requests.measured[group]]) for group in groups]
    sorted_own_ms = [np.sort(own_ms[group][requests.measured[group]]) for group in groups]
    if len(arrivals.latency_ms) == len(requests.latency_ms):
        # one request an arrival: sorted runs, which a stable sort merges, cheaper by far than sorting all once more
        ascending = np.sort(np.concatenate(sorted_ms), kind="stable")
        least_ms = _least_ms(np.sort(np.concatenate(sorted_own_ms), kind="stable"), leg)
    else:
        ascending = np.sort(arrivals.latency_ms[arrivals.measured])
        least_ms = least_of_tasks_ms(arrivals, leg)
    figures = partial(_figures, requests=requests, seconds=seconds)
    found = {
        ALL: figures(
            arrivals, where=slice(None), ascending=ascending, least_ms=least_ms, limit_ms=latency_limit_ms(slo)
        )
    }
    for place, name in enumerate(requests.endpoints, start=1):
        if len(sorted_ms[place]):
            found[name] = figures(
                requests,
                where=groups[place],
                ascending=sorted_ms[place],
                least_ms=_least_ms(sorted_own_ms[place], leg),
                limit_ms=latency_limit_ms(slo, name),
            )
    return found, ascending


def latency_limit_ms(slo: Slo, endpoint: str = ALL) -> float:
    """The latency within which one request is good: what is promised of its endpoint, else of everything; infinite
    without either."""
    given = [limits.latency_ms for limits in (slo.endpoints.get(endpoint, slo), slo)]
    return next((limit for limit in given if limit is not None), np.inf)


def _least_ms(ascending: Floats, leg: Leg) -> tuple[float, ...]:
    """At SHARES of requests whose latencies without what the generator added are `ascending`: less the leg as well."""
    return tuple(max(0.0, quantile(ascending, share) - leg.at_most_ms(share)) for share in SHARES)


def least_of_tasks_ms(arrivals: Arrivals, leg: Leg) -> tuple[float, ...]:
    """At SHARES of arrivals: what is left of their latencies' quantiles without all that the instrument can have added.

    Each of the requests that an arrival sends has the leg once more.
    """
    own_ms, calls = without_generator_ms(arrivals)[arrivals.measured], arrivals.calls[arrivals.measured]
    return tuple(max(0.0, quantile_of(own_ms - calls * leg.at_most_ms(share), share)) for share in SHARES)


def _figures(
    of: Arrivals | Requests,
    *,
    requests: Requests,
    where: Where,
    ascending: Floats,
    least_ms: tuple[float, ...],
    seconds: float,
    limit_ms: float,
) -> EndpointFigures:
    """What `of` says of an endpoint: its entries at `where`, of which the measured ones' latencies are `ascending`."""
    ok = int(np.searchsorted(ascending, np.inf))
    came, answered = of.came[where], of.answered[where]
    came_ms = of.latency_ms[where][came & answered]
    carried = int(np.count_nonzero(came_ms < np.inf))
    measured = requests.measured[where]
    pool_ms, request_ms = requests.pool_ms[where], requests.latency_ms[where]
    seen = measured & (request_ms < np.inf) & np.isfinite(pool_ms)
    pool_ms = pool_ms[seen]
    return EndpointFigures(
        requests=len(ascending),
        ok=ok,
        answered=len(came_ms),
        carried=carried,
        good=int(np.count_nonzero(came_ms <= limit_ms)) if limit_ms < np.inf else carried,
        dropped=int(np.count_nonzero((of.outcome[where] == _DROPPED) & of.measured[where])),
        seconds=seconds,
        quantiles_ms=tuple(quantile(ascending, share) for share in SHARES),
        least_ms=least_ms,
        served_p99_ms=quantile(ascending[:ok], 0.99),
        pool_p95_ms=quantile_of(pool_ms, 0.95),
        probed=len(pool_ms),
        pool_sum_ms=float(pool_ms.sum(dtype=np.float64)),
        db_sum_ms=float(requests.db_ms[where][seen].sum(dtype=np.float64)),
        app_sum_ms=float(requests.app_ms[where][seen].sum(dtype=np.float64)),
        latency_sum_ms=float(request_ms[seen].sum()),
    )
