"""What the analysis concludes: summaries, ranks, and the report that presents them.

Latencies are in ms. `math.inf` means that at least that share of offered arrivals failed; NaN that there is no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
    """One cell and endpoint ("*" = all). Percentiles are of what was offered, failures infinitely slow."""

    cell_id: str
    endpoint: str
    launches: int
    requests: int
    achieved_rps: float
    goodput_rps: float
    p50_ms: Estimate
    p90_ms: Estimate
    p95_ms: Estimate
    p99_ms: Estimate
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A figure with its interval; `low` and `high` are None where the launches leave it open by more than ten times."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How many times the figure of `first` that of `second` is, with an interval that holds for all pairs at once.

    Ties are pairs, not groups: that a is not told apart from b, nor b from c, says nothing of a and c.
    """

    first: str
    second: str
    ratio: float
    """second / first, drift of the blocks taken out; NaN where no launches connect the two"""
    low: float | None
    """None, like `high`, where the launches leave the ratio open by more than ten times each way"""
    high: float | None
    told_apart: bool
    """the interval does not include 1"""


Promise = Literal["met", "not_met", "unclear"]
"""Whether an SLO is kept, by one-sided 95 % bounds over launches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """What speaks against running with one setting, or what it would buy."""

    cell_id: str
    size: float
    """most connections it may open; infinite where nothing limits it"""
    eligible: bool
    """neither failing nor saturated, and no SLO is surely broken"""
    slowdown_at_most: float | None
    """how much slower than every other cell it may be at most, as a share; None where nothing can be said"""
    against: str | None
    """the other cell it may be that much slower than"""
    gain_at_most: float | None
    """how much slower than this cell the recommended one may be at most, as a share: what this one can buy"""
    told_apart: bool
    """from the recommended cell, or from the best where none is recommended"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The smallest setting shown to be good enough, or that none was."""

    margin: float
    """slowdown that is accepted, as a share: 0.25 is 25 %"""
    recommended: str | None
    best: str | None
    """the eligible cell with the lowest figure; None where none is eligible"""
    slowdown_at_most: float | None
    """of the recommended cell against every other one, as a share"""
    larger: tuple[WhyNot, ...]
    """cells that may open more connections than the recommended one, or than the best where none is; smallest first"""
    not_larger: tuple[WhyNot, ...]
    """the further cells that may open as many or fewer, smallest first"""
    launches_to_decide: int | None
    """launches a cell after which some size would be recommended, if figures and noise stay as they are; an estimate
    that comes true about every other time. None where one is recommended, or where none would be in sight"""
