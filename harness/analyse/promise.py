"""Whether an SLO is kept: met or not met where a one-sided 95 % bound over launches says so, unclear otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from harness.analyse.compare import Comparison
from harness.analyse.critical import CONFIDENCE
from harness.domain.verdict import Bounds, Promise


def latency_promise(
    comparison: Comparison, cell: str, limit_ms: float | None, *, failing: bool = False
) -> Promise | None:
    """Return whether the cell's latency percentile is within the limit; None where no limit is given.

    Args:
        comparison: of that percentile, in log ms, over the launches in which it is finite.
        cell: its id; unclear where it has no figure.
        limit_ms: what was promised.
        failing: in some launch more failed than the percentile leaves: it is infinite there, and on the average.
    """
    if limit_ms is None:
        return None
    if failing:
        return "not_met"
    return _judge(comparison.one_sided(cell), limit_ms) if cell in comparison.cells else "unclear"


def error_rate_promise(launches: Sequence[tuple[int, int]], limit: float | None) -> Promise | None:
    """Return whether the error rate is within the limit, 0 to 1, from each launch's failed and offered arrivals."""
    return None if limit is None else _judge(error_rate_bounds(launches), limit)


def error_rate_bounds(launches: Sequence[tuple[int, int]]) -> Bounds:
    """Return the share that failed, with its lower and its upper 95 % bound, each for itself.

    Clopper and Pearson's bounds, for as many arrivals as these are worth: failures come together, so that their number
    scatters more between launches than independent ones would, and few launches show badly by how much (Korn and
    Graubard 1998, Survey Methodology 24:193). The bounds are None with fewer than two launches.

    Args:
        launches: failed and offered of each; those that offered nothing say nothing.
    """
    from scipy.special import betaincinv, ndtri, stdtrit

    counted = [(failed, offered) for failed, offered in launches if offered]
    failed, offered = sum(failed for failed, _ in counted), sum(offered for _, offered in counted)
    share = failed / offered if offered else math.nan
    if len(counted) < 2:
        return Bounds(value=share, low=None, high=None)
    freedom = len(counted) - 1
    scatter = sum((own - share * of) ** 2 for own, of in counted) * len(counted) / freedom / offered
    chance = share * (1 - share)
    design_effect = max(1.0, scatter / chance) if chance else 1.0
    worth = offered / design_effect * float(ndtri(CONFIDENCE) / stdtrit(freedom, CONFIDENCE)) ** 2
    bad, good = share * worth, (1 - share) * worth
    return Bounds(
        value=share,
        low=float(betaincinv(bad, good + 1, 1 - CONFIDENCE)) if failed else 0.0,
        high=float(betaincinv(bad + 1, good, CONFIDENCE)) if failed < offered else 1.0,
    )


def all_of(promises: Iterable[Promise | None]) -> Promise | None:
    """Return what several promises come to: the worst of those that were given; None where none was."""
    given = [promise for promise in promises if promise is not None]
    worst: tuple[Promise, ...] = ("not_met", "unclear", "met")
    return next((promise for promise in worst if promise in given), None)


def _judge(figure: Bounds, limit: float) -> Promise:
    if figure.low is None or figure.high is None:
        return "unclear"
    return "met" if figure.high <= limit else "not_met" if figure.low > limit else "unclear"
