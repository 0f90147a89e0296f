"""How the highest rate that meets the SLO is searched for: doubling, bisection, confirmation; pure.

A probe is one launch at one rate. Rates are doubled until one fails, or halved until one passes; what lies between is
bisected until both ends are close. Neither end counts before fresh launches, at rates that were chosen before they ran,
agree: all of them pass at the lower one, none at the upper one. Where they do not, that end is moved outwards and
confirmed there, so that what comes out is a bracket that launches of their own have shown on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.domain.binding import Binding
from harness.domain.budget import Service
from harness.domain.cell import Cell
from harness.domain.certificate import Certificate

Result = Literal["pass", "fail", "unsettled"]
"""unsettled: it would pass, but its queue began empty and had not found its length: a longer launch decides"""
Role = Literal["probe", "confirm"]
StopReason = Literal["bracketed", "ceiling", "generator", "nothing_meets", "instrument"]
"""ceiling: even the highest rate that may be tried is met. generator: even the most that the load generator was seen to
send here is. instrument: what measures failed twice running."""

FLOOR_RPS = 0.5
"""below this no rate is tried"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A launch that the search asks for."""

    rate_rps: float
    role: Role
    times: int = 1
    """length of its measurement, in those of the experiment"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A probe, and what came of it."""

    probe: Probe
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a search ended."""

    highest_pass_rps: float | None
    """at which every fresh launch meets the SLO; None where no rate does"""
    lowest_fail_rps: float | None
    """at which none does; None where every rate that may be tried is met"""
    stop: StopReason
    widened: bool = False
    """fresh launches did not agree with the search, so that the bracket is wider than asked for"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched for."""

    first_rps: float
    limit_rps: float
    """the highest rate that may be tried"""
    at_limit: StopReason = "ceiling"
    """what it ends as if even that is met"""
    precision: float
    """share by which the ends of the bracket may differ: 0.1 is 10 %"""
    confirmations: int = 3
    longest: int = 4
    """times the experiment's measurement that a launch may take to settle"""

    def next_probe(self, steps: Sequence[Step]) -> Probe | Found:
        """What to measure after these steps, or what they found."""
        probes = [step for step in steps if step.probe.role == "probe"]
        if probes and probes[-1].result == "unsettled" and probes[-1].probe.times < self.longest:
            last = probes[-1].probe
            return Probe(rate_rps=last.rate_rps, role="probe", times=2 * last.times)
        settled = {step.probe.rate_rps: step for step in probes}  # of each rate the last, which is the longest
        low = max((rate for rate, step in settled.items() if step.result == "pass"), default=None)
        high = min((rate for rate, step in settled.items() if step.result != "pass"), default=None)
        if high is None:
            return self._upwards(low)
        if low is None:
            if high <= FLOOR_RPS:
                return Found(highest_pass_rps=None, lowest_fail_rps=high, stop="nothing_meets")
            return Probe(rate_rps=max(FLOOR_RPS, three_digits(high / 2)), role="probe")
        times = max(settled[rate].probe.times for rate in (low, high))
        if high / low > 1 + self.precision and low < (middle := three_digits(math.sqrt(low * high))) < high:
            return Probe(rate_rps=middle, role="probe", times=settled[low].probe.times)
        return self._confirm(low, high, [step for step in steps if step.probe.role == "confirm"], times)

    def _upwards(self, low: float | None) -> Probe | Found:
        if low is None:
            return Probe(rate_rps=min(self.first_rps, self.limit_rps), role="probe")
        if low >= self.limit_rps:
            return Found(highest_pass_rps=low, lowest_fail_rps=None, stop=self.at_limit)
        return Probe(rate_rps=min(2 * low, self.limit_rps), role="probe")

    def _confirm(self, low: float, high: float, confirms: Sequence[Step], times: int) -> Probe | Found:
        passing, failing = low, high
        while any(result != "pass" for result in self._at(passing, confirms)):
            if passing <= FLOOR_RPS:
                return Found(highest_pass_rps=None, lowest_fail_rps=failing, stop="nothing_meets", widened=True)
            passing = max(FLOOR_RPS, three_digits(passing / (1 + self.precision)))
        if len(self._at(passing, confirms)) < self.confirmations:
            return Probe(rate_rps=passing, role="confirm", times=times)
        while any(result == "pass" for result in self._at(failing, confirms)):
            if failing >= self.limit_rps:
                return Found(highest_pass_rps=passing, lowest_fail_rps=None, stop=self.at_limit, widened=True)
            failing = min(self.limit_rps, three_digits(failing * (1 + self.precision)))
        if len(self._at(failing, confirms)) < self.confirmations:
            return Probe(rate_rps=failing, role="confirm", times=times)
        return Found(
            highest_pass_rps=passing,
            lowest_fail_rps=failing,
            stop="bracketed",
            widened=(passing, failing) != (low, high),
        )

    @staticmethod
    def _at(rate_rps: float, confirms: Sequence[Step]) -> list[Result]:
        return [step.result for step in confirms if step.probe.rate_rps == rate_rps]


def three_digits(value: float) -> float:
    """Three significant digits: a rate that people can read, and find again."""
    return round(value, 2 - math.floor(math.log10(value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """A launch of a search, with what it showed."""

    launch_id: str
    rate_rps: float
    role: Role
    times: int
    result: Result
    p50_ms: float
    p95_ms: float
    p99_ms: float
    """each infinite where more failed than it leaves room for"""
    error_rate: float
    carried_rps: float
    connections_peak: int
    connections: Mapping[str, float]
    """that Postgres saw on average, by state; empty where nobody looked"""
    cpu_share: float
    """of what the service's processes can use of a core each; NaN where they were not seen"""
    pool_used_share: float
    """of the connections that its pools may hold, how many were out on average; NaN where not known"""
    broken_promises: tuple[str, ...]
    """what was promised and not kept: "p95_ms", "p95_ms of GET /heroes", "saturated" """


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCapacity:
    """What a search found of one cell."""

    cell: Cell
    steps: tuple[MeasuredStep, ...]
    found: Found | None
    """None while it goes on"""
    spoilt: tuple[str, ...] = ()
    """launches that were no steps, since something failed in their instrument, or nothing was sent"""
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    """of every launch, those that were no steps included"""
    replica: Service | None = None
    """what was measured, as a replica of a fleet; None where the size of its pools is not known, or has no limit"""
    limit: Binding | None = None
    """what binds at the rate that no longer meets the SLO; None where none was shown"""
    used: Mapping[str, float] = field(default_factory=dict)
    """at the highest rate that meets it, how much of each resource is in use, as a share of what there is"""
