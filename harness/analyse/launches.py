"""The figures of one launch: the step between its rows and what several launches say together.

Launches are taken one after the other, and of each only its figures stay: a run may be larger than memory.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from harness.analyse.arrays import Floats, Times, Where
from harness.analyse.certificate import reread
from harness.analyse.estimate import quantile, quantile_of, quantiles
from harness.analyse.measured import MEASURED_COLUMNS, OWNER_COLUMNS, Measured, endpoint_owners, measured
from harness.analyse.resources import ConnectionReadings, connection_readings, target_cpu_s
from harness.analyse.rounds import LeftOut, Windows, left_out, measured_segments, windows
from harness.domain.evidence import OUTCOMES, Certificate, Evidence, Run, Trial
from harness.domain.experiment import Slo
from harness.domain.ledger import check_ledger

ALL = "*"
SHARES = (0.50, 0.90, 0.95, 0.99)
CDF_SHARES: Floats = np.concatenate([np.arange(0.0, 0.9, 0.01), np.arange(0.9, 0.99, 0.002), np.linspace(0.99, 1, 65)])
"""200 points, denser where latencies part."""
BINS_MIN = 8
"""A measurement shorter than this many seconds is shown in quarters of a second."""
LAUNCHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFigures:
    """One launch and endpoint (ALL = every one)."""

    requests: int
    ok: int
    answered: int
    good: int
    """answered well and within the SLO's latency"""
    dropped: int
    seconds: float
    quantiles_ms: tuple[float, ...]
    """at SHARES, of all that was offered"""
    served_p99_ms: float
    pool_p95_ms: float
    probed: int
    """served requests that the probe saw; the sums are theirs"""
    pool_sum_ms: float
    db_sum_ms: float
    app_sum_ms: float
    latency_sum_ms: float

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
    seconds: float
    by_endpoint: dict[str, EndpointFigures]
    cdf_ms: Floats
    """latency at CDF_SHARES, of all that was offered"""
    over_time: OverTime
    outcomes: Times
    """how many requests had each of OUTCOMES"""
    connections: ConnectionReadings
    target_cpu_s: float
    """NaN where the target's processes were not seen"""

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
    codes: tuple[str, ...]
    """why: the codes of what failed in its instrument, "undrained" or "nothing_offered" """


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """The measuring launches of a run, those that count and those that do not."""

    counted: tuple[LaunchFigures, ...]
    excluded: tuple[Excluded, ...]
    sittings: dict[int, LeftOut]

    @property
    def certificates(self) -> dict[str, Certificate]:
        """By trial id, as they stand after the ledger was compared with the stored rows again."""
        trials = [launch.trial for launch in self.counted] + [launch.trial for launch in self.excluded]
        return {trial.id: trial.certificate for trial in trials}

    def of(self, cell_id: str) -> list[LaunchFigures]:
        """The cell's launches that count."""
        return [launch for launch in self.counted if launch.cell_id == cell_id]

    def excluded_of(self, cell_id: str) -> list[Excluded]:
        """The cell's launches that do not count."""
        return [launch for launch in self.excluded if launch.trial.launch.cell.id == cell_id]

    @property
    def why_excluded(self) -> str:
        """ "lag 3x, sampler_gap 1x" """
        codes = Counter(code for launch in self.excluded for code in launch.codes)
        return ", ".join(f"{code} {count}x" for code, count in codes.most_common())


def measure_launches(run: Run) -> Launches:
    """Every measuring launch of the run, with its figures where its instrument worked."""
    trials = [evidence for evidence in run.trials if measured_segments(evidence.trial.segments)]
    sittings = {
        number: left_out([evidence.trial for evidence in trials if evidence.trial.sitting == number])
        for number in sorted({evidence.trial.sitting for evidence in trials})
    }
    owners = endpoint_owners(evidence.table("requests", OWNER_COLUMNS) for evidence in trials)
    limit_ms = latency_limit_ms(run.info.experiment.slo)
    measure = partial(_measure, sittings=sittings, owners=owners, limit_ms=limit_ms)
    # reading and sorting leave Python's lock alone; few at a time, so that few tables are in memory at once
    with ThreadPoolExecutor(max_workers=LAUNCHES_AT_ONCE) as pool:
        found = list(pool.map(measure, trials))
    return Launches(
        counted=tuple(launch for launch in found if isinstance(launch, LaunchFigures)),
        excluded=tuple(launch for launch in found if isinstance(launch, Excluded)),
        sittings=sittings,
    )


def _measure(
    evidence: Evidence, sittings: Mapping[int, LeftOut], owners: Mapping[str, str], limit_ms: float
) -> LaunchFigures | Excluded:
    rows = evidence.table("requests", MEASURED_COLUMNS)
    trial = evidence.trial
    trial = replace(trial, certificate=reread(trial.certificate, check_ledger(trial.ledger, rows)))
    without = sittings[trial.sitting]
    spans = windows(measured_segments(trial.segments), trial.ledger, without.rounds)
    requests = measured(rows, spans, owners)
    codes = _why_not(trial, without, requests)
    return Excluded(trial=trial, codes=codes) if codes else launch_figures(trial, evidence, spans, requests, limit_ms)


def _why_not(trial: Trial, without: LeftOut, requests: Measured) -> tuple[str, ...]:
    """Codes of what keeps a launch from counting; none when it counts."""
    codes = tuple(reason.code for reason in trial.certificate.reasons if reason.kind == "instrument")
    if without.too_many:
        codes += ("undrained",)
    elif len(requests.latency_ms) == 0:
        codes += ("nothing_offered",)
    return tuple(dict.fromkeys(codes))


def latency_limit_ms(slo: Slo) -> float:
    """The latency within which one request is good: that of the highest percentile promised, infinite without one."""
    given = [limit for limit in (slo.p99_ms, slo.p95_ms, slo.p50_ms) if limit is not None]
    return given[0] if given else np.inf


def launch_figures(
    trial: Trial, evidence: Evidence, spans: Windows, requests: Measured, limit_ms: float
) -> LaunchFigures:
    """The figures of one launch over all and by endpoint."""
    order = np.argsort(requests.endpoint, kind="stable")
    bounds = np.searchsorted(requests.endpoint[order], np.arange(-1, len(requests.endpoints) + 1))
    groups = [order[start:end] for start, end in itertools.pairwise(bounds)]  # the first: of no known endpoint
    sorted_ms = [np.sort(requests.latency_ms[group]) for group in groups]
    # sorted runs, which a stable sort merges: cheaper by far than sorting all of them once more
    ascending = np.sort(np.concatenate(sorted_ms), kind="stable")
    by_endpoint = {ALL: _figures(requests, slice(None), ascending, spans.seconds, limit_ms)}
    for endpoint, group, own in zip(requests.endpoints, groups[1:], sorted_ms[1:], strict=True):
        if len(group):
            by_endpoint[endpoint] = _figures(requests, group, own, spans.seconds, limit_ms)
    return LaunchFigures(
        trial=trial,
        seconds=spans.seconds,
        by_endpoint=by_endpoint,
        cdf_ms=quantiles(ascending, CDF_SHARES),
        over_time=_over_time(requests, trial),
        outcomes=np.bincount(requests.outcome, minlength=len(OUTCOMES)),
        connections=connection_readings(evidence.activity, spans),
        target_cpu_s=target_cpu_s(evidence.process, spans),
    )


def _over_time(requests: Measured, trial: Trial) -> OverTime:
    planned_s = sum(segment.duration_s for segment in measured_segments(trial.segments))
    bin_s = 1.0 if planned_s >= BINS_MIN else 0.25
    number = (requests.time_s // bin_s).astype(np.int32)
    order = np.argsort(number, kind="stable")
    return OverTime(bin_s=bin_s, number=number[order], latency_ms=requests.latency_ms[order])


def _figures(requests: Measured, where: Where, ascending: Floats, seconds: float, limit_ms: float) -> EndpointFigures:
    ok = int(np.searchsorted(ascending, np.inf))
    good = min(ok, int(np.searchsorted(ascending, limit_ms, side="right")))
    latency, pool = requests.latency_ms[where], requests.pool_ms[where]
    seen = np.isfinite(pool) & np.isfinite(latency)
    return EndpointFigures(
        requests=len(ascending),
        ok=ok,
        answered=int(requests.answered[where].sum()),
        good=good,
        dropped=int((requests.outcome[where] == OUTCOMES.index("dropped")).sum()),
        seconds=seconds,
        quantiles_ms=tuple(quantile(ascending, share) for share in SHARES),
        served_p99_ms=quantile(ascending[:ok], 0.99),
        pool_p95_ms=quantile_of(pool[seen], 0.95),
        probed=int(np.count_nonzero(seen)),
        pool_sum_ms=float(pool[seen].sum(dtype=np.float64)),
        db_sum_ms=float(requests.db_ms[where][seen].sum(dtype=np.float64)),
        app_sum_ms=float(requests.app_ms[where][seen].sum(dtype=np.float64)),
        latency_sum_ms=float(latency[seen].sum()),
    )


def median_launch(of_cell: Sequence[LaunchFigures]) -> LaunchFigures:
    """The launch in the middle by p95: the one to show when only one can be."""
    return sorted(of_cell, key=lambda launch: (launch.p95_ms, launch.block))[(len(of_cell) - 1) // 2]
