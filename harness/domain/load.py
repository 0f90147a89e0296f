"""The load plan: what each launch is sent on its own load clock, and the turns in which one generator executes it.

A launch has one uninterrupted arrival schedule on a *load clock*, which runs while the launch has its turn and stands
still otherwise. Put together, the turns are one run: nothing is lost or moved where a turn ends (docs/decisions/0012).

`LoadPlan` travels to the generator as `loadplan.json` (see docs/formats.md); what comes back is a `LoadOutput`.
All `_ns` times are CLOCK_MONOTONIC of this machine, but for those of a load clock, which say so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import Literal

from harness.domain.cell import Cell
from harness.domain.experiment import ArgumentValue, ArrivalProcess, LoadModel, Workers

Phase = Literal["staircase", "warmup", "measure"]
Cut = Literal["clear", "unqueued", "end"]
"""Why a turn ended: nothing was in progress at the service; half of its connections were free and everything else had
only just been sent (of many connections one is nearly always in use); or the launch's load was over."""
SETUP_SEGMENT = 0xFFFFFFFF
"""The segment number of rows recorded while users run `on_start`, before the plan starts."""


PILOT_BLOCK = 0
"""the block of a staircase's pilots; blocks that measure count from 1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One fresh start of a cell's target. `id` ("b1-c03") names its trial, its database and its files."""

    id: str
    cell: Cell
    block: int
    again: bool = False
    """a fresh start in place of one whose sitting was spoilt by an instrument that failed"""


def launch_of(cell: Cell, block: int, *, again: bool = False) -> Launch:
    """The launch of a cell in a block, under its one name."""
    return Launch(id=f"b{block}-{cell.id}{'-again' if again else ''}", cell=cell, block=block, again=again)


def cell_id_of(launch_id: str) -> str:
    """The cell that a launch of this name is one of."""
    return launch_id.removesuffix("-again").partition("-")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a launch's load clock with one phase and one rate, or one number of users.

    `index` is its number in the plan. `rate_rps` belongs to the open model, `users` to the closed one.
    """

    index: int
    launch_id: str
    phase: Phase
    start_s: float
    """on the launch's load clock"""
    duration_s: float
    model: LoadModel
    rate_rps: float | None
    users: int | None
    arrivals: ArrivalProcess
    seed: int

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


def arrival_offsets_s(segment: Segment) -> Iterator[float]:
    """When a segment's arrivals are due, from its start: a Poisson process, or even gaps with a random phase.

    All of it follows from the segment, wherever it is asked: another rate divides the same gaps.
    """
    duration_ns = round(segment.duration_s * 1e9)  # due times are whole nanoseconds
    return takewhile(lambda offset_s: round(offset_s * 1e9) < duration_ns, _endless_offsets_s(segment))


def _endless_offsets_s(segment: Segment) -> Iterator[float]:
    if not segment.rate_rps:
        return
    random = Random(f"{segment.seed}/gaps")
    if segment.arrivals == "uniform":
        phase = random.random()
        number = 0
        while True:
            yield (number + phase) / segment.rate_rps
            number += 1
    offset_s, draw, log = 0.0, random.random, math.log
    while True:
        offset_s -= log(1.0 - draw()) / segment.rate_rps  # random.expovariate, in half its time
        yield offset_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A launch's load goes on for `duration_s` and then until the service is clear, or until the load is over."""

    launch_id: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchLoad:
    """What the generator needs to know about one launch."""

    launch_id: str
    host: str
    scenario: Path
    request_timeout_s: float
    max_in_flight: int
    connections: int | None = None
    """most that one process of the target can hold, and so serve at once; None without a limit"""
    gauges: Path | None = None
    """folder in which the target's probe says how many requests are in progress; None: not known"""
    arguments: Mapping[str, ArgumentValue] = field(default_factory=dict)
    """the scenario's own, and what of it takes part; see experiment.Load"""
    user_classes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioOutline:
    """What a scenario consists of in one load model, before anything is sent."""

    scenario: str
    model: LoadModel
    tasks: Mapping[str, float]
    """share of the arrivals, by task; empty in the closed model"""
    users: Mapping[str, int]
    """users of each class; empty in the open model"""
    notes: tuple[str, ...]
    """what of it does not apply"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """What a probe user asks each launch beside its load."""

    method: str
    path: str
    rate_rps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """Everything one generator executes, be it one process or several that share the arrivals."""

    launches: tuple[LaunchLoad, ...]
    segments: tuple[Segment, ...]
    turns: tuple[Turn, ...]
    output_dir: Path
    pause_s: float = 0.0
    """between two turns; also after each step of a staircase, before it is judged"""
    environment: Mapping[str, str] = field(default_factory=dict)
    """what scenarios may read, such as HEROES: how many there are to ask for"""
    processes: int = 1
    """generator processes on this machine"""
    workers: Workers | None = None
    """generators on other machines instead"""
    null_url: str | None = None
    """of a service that does nothing, to be asked beside the load; None where none is near all that send it"""
    once: bool = False
    """each open segment is one arrival, at its start, of the task that has its number, instead of drawn ones"""
    probe_user: ProbeRequest | None = None
    """asked of the launch that has its turn, by one of the processes"""

    @property
    def duration_s(self) -> float:
        """How long the load lasts if no turn has to wait for its service."""
        return _duration_s(self.turns, self.pause_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """One or more launches hot together and what they are sent in turns (hosts are not known yet)."""

    index: int
    purpose: Literal["staircase", "measure", "check"]
    """a check sends each task once; see LoadPlan.once"""
    launches: tuple[Launch, ...]
    segments: tuple[Segment, ...]
    turns: tuple[Turn, ...]
    pause_s: float

    @property
    def duration_s(self) -> float:
        """How long the load lasts if no turn has to wait for its service."""
        return _duration_s(self.turns, self.pause_s)


def _duration_s(turns: tuple[Turn, ...], pause_s: float) -> float:
    return sum(turn.duration_s + pause_s for turn in turns)


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
class TurnRun:
    """How a turn really went. Its launch's load clock stood at `load_start_ns` when it began and ran until it ended."""

    launch_id: str
    start_ns: int
    end_ns: int
    """nothing new was sent from then on"""
    load_start_ns: int
    """on the launch's load clock"""
    cut: Cut
    idle_ns: int
    """when the service had nothing left to do, or was not waited for any longer"""
    idle: bool
    """whether it had nothing left to do then"""
    in_flight_peak: int

    @property
    def load_end_ns(self) -> int:
        """On the launch's load clock."""
        return self.load_start_ns + self.end_ns - self.start_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What the generator counted while it ran, independent of the rows it wrote."""

    tasks: tuple[TaskCount, ...]
    endpoints: tuple[EndpointCount, ...]
    turns: tuple[TurnRun, ...]


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
