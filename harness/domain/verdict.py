"""What the analysis concludes: summaries, ranks, and the report that presents them.

Latencies are in ms. `math.inf` means that at least that share of offered arrivals failed; NaN that there is no data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.domain.binding import Binding
from harness.domain.cell import Cell
from harness.domain.certificate import Certificate
from harness.domain.cliffs import Cliff
from harness.domain.events import RateChosen
from harness.domain.evidence import RunInfo, Version
from harness.domain.gate import GateVerdict
from harness.domain.holds import EndpointHolds, HoldSite, Leak
from harness.domain.observed import RelayReadings
from harness.domain.prediction import Curve


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
    instrument: bool = False
    """it is the instrument's bound alone that makes the interval include 1: the launches would tell them apart"""


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
    instrument: bool = False
    """nothing is recommended because of the instrument's bound alone: by the launches some size is good enough"""
    launches_to_decide: int | None
    """launches a cell after which some size would be recommended, if figures and noise stay as they are; an estimate
    that comes true about every other time. None where one is recommended, or where none would be in sight"""


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
    p50_ms: Bounds
    p90_ms: Bounds
    p95_ms: Bounds
    p99_ms: Bounds
    p95_bound_low_ms: float
    """what the p95 is at least, without all that the instrument can have added"""
    served_p99_ms: float
    error_rate: float
    dropped: int
    pool_ms_p95: float
    pool_share: float
    """sum of pool wait over sum of latency, of served requests; NaN without the probe"""
    db_share: float
    slo: Promise | None = None
    """of what is promised of this endpoint, or of everything; None where nothing is, or nothing is known"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Requests of one cell that failed alike."""

    endpoint: str
    """empty for arrivals that were dropped or whose task failed before a request"""
    outcome: str
    """error, timeout, dropped or unfinished"""
    status: int
    """HTTP status, 0 where none came"""
    message: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSummary:
    """One cell over all its valid launches."""

    cell: Cell
    rank: int
    """place, 1 the best; cells that are not told apart have places of their own, and name each other in `ties`"""
    ties: tuple[str, ...]
    """ids of the cells that it is not told apart from"""
    all: EndpointSummary
    endpoints: tuple[EndpointSummary, ...]
    versus_best: Pair | None
    """p95 against the first cell's; None for the first itself, and where one of them has none"""
    connections_peak: int
    connections_active_mean: float
    pool_used_share: float
    """of the connections that its pools may hold, how many were out on average; NaN without the probe or a limit"""
    cpu_ms_per_request: float
    binding: Binding
    """which resource binds it at its load"""
    slo: Promise | None
    """of all that was promised, of everything and of each endpoint; None where nothing was, or nothing is known"""
    slo_instrument: bool
    """it is unclear because of the instrument's bound alone"""
    probe_user: EndpointSummary | None = None
    """what who asks beside the load met; percentiles are NaN where the answers are too few; None without one"""
    probe_user_worst_ms: float = math.nan
    """its slowest answer; infinite where one failed"""
    failing: bool
    """more fails than anybody would accept, or than the SLO allows"""
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
    late_p99_ms: float
    """how late the generator handed over one arrival in a hundred, or later; the worst launch's"""
    leg_p95_ms: float
    """what 95 in a hundred requests to a service that does nothing took at most beside the load; the worst launch's,
    NaN where one has none"""
    turns: int
    """in which its load was sent, over all launches"""
    valid: bool
    invalid_launches: int
    findings: tuple[str, ...]
    applied: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """what took effect, by key: each value that a process of the service has; nothing where it could not be seen"""
    not_applied: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """settings that the service does not have, by key: what it has instead; "connections": beyond what there may be"""
    broke_down: bool = False
    """its service, or the Postgres it needs, died or stood still in a launch that counts"""
    failures: tuple[Failure, ...] = ()
    """the most frequent kinds, most frequent first; where no launch counts, those of the launches that do not"""
    logged: Mapping[str, int] = field(default_factory=dict)
    """what the service logged around these failures, how often each, most frequent first"""
    versions: tuple[Version, ...] = ()
    """of the code that its launches started, each once; nothing where git does not say"""
    holds: tuple[EndpointHolds, ...] = ()
    """who held its connections, by endpoint, who held most of them first; nothing without the probe"""
    hold_sites: tuple[HoldSite, ...] = ()
    """which lines of the service took them, whose are held longest in all first; nothing without observe.detail"""
    leak: Leak | None = None
    """None where its connections came back, or nobody looked"""
    cliffs: tuple[Cliff, ...] = ()
    """from how many requests at once on a process may stand still, nearest first; nothing where it is not known"""
    in_flight_peak: int = 0
    """requests at once that the generator had in flight at most, over all processes of the service"""


State = Literal[
    "nothing_complete",
    "not_applied",
    "all_invalid",
    "no_choice",
    "different_loads",
    "one_launch",
    "recommended",
    "only_one",
    "undecided",
]
"""What a run comes to. not_applied: a setting that the cells differ in is not the service's. no_choice: one cell,
nothing to compare it to. only_one: all others fail or are saturated, and nothing has to be compared to recommend the
one that carries its load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run comes to; `present.phrases` words it."""

    state: State
    cell_id: str | None
    """the cell it speaks of: the recommended one, else the first that neither fails nor saturates; None without one"""
    recommendation: Recommendation | None
    """None where cells were not compared"""
    smallest_visible: float | None
    """the difference in p95 from which on a typical pair is told apart, as a share; None where nothing can be said"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What the run rests on, and what could not be seen."""

    measured: int
    """launches that are complete"""
    planned: int
    excluded: Mapping[str, int]
    """launches that feed no figure, by the code of what failed in their instrument"""
    replaced: int
    """launches in whose place fresh ones stand, since an instrument failed in their sitting"""
    replaced_for: tuple[str, ...]
    """codes of what failed then"""
    fewest_requests: int | None
    """arrivals of the launch that counts and has fewest; None without one"""
    postgres_processes: bool | None
    """whether the server's processes were seen; None where there was no server or no launch"""
    relays: tuple[RelayReadings, ...]
    """of every launch that had one between target and Postgres"""
    drivers: tuple[str, ...] = ()
    """that the engines of the services have, as their processes said; empty where they were not seen"""
    echo_off: bool = False
    """a service was to log each of its statements, and was kept from it"""
    unaccounted: int = 0
    """connections that no engine of an own app held, at most readings, in the launch that had most of them"""
    driver_pools: tuple[str, ...] = ()
    """pools of the drivers' own that the services made"""
    scenario_notes: tuple[str, ...] = ()
    """what of the scenarios did not apply, or went wrong beside the load, each once"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Every cell, best first, and what the run comes to."""

    cells: tuple[CellSummary, ...]
    pairs: tuple[Pair, ...]
    """every two valid cells, by p95"""
    verdict: Verdict
    coverage: Coverage
    certificates: Mapping[str, Certificate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a renderer needs. `series` holds the prepared data of the figures, by figure name."""

    info: RunInfo
    summary: Summary
    series: Mapping[str, Any]
    complete: bool
    gate: GateVerdict | None = None
    """what the two sides of a comparison come to; None of any other run"""
    chosen_rate: RateChosen | None = None
    """how the load's rate was found, where it is a share of a capacity"""
    curves: tuple[Curve, ...] = ()
    """what other sizes of the pool would come to, with the measured cells beside it; of a comparison none"""
