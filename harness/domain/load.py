"""The load plan: segments on one absolute clock, executed by one generator.

`LoadPlan` travels to the generator as `loadplan.json` (see docs/formats.md); what comes back is a `LoadOutput`.
All `_s` times of a segment count from the plan's start; all `_ns` times are CLOCK_MONOTONIC of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.domain.experiment import ArrivalProcess, Cell, LoadModel, Workers

Phase = Literal["staircase", "warmup", "measure"]
SETUP_SEGMENT = 0xFFFFFFFF
"""The segment number of rows recorded while users run `on_start`, before the plan starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One fresh start of a cell's target. `id` ("b1-c03") names its trial, its database and its files."""

    id: str
    cell: Cell
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of load on one launch.

    `index` is its place in the plan. `rate_rps` belongs to the open model, `users` to the closed one. `round` numbers
    the turns of an interleaved design from 0 (warm-up included); segments of one round are compared with each other.
    After `duration_s` nothing new is sent; the next segment starts `guard_s` later.
    """

    index: int
    launch_id: str
    phase: Phase
    round: int
    start_s: float
    duration_s: float
    guard_s: float
    model: LoadModel
    rate_rps: float | None
    users: int | None
    arrivals: ArrivalProcess
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchLoad:
    """What the generator needs to know about one launch."""

    launch_id: str
    host: str
    scenario: Path
    request_timeout_s: float
    max_in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """Everything one generator executes, be it one process or several that share the arrivals."""

    launches: tuple[LaunchLoad, ...]
    segments: tuple[Segment, ...]
    output_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """what scenarios may read, such as HEROES: how many there are to ask for"""
    processes: int = 1
    """generator processes on this machine"""
    workers: Workers | None = None
    """generators on other machines instead"""

    @property
    def duration_s(self) -> float:
        """When the last guard ends, counted from the start."""
        return max((s.start_s + s.duration_s + s.guard_s for s in self.segments), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """One or more launches hot together and the segments that are sent to them (hosts are not known yet)."""

    index: int
    purpose: Literal["staircase", "measure"]
    launches: tuple[Launch, ...]
    segments: tuple[Segment, ...]

    @property
    def duration_s(self) -> float:
        return max((s.start_s + s.duration_s + s.guard_s for s in self.segments), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCount:
    """Arrivals of one task in one segment: offered = done + dropped + unfinished, always."""

    segment: int
    task: str
    offered: int
    done: int
    dropped: int
    unfinished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCount:
    """Requests to one endpoint in one segment: requests = ok + error + timeout, always."""

    segment: int
    endpoint: str
    requests: int
    ok: int
    error: int
    timeout: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRun:
    """How a segment really went. `drained` is False when requests were still in flight as it began."""

    segment: int
    launch_id: str
    start_ns: int
    end_ns: int
    drained: bool
    skipped: bool
    in_flight_peak: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What the generator counted while it ran, independent of the rows it wrote."""

    tasks: tuple[TaskCount, ...]
    endpoints: tuple[EndpointCount, ...]
    segments: tuple[SegmentRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutput:
    """What a generator left behind in the load plan's output_dir."""

    ledger: Ledger
    start_ns: int
    output_dir: Path
    notes: tuple[str, ...] = ()
    """things said once to the user, such as "wait_time does not apply in the open model" """
    lost_workers: tuple[str, ...] = ()
    """names of worker processes that ended before their counts were acknowledged"""
    clock_uncertainty_ms: float = 0.0
    """by how much the times of workers on other machines may be off"""
