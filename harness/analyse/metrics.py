"""Every figure that cells are compared by: its name, unit and direction, and how one launch has it.

Names are summary.csv's columns. A new metric is a line in METRICS; ranking, SLO, gates and claims all ask `compare_by`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.analyse.compare import Comparison, compare
from harness.analyse.endpoint_figures import SHARES, EndpointFigures
from harness.analyse.exact_counts import COUNTED
from harness.analyse.holds import holds_of
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.measured import ALL
from harness.analyse.resources import ProbeTimes
from harness.analyse.spread import Prior
from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure of one launch and endpoint."""

    name: str
    unit: str
    """ "ms", "/s", "" for counts and shares"""
    lower_is_better: bool
    of: Callable[[LaunchFigures, str], float]
    """of a launch and an endpoint; NaN where there is none, infinite where it failed"""
    least: Callable[[LaunchFigures, str], float] | None = None
    """what the figure is at least, without all that the instrument can have added; None where it adds nothing"""
    leg: Callable[[LaunchFigures], float] | None = None
    """how much of what is between the two the way to a service and back is: the machine's, so common to all cells"""
    exact: bool = False
    """the same in every launch but for a change of the service: no noise, so any difference counts"""
    may_be_nothing: bool = False
    """0 is a usual figure of it, so that differences are compared and not ratios"""


def _of_endpoint(figure: Callable[[EndpointFigures], float]) -> Callable[[LaunchFigures, str], float]:
    def of(launch: LaunchFigures, endpoint: str) -> float:
        own = launch.by_endpoint.get(endpoint)
        return math.nan if own is None or not own.requests else figure(own)

    return of


def _of_launch(figure: Callable[[LaunchFigures], float]) -> Callable[[LaunchFigures, str], float]:
    return lambda launch, endpoint: figure(launch) if endpoint == ALL else math.nan


def _percentile(share: float) -> Metric:
    place = SHARES.index(share)
    return Metric(
        name=f"p{100 * share:g}_ms",
        unit="ms",
        lower_is_better=True,
        of=_of_endpoint(lambda own: own.quantiles_ms[place]),
        least=_of_endpoint(lambda own: own.least_ms[place]),
        leg=lambda launch: launch.leg_ms[place],
    )


def _rate(name: str, count: Callable[[EndpointFigures], int]) -> Metric:
    return Metric(
        name=name,
        unit="/s",
        lower_is_better=False,
        of=_of_endpoint(lambda own: count(own) / own.seconds if own.seconds else math.nan),
    )


def _exact(name: str) -> Metric:
    return Metric(
        name=name,
        unit="",
        lower_is_better=True,
        of=lambda launch, endpoint: launch.exact.get(endpoint, {}).get(name, math.nan),
        exact=True,
    )


def _count(name: str, of: Callable[[LaunchFigures, str], float], unit: str = "") -> Metric:
    return Metric(name=name, unit=unit, lower_is_better=True, of=of, may_be_nothing=True)


def _of_probe(name: str, unit: str, figure: Callable[[ProbeTimes], float]) -> Metric:
    return _count(name, _of_launch(lambda own: math.nan if own.probe_times is None else figure(own.probe_times)), unit)


def _idle_in_transaction(launch: LaunchFigures) -> float:
    means = launch.connections.means
    return sum(mean for state, mean in means.items() if state.startswith("idle in transaction")) if means else math.nan


def _hold_ms(launch: LaunchFigures, endpoint: str) -> float:
    """Mean length of a hold, until the response started and after; NaN without one."""
    of = holds_of([launch.holds], launch.seconds)
    own = [hold for hold in of if endpoint in (ALL, hold.endpoint)]
    holds = sum(hold.holds for hold in own)
    return sum(hold.hold_ms * hold.holds for hold in own) / holds if holds else math.nan


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        *map(_percentile, SHARES),
        *(_exact(f"{name}_per_request") for name in COUNTED),
        Metric(name="served_p99_ms", unit="ms", lower_is_better=True, of=_of_endpoint(lambda own: own.served_p99_ms)),
        _rate("achieved_rps", lambda own: own.answered),
        _rate("carried_rps", lambda own: own.carried),
        _rate("goodput_rps", lambda own: own.good),
        _count("error_rate", _of_endpoint(lambda own: own.error_rate)),
        _count("dropped", _of_endpoint(lambda own: own.dropped)),
        Metric(name="pool_wait_p95_ms", unit="ms", lower_is_better=True, of=_of_endpoint(lambda own: own.pool_p95_ms)),
        # a service that answers holds some
        _count("connections_peak", _of_launch(lambda own: own.connections.peak or math.nan)),
        _count("connections_active_mean", _of_launch(lambda own: own.connections.active_mean)),
        _count("connections_idle_in_transaction_mean", _of_launch(_idle_in_transaction)),
        _count("connections_used_mean", _of_launch(lambda own: own.pool_used_mean)),
        _of_probe("connects_per_s", "/s", lambda times: times.connects_per_s),
        _of_probe("connects_per_checkout", "", lambda times: times.connects_per_checkout),
        _of_probe("loop_lag_max_ms", "ms", lambda times: times.loop_lag_max_ms),
        _of_probe("gc_pause_max_ms", "ms", lambda times: times.gc_pause_max_ms),
        Metric(name="hold_ms", unit="ms", lower_is_better=True, of=_hold_ms),
        Metric(name="max_ms", unit="ms", lower_is_better=True, of=_of_launch(lambda own: float(own.cdf_ms[-1]))),
        Metric(
            name="probe_user_max_ms",
            unit="ms",
            lower_is_better=True,
            of=_of_launch(lambda own: float(own.probe_user_ms[-1]) if len(own.probe_user_ms) else math.nan),
        ),
        Metric(
            name="postgres_cpu_ms_per_request",
            unit="ms",
            lower_is_better=True,
            of=_of_launch(lambda own: 1000 * own.postgres_cpu_s / own.all.answered if own.all.answered else math.nan),
        ),
        Metric(
            name="cpu_ms_per_request",
            unit="ms",
            lower_is_better=True,
            of=_of_launch(lambda own: 1000 * own.target_cpu_s / own.all.answered if own.all.answered else math.nan),
        ),
    )
}


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UsageError: there is none; the nearest name is told.
    """
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name, METRICS, n=1)
    raise UsageError(
        f"There is no metric {name!r}.",
        next_step=f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(METRICS)}.",
    )


def compare_by(
    metric: Metric, launches: Sequence[LaunchFigures], endpoint: str = ALL, prior: Prior | None = None
) -> Comparison:
    """Compare all cells by a metric whose figures are positive, on the scale of their logarithms.

    A cell is left out if any of its launches has none or an infinite one: of what failed in some launches no ratio
    tells the truth. `prior` is the noise that calibration found.
    """
    logs: dict[str, dict[int, float]] = {}
    for launch in launches:
        value = metric.of(launch, endpoint)
        logs.setdefault(launch.cell_id, {})[launch.block] = math.log(value) if 0 < value < math.inf else math.nan
    whole = {cell: by_block for cell, by_block in logs.items() if all(map(math.isfinite, by_block.values()))}
    return compare(whole, prior, *_instrument(metric, launches, endpoint, whole))


def raised_by(metric: Metric, launch: LaunchFigures, endpoint: str = ALL) -> tuple[float, float]:
    """By how much, as a log, the instrument can have raised a launch's figure: by itself, and beyond that by the leg.

    Infinite where it can have been all of the figure; nothing where the figure is exact, unknown or infinite.
    """
    value = metric.of(launch, endpoint)
    least = math.nan if metric.least is None else metric.least(launch, endpoint)
    if not (0 < value < math.inf and least >= 0):
        return 0.0, 0.0
    log = math.log(value)
    without = min(log, _log(least + (0.0 if metric.leg is None else metric.leg(launch))))
    return log - without, without - _log(least) if math.isfinite(without) else 0.0


def _instrument(
    metric: Metric, launches: Sequence[LaunchFigures], endpoint: str, cells: Collection[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """What `raised_by` says of the cells, each the mean over its launches of which anything is known."""
    raised: dict[str, list[tuple[float, float]]] = {}
    for launch in launches:
        if launch.cell_id in cells and metric.least is not None and metric.least(launch, endpoint) >= 0:
            raised.setdefault(launch.cell_id, []).append(raised_by(metric, launch, endpoint))
    means = {cell: [sum(parts) / len(own) for parts in zip(*own, strict=True)] for cell, own in raised.items()}
    return {cell: own for cell, (own, _) in means.items()}, {cell: leg for cell, (_, leg) in means.items()}


def _log(value: float) -> float:
    return math.log(value) if value else -math.inf
