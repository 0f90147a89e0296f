"""The figures of one launch: the step between its rows and what several launches say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.analyse.arrays import Floats, Where
from harness.analyse.estimate import quantile
from harness.analyse.measured import Measured, endpoint_owners, measured
from harness.analyse.rounds import LeftOut, Windows, left_out, measured_segments, windows
from harness.domain.evidence import OUTCOMES, Run, Trial, TrialEvidence
from harness.domain.experiment import Slo

ALL = "*"
SHARES = (0.50, 0.90, 0.95, 0.99)


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
class LaunchFigures:
    """A launch that counts: its evidence, its measured stretches and its figures by endpoint."""

    evidence: TrialEvidence
    windows: Windows
    measured: Measured
    ascending_ms: Floats
    """every offered request's latency, sorted"""
    by_endpoint: dict[str, EndpointFigures]

    @property
    def block(self) -> int:
        return self.evidence.trial.launch.block

    @property
    def cell_id(self) -> str:
        return self.evidence.trial.launch.cell.id

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
    owners = endpoint_owners(evidence.requests for evidence in trials)
    limit_ms = latency_limit_ms(run.info.experiment.slo)
    counted: list[LaunchFigures] = []
    excluded: list[Excluded] = []
    for evidence in trials:
        without = sittings[evidence.trial.sitting]
        spans = windows(measured_segments(evidence.trial.segments), evidence.trial.ledger, without.rounds)
        requests = measured(evidence.requests, spans, owners)
        codes = _why_not(evidence.trial, without, requests)
        if codes:
            excluded.append(Excluded(trial=evidence.trial, codes=codes))
        else:
            counted.append(launch_figures(evidence, spans, requests, limit_ms))
    return Launches(counted=tuple(counted), excluded=tuple(excluded), sittings=sittings)


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


def launch_figures(evidence: TrialEvidence, spans: Windows, requests: Measured, limit_ms: float) -> LaunchFigures:
    """The figures of one launch over all and by endpoint."""
    ascending = np.sort(requests.latency_ms)
    by_endpoint = {ALL: _figures(requests, slice(None), ascending, spans.seconds, limit_ms)}
    order = np.argsort(requests.endpoint, kind="stable")
    bounds = np.searchsorted(requests.endpoint[order], np.arange(len(requests.endpoints) + 1))
    for place, endpoint in enumerate(requests.endpoints):
        where = order[bounds[place] : bounds[place + 1]]
        if len(where):
            own = np.sort(requests.latency_ms[where])
            by_endpoint[endpoint] = _figures(requests, where, own, spans.seconds, limit_ms)
    return LaunchFigures(
        evidence=evidence, windows=spans, measured=requests, ascending_ms=ascending, by_endpoint=by_endpoint
    )


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
        pool_p95_ms=quantile(np.sort(pool[seen]).astype(np.float64), 0.95),
        probed=int(np.count_nonzero(seen)),
        pool_sum_ms=float(pool[seen].sum(dtype=np.float64)),
        db_sum_ms=float(requests.db_ms[where][seen].sum(dtype=np.float64)),
        app_sum_ms=float(requests.app_ms[where][seen].sum(dtype=np.float64)),
        latency_sum_ms=float(latency[seen].sum()),
    )


def median_launch(of_cell: Sequence[LaunchFigures]) -> LaunchFigures:
    """The launch in the middle by p95: the one to show when only one can be."""
    return sorted(of_cell, key=lambda launch: (launch.p95_ms, launch.block))[(len(of_cell) - 1) // 2]
