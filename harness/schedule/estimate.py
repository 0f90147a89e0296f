"""What a run will cost and what it could tell apart, known before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

from harness.domain.design import Kind
from harness.domain.load import Sitting
from harness.domain.profile import MachineProfile

Percentile = Literal["p50", "p95"]

RUN_OVERHEAD_S = 5.0
"""server, template database, analysis and report"""
SERVER_OVERHEAD_S = 3.0
"""another server and template database, where the cells of two sittings need different ones"""
SITTING_OVERHEAD_S = 1.5
LAUNCH_OVERHEAD_S = 1.0
"""clone, start, stop and store of each launch; those of a sitting overlap in part"""
TYPICAL_CAPACITY_RPS = 450.0
"""where a staircase is expected to end: one process of the reference app on two shared cores"""

TRIAL_SD_BLOCKED: Mapping[Percentile, float] = {"p50": 0.08, "p95": 0.13}
"""Typical, where the machine is not calibrated: relative sd of one launch's percentile, one cell at a time."""
RATIO_SD_INTERLEAVED: Mapping[Percentile, float] = {"p50": 0.06, "p95": 0.10}
"""Typical, where the machine is not calibrated: sd of the log ratio of two launches measured in turns."""


def expected_duration_s(sitting: Sitting) -> float:
    """How long the load of a sitting will last; a staircase is expected to end above TYPICAL_CAPACITY_RPS."""
    if sitting.purpose == "measure":
        return sitting.duration_s
    reached_rps: dict[str, float] = {}
    ends_s: dict[str, float] = {}
    for segment in sitting.segments:
        if reached_rps.get(segment.launch_id, 0.0) <= TYPICAL_CAPACITY_RPS:
            reached_rps[segment.launch_id] = segment.rate_rps or 0.0
            ends_s[segment.launch_id] = segment.end_s + 2 * sitting.pause_s  # judged, then the next pilot's turn
    return math.fsum(ends_s.values())


def run_duration_s(planned: Sequence[Sitting]) -> float:
    """How long a run of these sittings will take from start to report, staircase included if it is among them."""
    overheads = (SITTING_OVERHEAD_S + LAUNCH_OVERHEAD_S * len(sitting.launches) for sitting in planned)
    servers = [repr(launch.cell.database) for sitting in planned for launch in sitting.launches[:1]]
    changes = sum(before != after for before, after in pairwise(servers))
    fixed_s = RUN_OVERHEAD_S + SERVER_OVERHEAD_S * changes
    return fixed_s + math.fsum(overheads) + math.fsum(map(expected_duration_s, planned))


def expected_arrivals(planned: Sequence[Sitting]) -> int | None:
    """Arrivals the open model will offer in all phases of these sittings; None while a rate is not known.

    A staircase is left out, since where it ends is not known; the closed model offers what its users find time for.
    """
    segments = [s for sitting in planned if sitting.purpose == "measure" for s in sitting.segments if s.model == "open"]
    if any(s.rate_rps is None for s in segments):
        return None
    return round(math.fsum((s.rate_rps or 0.0) * s.duration_s for s in segments))


def requests_per_launch(planned: Sequence[Sitting]) -> float | None:
    """Fewest arrivals any launch will be measured with; None while a rate is not known or in the closed model."""
    offered: dict[str, float] = {}
    for segment in (s for sitting in planned for s in sitting.segments if s.phase == "measure"):
        if segment.rate_rps is None:
            return None
        offered[segment.launch_id] = offered.get(segment.launch_id, 0.0) + segment.rate_rps * segment.duration_s
    return min(offered.values(), default=None)


def launch_noise_sd(
    kind: Kind, requests: float | None, percentile: Percentile = "p95", profile: MachineProfile | None = None
) -> float:
    """sd of the log of one launch's percentile, without the drift that the launches of a block share.

    It is what differs between launches, as `profile` found on this machine, else what is typical, plus what `requests`
    a launch leave to chance (exponential tail; None: ignored).
    """
    return math.hypot(_between_launches_sd(kind, percentile, profile), _chance_sd(percentile, requests, profile))


def _between_launches_sd(kind: Kind, percentile: Percentile, profile: MachineProfile | None) -> float:
    turns = kind == "interleaved"
    found = None if profile is None else profile.noise_of(percentile)
    if found is None:
        return RATIO_SD_INTERLEAVED[percentile] / math.sqrt(2) if turns else TRIAL_SD_BLOCKED[percentile]
    return found.ratio_sd / math.sqrt(2) if turns else found.launch_sd


def _chance_sd(percentile: Percentile, requests: float | None, profile: MachineProfile | None) -> float:
    """What chance adds to a launch for want of requests; what calibration measured has its own share of that in it."""
    if not requests:
        return 0.0
    known = sampling_sd(percentile, profile.requests_per_launch) if profile else 0.0
    return math.sqrt(max(0.0, sampling_sd(percentile, requests) ** 2 - known**2))


def sampling_sd(percentile: Percentile, requests: float) -> float:
    """sd of the log of a sample quantile of an exponential distribution: sqrt(p / ((1 - p) n)) / -log(1 - p)."""
    p = float(percentile.removeprefix("p")) / 100
    return math.sqrt(p / ((1 - p) * requests)) / -math.log1p(-p)
