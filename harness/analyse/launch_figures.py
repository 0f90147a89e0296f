"""The figures of one launch: the step between its rows and what several launches say together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analyse.applied import NotApplied, beyond_ceiling, has_no_engine, not_applied
from harness.analyse.arrays import NEVER, Floats, Times, Where
from harness.analyse.certificate import certificate_of
from harness.analyse.cliffs import OneProcess, process_of
from harness.analyse.endpoint_figures import SHARES, EndpointFigures, endpoint_figures
from harness.analyse.estimate import quantile, quantile_of, quantiles
from harness.analyse.exact_counts import exact_of, taken_of
from harness.analyse.failures import failures_of, logged_around
from harness.analyse.holds import measured_holds, of_segments
from harness.analyse.leak import Losses, leak_of, losses_of
from harness.analyse.leg import leg_of
from harness.analyse.measured import (
    ALL,
    OUTCOME_PLACES,
    Arrivals,
    Requests,
    arrivals_of,
    probe_user_ms,
    requests_of,
    rows_of,
)
from harness.analyse.queueing import GAVE_UP_SHARE, Cpu, Queue, queue_of
from harness.analyse.resources import (
    ConnectionReadings,
    ProbeTimes,
    connection_readings,
    cores_of,
    most_open,
    neighbours,
    pool_used_mean,
    probe_times,
    role_cpu_s,
    unaccounted,
)
from harness.analyse.waits import Readings, Waits, waits_of
from harness.analyse.windows import Windows, loaded_segments, measured_segments, windows
from harness.domain.certificate import Certificate
from harness.domain.evidence import Evidence, Trial
from harness.domain.experiment import Slo
from harness.domain.gate import Taken
from harness.domain.tables import OUTCOMES

CDF_SHARES: Floats = np.concatenate([np.arange(0.0, 0.9, 0.01), np.arange(0.9, 0.99, 0.002), np.linspace(0.99, 1, 65)])
"""200 points, denser where latencies part."""
BINS_MIN = 8
"""A measurement shorter than this many seconds is shown in quarters of a second."""
_DROPPED = OUTCOME_PLACES["dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverTime:
    """Latencies in the order of the bin of measured time, `bin_s` wide, in which each request was intended."""

    bin_s: float
    number: NDArray[np.int32]
    latency_ms: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFigures:
    """A launch that counts: its measured time, its figures by endpoint, and what the report's figures show of it."""

    trial: Trial
    certificate: Certificate
    seconds: float
    by_endpoint: dict[str, EndpointFigures]
    cdf_ms: Floats
    """latency at CDF_SHARES, of all that was offered"""
    over_time: OverTime
    outcomes: Times
    """how many arrivals had each of OUTCOMES"""
    late_p99_ms: float
    """how late one arrival in a hundred was handed over, or later"""
    leg_ms: tuple[float, ...]
    """at SHARES: what the way to a service and back adds at most to such a quantile of single requests"""
    leg_p95_ms: float
    """what the way to a service and back took of 95 in a hundred null requests, at most; NaN where there were none"""
    exact: Mapping[str, Mapping[str, float]]
    """what an average request took of the database, by endpoint and metric; empty where the probe counted none"""
    taken: Mapping[str, Mapping[str, Taken]]
    """how many requests took how many, likewise"""
    failures: Counter[tuple[str, str, int, str]]
    """of requests, by endpoint, outcome, status and message"""
    logged: Counter[str]
    """what the service wrote around them"""
    empty: int
    """arrivals beside these whose task sent nothing"""
    own_mean_ms: float
    """of an arrival's latency, what its task took for pauses and computing of its own; NaN without an answer"""
    unaccounted: int
    """connections of an own app that none of its engines held, at most readings"""
    queue: Queue | None
    """None in the closed model, whose users wait for each other's answers"""
    connections: ConnectionReadings
    pool_used_mean: float
    """connections out on average; NaN without the probe"""
    probe_times: ProbeTimes | None
    """None without the probe"""
    target_cpu_s: float
    """NaN where the target's processes were not seen"""
    postgres_cpu_s: float
    """of the whole server; NaN likewise"""
    not_applied: tuple[NotApplied, ...]
    """settings of the cell that its service does not have"""
    waits: Waits
    """what its slow requests waited for"""
    holds: pd.DataFrame
    """how its requests held connections, HOLD_COLUMNS by endpoint"""
    sites: pd.DataFrame
    """which lines of the service took them, SITE_COLUMNS"""
    losses: Losses | None
    """connections that did not come back; None without the probe"""
    process: OneProcess | None
    """what each of its service's processes has for requests; None where they did not say, or differ"""
    probe_user_ms: Floats
    """latencies of the probe user's requests, ascending, failures infinite; in no other figure"""

    @property
    def block(self) -> int:
        return self.trial.launch.block

    @property
    def cell_id(self) -> str:
        return self.trial.launch.cell.id

    @property
    def all(self) -> EndpointFigures:
        return self.by_endpoint[ALL]

    @property
    def p95_ms(self) -> float:
        return self.all.quantiles_ms[SHARES.index(0.95)]


def launch_figures(evidence: Evidence, rows: pd.DataFrame, owners: Mapping[str, str], slo: Slo) -> LaunchFigures:
    """The figures of one launch over all arrivals, and over the requests of each endpoint, with its certificate."""
    trial, process, probe, activity = evidence.trial, evidence.process, evidence.probe, evidence.activity
    counted = measured_segments(trial.segments)
    loaded, spans = windows(loaded_segments(trial.segments), trial.ledger.turns), windows(counted, trial.ledger.turns)

    # what its clients saw
    if has_no_engine(trial):  # nobody saw its pool and its statements: their time is not known, rather than none
        rows = rows.assign(pool_ms=np.nan, db_ms=np.nan)
    kept = rows_of(rows, loaded, spans)
    requests, arrivals = requests_of(kept, owners), arrivals_of(kept, loaded, spans)
    leg = leg_of(evidence.null, loaded)
    by_endpoint, ascending_ms = endpoint_figures(requests, arrivals, leg, spans.seconds, slo)
    task_ms = arrivals.own_ms[arrivals.measured]
    failures = failures_of(rows, spans)

    # what was read of the service, and of what ran beside it
    connections, used_mean = connection_readings(activity, spans), pool_used_mean(probe, spans)
    times, cpu_s = probe_times(probe, spans), role_cpu_s(process, "target", spans)
    beside = neighbours(process, evidence.server, spans)
    logged = logged_around(rows, spans, evidence.target_log, evidence.log) if failures else Counter()
    counts = evidence.counts
    exact = exact_of(counts, counted)
    losses = losses_of(evidence.unreturned, probe, trial.ledger.turns)
    wrong = (*not_applied(trial), *beyond_ceiling(trial, most_open(probe), connections))

    # what it comes to
    certificate = certificate_of(
        evidence,
        rows,
        arrivals,
        probe,
        slo,
        wrong_settings=wrong,
        beside=beside,
        leak=None if losses is None else leak_of([losses]),
    )
    waits = waits_of(
        trial,
        requests,
        kept.table,
        Readings(
            activity=activity,
            probe=probe,
            beside=beside,
            spans=spans,
            times=times,
            cores=cores_of(process, "target", loaded),
            connections_out=used_mean,
        ),
        mean_ms=by_endpoint[ALL].mean_parts_ms,
        way_ms=quantile(leg.ascending_ms, 0.5) if leg.known else 0.0,
        round_trips=exact.get(ALL, {}).get("round_trips_per_request", math.nan),
        logged=logged,
    )
    return LaunchFigures(
        trial=trial,
        certificate=certificate,
        seconds=spans.seconds,
        by_endpoint=by_endpoint,
        cdf_ms=quantiles(ascending_ms, CDF_SHARES),
        over_time=_over_time(arrivals, trial),
        outcomes=np.bincount(arrivals.outcome[arrivals.measured], minlength=len(OUTCOMES)).astype(np.int64),
        late_p99_ms=quantile_of(arrivals.late_ns[arrivals.measured] / 1e6, 0.99),
        leg_ms=tuple(map(leg.at_most_ms, SHARES)),
        leg_p95_ms=leg.at_most_ms(0.95) if leg.known else math.nan,
        exact=exact,
        taken=taken_of(counts, counted),
        failures=failures,
        logged=logged,
        empty=arrivals.empty,
        own_mean_ms=float(np.nanmean(task_ms)) if np.isfinite(task_ms).any() else math.nan,
        unaccounted=0 if trial.launch.cell.target.is_reference else unaccounted(probe, activity),
        queue=_queue(requests, len(arrivals.outcome), trial, loaded, _cpu(cpu_s, arrivals, trial, spans)),
        connections=connections,
        pool_used_mean=used_mean,
        probe_times=times,
        target_cpu_s=cpu_s,
        postgres_cpu_s=role_cpu_s(process, "postgres", spans),
        not_applied=wrong,
        waits=waits,
        holds=measured_holds(evidence.holds, counted),
        sites=of_segments(evidence.sites, counted),
        losses=losses,
        process=process_of(trial, int(probe["connection_count_used"].max()) if len(probe) else 0),
        probe_user_ms=probe_user_ms(evidence.probe_user, spans),
    )


def _over_time(arrivals: Arrivals, trial: Trial) -> OverTime:
    planned_s = sum(segment.duration_s for segment in measured_segments(trial.segments))
    bin_s = 1.0 if planned_s >= BINS_MIN else 0.25
    begun_s = min((segment.start_s for segment in measured_segments(trial.segments)), default=0.0)
    number = ((arrivals.load_s[arrivals.measured] - begun_s) / bin_s).astype(np.int32)
    order = np.argsort(number, kind="stable")
    return OverTime(bin_s=bin_s, number=number[order], latency_ms=arrivals.latency_ms[arrivals.measured][order])


def _queue(requests: Requests, arrivals: int, trial: Trial, loaded: Windows, cpu: Cpu | None) -> Queue | None:
    """How the launch's requests queued; what gave up while it waited was there, but was never served.

    It is requests that need a connection: between two of them a task holds none.
    """
    cell, segments = trial.launch.cell, loaded_segments(trial.segments)
    if cell.load.model == "closed":
        return None
    dropped = requests.outcome == _DROPPED
    there: Where = slice(None)
    if not (requests.at_service | dropped).all():
        there = requests.at_service | dropped
    due_ns, outcome, dropped = requests.due_ns[there], requests.outcome[there], dropped[there]
    gone_ns = np.where(dropped, due_ns, requests.finished_ns[there])
    gone_ns[outcome == OUTCOME_PLACES["unfinished"]] = NEVER
    patience_ns = GAVE_UP_SHARE * cell.pool.pool_timeout_s * 1e9
    failed_fast = (outcome == OUTCOME_PLACES["error"]) & (gone_ns - due_ns < patience_ns)
    sent, sending = int(np.count_nonzero(~dropped)), arrivals - int(np.count_nonzero(dropped))
    planned = sum(segment.duration_s * (segment.rate_rps or 0.0) for segment in segments)
    return queue_of(
        due_ns=due_ns,
        gone_ns=gone_ns,
        served=(outcome == OUTCOME_PLACES["ok"]) | failed_fast,
        connections=cell.served_at_once if cell.target.url is None else None,
        loaded=loaded,
        planned=planned * sent / sending if sending else planned,
        even=cell.load.arrivals == "uniform",
        cpu=cpu,
    )


def _cpu(cpu_s: float, arrivals: Arrivals, trial: Trial, spans: Windows) -> Cpu | None:
    if math.isnan(cpu_s):
        return None
    return Cpu(
        used_s=cpu_s,
        processes=trial.launch.cell.target.workers,
        measured_s=spans.seconds,
        arrivals=int(np.count_nonzero(arrivals.measured)),
    )
