"""What the analysis concludes: summaries, ranks, and the report that presents them.

Latencies are in ms. `math.inf` means that at least that share of offered arrivals failed; NaN that there is no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.domain.evidence import Certificate, RunInfo
from harness.domain.experiment import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval over launches; low and high are NaN with a single launch."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSummary:
    """One cell and endpoint, by its requests; of "*" (all) by its arrivals, which may send several.

    Percentiles are of what was offered, failures infinitely slow. Rates are of answers, counted when they came.
    """

    cell_id: str
    endpoint: str
    launches: int
    requests: int
    achieved_rps: float
    """answered, well or not"""
    carried_rps: float
    """answered well"""
    goodput_rps: float
    """answered well and within the latency that is promised"""
    p50_ms: Estimate
    p90_ms: Estimate
    p95_ms: Estimate
    p99_ms: Estimate
    p95_bound_low_ms: float
    """of "*": what the p95 is at least, if all of the generator's lateness had gone into it; NaN for an endpoint"""
    served_p99_ms: float
    error_rate: float
    dropped: int
    pool_ms_p95: float
    pool_share: float
    """sum of pool wait over sum of latency, of served requests; NaN without the probe"""
    db_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary:
    """One cell over all its valid launches."""

    cell: Cell
    rank: int
    tied: bool
    """shares its rank: its interval against the rank's first cell includes no difference"""
    all: EndpointSummary
    endpoints: tuple[EndpointSummary, ...]
    versus_best: Estimate | None
    """ratio of p95 to the best cell's, paired by block; None for the best itself"""
    connections_peak: int
    connections_active_mean: float
    cpu_ms_per_request: float
    slo_met: bool | None
    saturated: bool
    """more load than it could carry, beyond what chance explains"""
    near_its_limit: bool
    from_empty: bool
    """its queue had not settled: in a steady state latency is higher"""
    utilisation: float
    """work offered / what its connections can do; NaN where not known"""
    empty_tasks: int
    """arrivals whose task sent nothing"""
    own_mean_ms: float
    """of an arrival's latency, what its task took for itself"""
    turns: int
    """in which its load was sent, over all launches"""
    valid: bool
    invalid_launches: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Every cell, best first; the verdict sentence says which settings to run with, and how sure that is."""

    cells: tuple[CellSummary, ...]
    verdict: str
    notes: tuple[str, ...]
    """doubts shown beside the numbers: too few launches for p99, a partial run, what could not be seen"""
    certificates: Mapping[str, Certificate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a renderer needs. `series` holds the prepared data of the figures, by figure name."""

    info: RunInfo
    summary: Summary
    series: Mapping[str, Any]
    complete: bool
