"""One cell over all its launches that count.

Percentiles are of the requests offered in the measure phase, each from its intended time, every failure infinitely
slow; see `estimate` for the quantile and for what several launches say together. Rates and counts add the launches up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from harness.analyse.estimate import over_launches
from harness.analyse.launches import ALL, SHARES, EndpointFigures, Excluded, LaunchFigures
from harness.analyse.queueing import QueueVerdict, judge_queue
from harness.domain.experiment import Cell, Slo
from harness.domain.verdict import CellSummary, EndpointSummary, Estimate

NOT_MEASURED = "not measured"


def summarise_cell(
    cell: Cell, launches: Sequence[LaunchFigures], excluded: Sequence[Excluded], slo: Slo
) -> CellSummary:
    """A cell's figures; its rank and its ratio to the best are for `ranking` to fill in."""
    everything = _endpoint(cell.id, ALL, launches)
    names = sorted({name for launch in launches for name in launch.by_endpoint} - {ALL})
    used = [launch.connections for launch in launches]
    queue = judge_queue([launch.queue for launch in launches if launch.queue is not None])
    return CellSummary(
        cell=cell,
        rank=0,
        tied=False,
        all=everything,
        endpoints=tuple(_endpoint(cell.id, name, launches) for name in names),
        versus_best=None,
        connections_peak=max((readings.peak for readings in used), default=0),
        connections_active_mean=_mean([readings.active_mean for readings in used]),
        cpu_ms_per_request=_cpu_ms_per_request(launches),
        slo_met=_slo_met(everything, slo) if launches and slo.is_given else None,
        saturated=queue.saturated,
        near_its_limit=queue.near_its_limit,
        from_empty=queue.from_empty,
        utilisation=queue.utilisation,
        empty_tasks=sum(launch.empty for launch in launches),
        own_mean_ms=_mean([launch.own_mean_ms for launch in launches]),
        turns=sum(len(launch.trial.ledger.turns) for launch in launches),
        valid=bool(launches),
        invalid_launches=len(excluded),
        findings=_findings(launches, excluded, queue),
    )


def _endpoint(cell_id: str, endpoint: str, launches: Sequence[LaunchFigures]) -> EndpointSummary:
    figures = [launch.by_endpoint[endpoint] for launch in launches if endpoint in launch.by_endpoint]
    p50, p90, p95, p99 = (over_launches(own.quantiles_ms[place] for own in figures) for place in range(len(SHARES)))
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
        p95_bound_low_ms=over_launches(
            launch.least_ms[SHARES.index(0.95)] for launch in launches if endpoint == ALL
        ).value,
        served_p99_ms=over_launches(own.served_p99_ms for own in figures).value,
        error_rate=_ratio(requests - sum(own.ok for own in figures), requests),
        dropped=sum(own.dropped for own in figures),
        pool_ms_p95=_mean([own.pool_p95_ms for own in figures]),
        pool_share=_share([own.pool_sum_ms for own in figures], figures),
        db_share=_share([own.db_sum_ms for own in figures], figures),
    )


def _share(sums_ms: Sequence[float], figures: Sequence[EndpointFigures]) -> float:
    return _ratio(sum(sums_ms), sum(own.latency_sum_ms for own in figures))


def _cpu_ms_per_request(launches: Sequence[LaunchFigures]) -> float:
    pairs = [(launch.target_cpu_s, launch.all.answered) for launch in launches]
    seen = [(cpu_s, answered) for cpu_s, answered in pairs if not math.isnan(cpu_s)]
    return _ratio(1000 * sum(cpu_s for cpu_s, _ in seen), sum(answered for _, answered in seen))


def _slo_met(everything: EndpointSummary, slo: Slo) -> bool:
    promises = ((everything.p50_ms, slo.p50_ms), (everything.p95_ms, slo.p95_ms), (everything.p99_ms, slo.p99_ms))
    allowed = 1.0 if slo.error_rate is None else slo.error_rate
    return everything.error_rate <= allowed and all(_keeps(figure, limit) for figure, limit in promises)


def _keeps(figure: Estimate, limit_ms: float | None) -> bool:
    # exp(log(x)) may come out one rounding error above x
    return limit_ms is None or figure.value <= limit_ms * (1 + 1e-9)


def _findings(launches: Sequence[LaunchFigures], excluded: Sequence[Excluded], queue: QueueVerdict) -> tuple[str, ...]:
    """Codes of what was found, and of why launches do not count, in the order of the certificates."""
    if not launches and not excluded:
        return (NOT_MEASURED,)
    trials = [launch.trial for launch in launches] + [launch.trial for launch in excluded]
    codes = [reason.code for trial in trials for reason in trial.certificate.reasons]
    marks = [name for name in ("saturated", "near_its_limit", "from_empty") if getattr(queue, name)]
    return tuple(dict.fromkeys(marks + codes + [code for launch in excluded for code in launch.codes]))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mean(values: Sequence[float]) -> float:
    seen = [value for value in values if not math.isnan(value)]
    return fmean(seen) if seen else math.nan
