"""The figures of one launch: the step between its rows and what several launches say together.

Launches are taken one after the other, and of each its figures stay, with twelve bytes for each of its arrivals (when
it was due, and its latency): a run may be larger than memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analyse.applied import NotApplied, beyond_ceiling, has_no_engine, not_applied
from harness.analyse.arrays import NEVER, Floats, Times, Where
from harness.analyse.certificate import certificate_of
from harness.analyse.cliffs import OneProcess, process_of
from harness.analyse.estimate import quantile, quantile_of, quantiles
from harness.analyse.exact_counts import exact_of, taken_of
from harness.analyse.failures import failures_of, logged_around
from harness.analyse.holds import measured_holds, of_segments
from harness.analyse.lateness import without_generator_ms
from harness.analyse.leak import Losses, leak_of, losses_of
from harness.analyse.leg import Leg, leg_of
from harness.analyse.measured import (
    ALL,
    MEASURED_COLUMNS,
    OWNER_COLUMNS,
    Arrivals,
    Requests,
    arrivals_of,
    endpoint_owners,
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
from harness.domain.evidence import OUTCOMES, Certificate, Evidence, Run, Trial
from harness.domain.experiment import Slo
from harness.domain.gate import Taken

SHARES = (0.50, 0.90, 0.95, 0.99)
CDF_SHARES: Floats = np.concatenate([np.arange(0.0, 0.9, 0.01), np.arange(0.9, 0.99, 0.002), np.linspace(0.99, 1, 65)])
"""200 points, denser where latencies part."""
BINS_MIN = 8
"""A measurement shorter than this many seconds is shown in quarters of a second."""
LAUNCHES_AT_ONCE = 2
ENOUGH_FOR_THREADS = 100_000
"""arrivals; with fewer, threads wait for each other more than they save"""
_DROPPED = OUTCOMES.index("dropped")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A launch that feeds no figure."""

    trial: Trial
    certificate: Certificate
    codes: tuple[str, ...]
    """why: the codes of what failed in its instrument, or "nothing_sent" """
    not_applied: tuple[NotApplied, ...]
    failures: Counter[tuple[str, str, int, str]]
    logged: Counter[str]
    """both as of LaunchFigures"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """The measuring launches of a run, those that count and those that do not."""

    counted: tuple[LaunchFigures, ...]
    excluded: tuple[Excluded, ...]
    replaced: tuple[Excluded, ...]
    """those whose sitting was measured again; fresh launches stand in their place"""

    @property
    def certificates(self) -> dict[str, Certificate]:
        """By trial id."""
        counted = {launch.trial.id: launch.certificate for launch in self.counted}
        return counted | {launch.trial.id: launch.certificate for launch in (*self.excluded, *self.replaced)}

    def of(self, cell_id: str) -> list[LaunchFigures]:
        """The cell's launches that count."""
        return [launch for launch in self.counted if launch.cell_id == cell_id]

    def excluded_of(self, cell_id: str) -> list[Excluded]:
        """The cell's launches that do not count."""
        return [launch for launch in self.excluded if launch.trial.launch.cell.id == cell_id]


def measure_launches(run: Run) -> Launches:
    """Every measuring launch of the run, with its figures where its instrument worked."""
    trials = [evidence for evidence in run.trials if measured_segments(evidence.trial.segments)]
    owners = endpoint_owners(evidence.table("requests", OWNER_COLUMNS) for evidence in trials)
    measure = partial(_measure, owners=owners, slo=run.info.experiment.slo)
    if sum(count.offered for own in trials for count in own.trial.ledger.tasks) < ENOUGH_FOR_THREADS:
        found = list(map(measure, trials))
    else:
        # reading and sorting leave Python's lock alone; few at a time, so that few tables are in memory at once
        with ThreadPoolExecutor(max_workers=LAUNCHES_AT_ONCE) as pool:
            found = list(pool.map(measure, trials))
    fresh = {launch.trial.place for launch in found if launch.trial.launch.again}
    replaced = [own for own in found if own.trial.place in fresh and not own.trial.launch.again]
    standing = [own for own in found if own not in replaced]
    return Launches(
        counted=tuple(launch for launch in standing if isinstance(launch, LaunchFigures)),
        excluded=tuple(launch for launch in standing if isinstance(launch, Excluded)),
        replaced=tuple(_excluded(own, own.certificate.broken) for own in replaced),
    )


def _measure(evidence: Evidence, owners: Mapping[str, str], slo: Slo) -> LaunchFigures | Excluded:
    rows = evidence.table("requests", MEASURED_COLUMNS)
    figures = launch_figures(evidence, rows, owners, slo)
    codes = figures.certificate.broken
    if not codes and not figures.all.requests:
        codes = ("nothing_sent",)
    if not codes:
        return figures
    return _excluded(figures, codes)


def _excluded(own: LaunchFigures | Excluded, codes: tuple[str, ...]) -> Excluded:
    return Excluded(
        trial=own.trial,
        certificate=own.certificate,
        codes=codes,
        not_applied=own.not_applied,
        failures=own.failures,
        logged=own.logged,
    )


def latency_limit_ms(slo: Slo, endpoint: str = ALL) -> float:
    """The latency within which one request is good: what is promised of its endpoint, else of everything; infinite
    without either."""
    given = [limits.latency_ms for limits in (slo.endpoints.get(endpoint, slo), slo)]
    return next((limit for limit in given if limit is not None), np.inf)


def launch_figures(evidence: Evidence, rows: pd.DataFrame, owners: Mapping[str, str], slo: Slo) -> LaunchFigures:
    """The figures of one launch over all arrivals, and over the requests of each endpoint, with its certificate."""
    trial = evidence.trial
    if has_no_engine(trial):  # nobody saw its pool and its statements: their time is not known, rather than none
        rows = rows.assign(pool_ms=np.nan, db_ms=np.nan)
    loaded = windows(loaded_segments(trial.segments), trial.ledger.turns)
    spans = windows(measured_segments(trial.segments), trial.ledger.turns)
    kept = rows_of(rows, loaded, spans)
    requests, arrivals = requests_of(kept, owners), arrivals_of(kept, loaded, spans)
    process, probe, activity = evidence.process, evidence.probe, evidence.activity
    cpu_s = role_cpu_s(process, "target", spans)
    order = np.argsort(requests.endpoint, kind="stable")
    bounds = np.searchsorted(requests.endpoint[order], np.arange(-1, len(requests.endpoints) + 1))
    groups = [order[start:end] for start, end in pairwise(bounds)]  # the first: of no known endpoint
    own_ms, leg = without_generator_ms(requests), leg_of(evidence.null, loaded)
    sorted_ms = [np.sort(requests.latency_ms[group][requests.measured[group]]) for group in groups]
    sorted_own_ms = [np.sort(own_ms[group][requests.measured[group]]) for group in groups]
    if len(arrivals.latency_ms) == len(requests.latency_ms):
        # one request an arrival: sorted runs, which a stable sort merges, cheaper by far than sorting all once more
        ascending = np.sort(np.concatenate(sorted_ms), kind="stable")
        least_ms = _least_ms(np.sort(np.concatenate(sorted_own_ms), kind="stable"), leg)
    else:
        ascending = np.sort(arrivals.latency_ms[arrivals.measured])
        least_ms = least_of_tasks_ms(arrivals, leg)
    good_ms = latency_limit_ms(slo)
    by_endpoint = {ALL: _figures(arrivals, requests, slice(None), ascending, least_ms, spans.seconds, good_ms)}
    for place, name in enumerate(requests.endpoints, start=1):
        if len(sorted_ms[place]):
            least_ms, good_ms = _least_ms(sorted_own_ms[place], leg), latency_limit_ms(slo, name)
            by_endpoint[name] = _figures(
                requests, requests, groups[place], sorted_ms[place], least_ms, spans.seconds, good_ms
            )
    task_ms = arrivals.own_ms[arrivals.measured]
    failures = failures_of(rows, spans)
    connections = connection_readings(activity, spans)
    wrong = (*not_applied(trial), *beyond_ceiling(trial, most_open(probe), connections))
    times, used_mean = probe_times(probe, spans), pool_used_mean(probe, spans)
    beside = neighbours(process, evidence.server, spans)
    logged = logged_around(rows, spans, evidence.target_log, evidence.log) if failures else Counter()
    counts, counted = evidence.counts, measured_segments(trial.segments)
    exact = exact_of(counts, counted)
    losses = losses_of(evidence.unreturned, probe, trial.ledger.turns)
    return LaunchFigures(
        trial=trial,
        certificate=certificate_of(
            evidence,
            rows,
            arrivals,
            probe,
            slo,
            wrong_settings=wrong,
            beside=beside,
            leak=None if losses is None else leak_of([losses]),
        ),
        seconds=spans.seconds,
        by_endpoint=by_endpoint,
        cdf_ms=quantiles(ascending, CDF_SHARES),
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
        unaccounted=0 if trial.launch.cell.target.is_reference else unaccounted(probe, activity),
        own_mean_ms=float(np.nanmean(task_ms)) if np.isfinite(task_ms).any() else math.nan,
        queue=_queue(requests, len(arrivals.outcome), trial, loaded, _cpu(cpu_s, arrivals, trial, spans)),
        connections=connections,
        pool_used_mean=used_mean,
        probe_times=times,
        target_cpu_s=cpu_s,
        postgres_cpu_s=role_cpu_s(process, "postgres", spans),
        not_applied=wrong,
        waits=waits_of(
            trial,
            requests,
            kept.table,
            Readings(
                activity=activity,
                probe=probe,
                lines=probe[spans.contain(probe["t_ns"].to_numpy())],
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
        ),
        holds=measured_holds(evidence.holds, measured_segments(trial.segments)),
        sites=of_segments(evidence.sites, measured_segments(trial.segments)),
        losses=losses,
        process=process_of(trial, int(probe["connection_count_used"].max()) if len(probe) else 0),
        probe_user_ms=probe_user_ms(evidence.probe_user, spans),
    )


def _least_ms(ascending: Floats, leg: Leg) -> tuple[float, ...]:
    """At SHARES of requests whose latencies without what the generator added are `ascending`: less the leg as well."""
    return tuple(max(0.0, quantile(ascending, share) - leg.at_most_ms(share)) for share in SHARES)


def least_of_tasks_ms(arrivals: Arrivals, leg: Leg) -> tuple[float, ...]:
    """At SHARES of arrivals: what is left of their latencies' quantiles without all that the instrument can have added.

    Each of the requests that an arrival sends has the leg once more.
    """
    own_ms, calls = without_generator_ms(arrivals)[arrivals.measured], arrivals.calls[arrivals.measured]
    return tuple(max(0.0, quantile_of(own_ms - calls * leg.at_most_ms(share), share)) for share in SHARES)


def _over_time(arrivals: Arrivals, trial: Trial) -> OverTime:
    planned_s = sum(segment.duration_s for segment in measured_segments(trial.segments))
    bin_s = 1.0 if planned_s >= BINS_MIN else 0.25
    begun_s = min((segment.start_s for segment in measured_segments(trial.segments)), default=0.0)
    number = ((arrivals.load_s[arrivals.measured] - begun_s) / bin_s).astype(np.int32)
    order = np.argsort(number, kind="stable")
    return OverTime(bin_s=bin_s, number=number[order], latency_ms=arrivals.latency_ms[arrivals.measured][order])


def _figures(  # noqa: PLR0917 -- one call for arrivals and one for requests, both right above
    of: Arrivals | Requests,
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
    gone_ns[outcome == OUTCOMES.index("unfinished")] = NEVER
    patience_ns = GAVE_UP_SHARE * cell.pool.pool_timeout_s * 1e9
    failed_fast = (outcome == OUTCOMES.index("error")) & (gone_ns - due_ns < patience_ns)
    sent, sending = int(np.count_nonzero(~dropped)), arrivals - int(np.count_nonzero(dropped))
    planned = sum(segment.duration_s * (segment.rate_rps or 0.0) for segment in segments)
    return queue_of(
        due_ns=due_ns,
        gone_ns=gone_ns,
        served=(outcome == OUTCOMES.index("ok")) | failed_fast,
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


def median_launch(of_cell: Sequence[LaunchFigures]) -> LaunchFigures:
    """The launch in the middle by p95: the one to show when only one can be."""
    return sorted(of_cell, key=lambda launch: (launch.p95_ms, launch.block))[(len(of_cell) - 1) // 2]
