"""One cell over all its launches that count.

Percentiles are of what was offered in the measure phase, each from its intended time, every failure infinitely slow;
see `estimate` for the quantile and for what several launches say together, `compare` for the intervals, which hold for
all cells at once. Rates and counts add the launches up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from harness.analyse.applied import CEILING, CONNECTIONS, Values, read_back
from harness.analyse.binding import binding_of
from harness.analyse.cliffs import foresee
from harness.analyse.compare import Comparison
from harness.analyse.endpoint_figures import SHARES, EndpointFigures
from harness.analyse.estimate import over_launches
from harness.analyse.failures import most_frequent, most_logged
from harness.analyse.findings import BREAKDOWNS, FAILING_SHARE
from harness.analyse.holds import holds_of, sites_of
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import Excluded
from harness.analyse.leak import leak_of
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS, compare_by
from harness.analyse.promise import all_of, error_rate_promise, latency_promise
from harness.analyse.queueing import SHORTFALL_MAX, QueueVerdict, judge_queue
from harness.analyse.spread import Prior
from harness.domain.cell import Cell
from harness.domain.cliffs import Cliff
from harness.domain.evidence import Trial
from harness.domain.experiment import Limits, Slo
from harness.domain.holds import EndpointHolds
from harness.domain.verdict import Bounds, CellSummary, EndpointSummary, Promise

NOT_MEASURED = "not measured"
P50, P90, P95, P99 = SHARES


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Every percentile of every endpoint, compared over all cells: what intervals and verdicts are made from."""

    by_figure: Mapping[tuple[str, float], Comparison]

    def of(self, endpoint: str, share: float) -> Comparison:
        return self.by_figure[endpoint, share]

    def without_instrument(self) -> Percentiles:
        """What the launches alone say."""
        return Percentiles(by_figure={key: own.without_instrument() for key, own in self.by_figure.items()})

    def bounds(self, cell_id: str, endpoint: str, share: float, launches: Sequence[EndpointFigures]) -> Bounds:
        """The geometric mean over launches; where more than the percentile leaves failed in one, it is infinite."""
        comparison = self.by_figure.get((endpoint, share))
        if comparison is not None and cell_id in comparison.cells:
            return comparison.own(cell_id)
        value = over_launches(own.quantiles_ms[SHARES.index(share)] for own in launches)
        return Bounds(value=value, low=None, high=None)


def compare_percentiles(launches: Sequence[LaunchFigures], prior: Callable[[float], Prior | None]) -> Percentiles:
    """Compare the cells by each percentile of each endpoint.

    `prior` gives the noise that calibration found of a percentile, by its share.
    """
    names = dict.fromkeys([ALL, *(name for launch in launches for name in launch.by_endpoint)])
    return Percentiles(
        by_figure={
            (name, share): compare_by(METRICS[f"p{100 * share:g}_ms"], launches, name, prior(share))
            for name in names
            for share in SHARES
        }
    )


def summarise_cell(
    cell: Cell, launches: Sequence[LaunchFigures], excluded: Sequence[Excluded], slo: Slo, percentiles: Percentiles
) -> CellSummary:
    """A cell's figures; its rank, its ties and its ratio to the best are for `ranking` to fill in."""
    queue = judge_queue([launch.queue for launch in launches if launch.queue is not None])
    names = sorted({name for launch in launches for name in launch.by_endpoint} - {ALL})
    kept = _kept(cell.id, launches, slo, percentiles, queue)
    by_launches = _kept(cell.id, launches, slo, percentiles.without_instrument(), queue)
    promised = _all_kept(kept, queue)
    everything, *endpoints = (_endpoint(cell.id, name, launches, percentiles, kept.get(name)) for name in (ALL, *names))
    used = [launch.connections for launch in launches]
    allowed = FAILING_SHARE if slo.error_rate is None else slo.error_rate
    settings = [*(own.not_applied for own in launches), *(own.not_applied for own in excluded)]
    wrong = {own.key: own.found for found in settings for own in found}
    # without these nobody knows how many connections the cell's pools may hold
    known = cell.decides_pool and not wrong.keys() & {*CEILING, CONNECTIONS}
    ceiling = cell.connection_ceiling if known else None
    return CellSummary(
        cell=cell,
        rank=0,
        ties=(),
        all=everything,
        endpoints=tuple(endpoints),
        versus_best=None,
        connections_peak=max((readings.peak for readings in used), default=0),
        connections_active_mean=_mean([readings.active_mean for readings in used]),
        pool_used_share=_ratio(_mean([launch.pool_used_mean for launch in launches]), ceiling or 0),
        cpu_ms_per_request=_cpu_ms_per_request(launches),
        binding=binding_of(
            [launch.waits for launch in launches],
            short=queue.saturated and everything.carried_rps < (1 - SHORTFALL_MAX) * (cell.rate_rps or math.inf),
            closed=cell.load.model == "closed",
            excluded=[code for launch in excluded for code in launch.codes],
        ),
        slo=promised,
        slo_instrument=promised == "unclear" != _all_kept(by_launches, queue),
        failing=everything.error_rate > allowed or math.isinf(everything.p95_ms.value),
        broke_down=any(reason.code in BREAKDOWNS for own in launches for reason in own.certificate.reasons),
        saturated=queue.saturated,
        near_its_limit=queue.near_its_limit,
        from_empty=queue.from_empty,
        utilisation=queue.utilisation,
        empty_tasks=sum(launch.empty for launch in launches),
        own_mean_ms=_mean([launch.own_mean_ms for launch in launches]),
        late_p99_ms=max((launch.late_p99_ms for launch in launches), default=math.nan),
        leg_p95_ms=float(np.max([launch.leg_p95_ms for launch in launches], initial=-math.inf))
        if launches
        else math.nan,
        turns=sum(len(launch.trial.ledger.turns) for launch in launches),
        valid=bool(launches),
        invalid_launches=len(excluded),
        findings=_findings(launches, excluded, queue),
        applied=_applied([*(own.trial for own in launches), *(own.trial for own in excluded)]),
        not_applied=wrong,
        failures=most_frequent([launch.failures for launch in launches or excluded]),
        logged=most_logged([launch.logged for launch in launches or excluded]),
        versions=tuple(dict.fromkeys(version for own in launches if (version := own.trial.context.version))),
        holds=(holds := holds_of([launch.holds for launch in launches], sum(launch.seconds for launch in launches))),
        hold_sites=sites_of([launch.sites for launch in launches]),
        cliffs=_cliffs(launches, holds),
        in_flight_peak=max((turn.in_flight_peak for own in launches for turn in own.trial.ledger.turns), default=0),
        leak=leak_of([launch.losses for launch in launches if launch.losses is not None]),
    )


def _cliffs(launches: Sequence[LaunchFigures], holds: Sequence[EndpointHolds]) -> tuple[Cliff, ...]:
    """What is foreseen of a process as the launches had it; nothing where it is not known of each, or they differ."""
    processes = [launch.process for launch in launches]
    known = [own for own in processes if own is not None]
    if not known or len(known) < len(processes) or len({(own.pool, own.threads) for own in known}) > 1:
        return ()
    return foresee(max(known, key=lambda own: own.used), holds)


def _endpoint(
    cell_id: str,
    endpoint: str,
    launches: Sequence[LaunchFigures],
    percentiles: Percentiles,
    kept: Promise | None,
) -> EndpointSummary:
    figures = [launch.by_endpoint[endpoint] for launch in launches if endpoint in launch.by_endpoint]
    p50, p90, p95, p99 = (percentiles.bounds(cell_id, endpoint, share, figures) for share in SHARES)
    seconds = sum(launch.seconds for launch in launches)
    requests = sum(own.requests for own in figures)
    return EndpointSummary(
        cell_id=cell_id,
        endpoint=endpoint,
        launches=len(figures),
        requests=requests,
        achieved_rps=_ratio(sum(own.answered for own in figures), seconds),
        carried_rps=_ratio(sum(own.carried for own in figures), seconds),
        goodput_rps=_ratio(sum(own.good for own in figures), seconds),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        p95_bound_low_ms=over_launches(own.least_ms[SHARES.index(P95)] for own in figures),
        served_p99_ms=over_launches(own.served_p99_ms for own in figures),
        error_rate=_ratio(requests - sum(own.ok for own in figures), requests),
        dropped=sum(own.dropped for own in figures),
        pool_ms_p95=_mean([own.pool_p95_ms for own in figures]),
        pool_share=_share([own.pool_sum_ms for own in figures], figures),
        db_share=_share([own.db_sum_ms for own in figures], figures),
        slo=kept,
    )


def _share(sums_ms: Sequence[float], figures: Sequence[EndpointFigures]) -> float:
    return _ratio(sum(sums_ms), sum(own.latency_sum_ms for own in figures))


def _cpu_ms_per_request(launches: Sequence[LaunchFigures]) -> float:
    pairs = [(launch.target_cpu_s, launch.all.answered) for launch in launches]
    seen = [(cpu_s, answered) for cpu_s, answered in pairs if not math.isnan(cpu_s)]
    return _ratio(1000 * sum(cpu_s for cpu_s, _ in seen), sum(answered for _, answered in seen))


def _kept(
    cell_id: str, launches: Sequence[LaunchFigures], slo: Slo, percentiles: Percentiles, queue: QueueVerdict
) -> Mapping[str, Promise]:
    """What became of each promise, by endpoint, by one-sided 95 % bounds; nothing where no launch counts.

    What was measured of a queue that grows, or had not settled, is less than what follows. One that grows breaks what
    is promised of everything; which of the endpoints wait in it is not known.
    """
    found: dict[str, Promise] = {}
    for name, limits in slo.promised.items() if launches else ():
        kept = _measured_promise(cell_id, name, launches, limits, percentiles)
        if queue.saturated and name == ALL:
            kept = "not_met"
        found[name] = "unclear" if kept == "met" and (queue.saturated or queue.from_empty) else kept
    return found


def _measured_promise(
    cell_id: str, endpoint: str, launches: Sequence[LaunchFigures], limits: Limits, percentiles: Percentiles
) -> Promise:
    """Whether what is promised of an endpoint is kept; unclear where no launch sent it, as its name may be mistaken."""
    figures = [launch.by_endpoint[endpoint] for launch in launches if endpoint in launch.by_endpoint]
    if not figures:
        return "unclear"
    latencies = [
        latency_promise(
            percentiles.of(endpoint, share),
            cell_id,
            limit_ms,
            failing=any(math.isinf(own.quantiles_ms[SHARES.index(share)]) for own in figures),
        )
        for share, limit_ms in ((P50, limits.p50_ms), (P95, limits.p95_ms), (P99, limits.p99_ms))
    ]
    failed = [(own.requests - own.ok, own.requests) for own in figures]
    return all_of([*latencies, error_rate_promise(failed, limits.error_rate)]) or "unclear"


def _all_kept(kept: Mapping[str, Promise], queue: QueueVerdict) -> Promise | None:
    """What all promises come to; None where there is none, or nothing is known."""
    return "not_met" if kept and queue.saturated else all_of(kept.values())


def _findings(launches: Sequence[LaunchFigures], excluded: Sequence[Excluded], queue: QueueVerdict) -> tuple[str, ...]:
    """Codes of what was found, and of why launches do not count, in the order of the certificates."""
    if not launches and not excluded:
        return (NOT_MEASURED,)
    certificates = [launch.certificate for launch in launches] + [launch.certificate for launch in excluded]
    codes = [reason.code for certificate in certificates for reason in certificate.reasons]
    marks = [name for name in ("saturated", "near_its_limit", "from_empty") if getattr(queue, name)]
    return tuple(dict.fromkeys(marks + codes + [code for launch in excluded for code in launch.codes]))


def _applied(trials: Sequence[Trial]) -> Mapping[str, Values]:
    """What the services of all launches had of each setting; nothing where it was not seen."""
    found = list(map(read_back, trials))
    keys = dict.fromkeys(key for own in found for key in own)
    return {key: tuple(dict.fromkeys(value for own in found for value in own[key])) for key in keys}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mean(values: Sequence[float]) -> float:
    seen = [value for value in values if not math.isnan(value)]
    return fmean(seen) if seen else math.nan
