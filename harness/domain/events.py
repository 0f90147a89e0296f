"""What a run says while it goes on: frozen values, told to handlers one after the other.

No event but Note holds a sentence, so no program has to read one: what a person sees of an event is for
`present.progress` to word. `as_line` is the form in which programs get them (`--events FILE`).
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.domain.strict_json import strict_json

EVENT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened at `at_ns`, CLOCK_MONOTONIC."""

    at_ns: int = field(default_factory=time.monotonic_ns)


Emit = Callable[[Event], None]
"""Whoever is told what happens; called in the order of time, from one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run begins or goes on; its folder is `path`."""

    run_id: str
    path: str
    cells: Mapping[str, str]
    """label by id"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStarting(Event):
    """A Postgres is about to be started and filled."""

    provider: str
    rows: int | None
    """heroes that are seeded; None where a command of the user's fills the database"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFilling(Event):
    """The command that fills the database is still at work; said every ten seconds."""

    elapsed_s: float
    command: str
    """empty: the reference app's own"""
    last_line: str
    """of what it wrote; empty where it wrote nothing"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SittingStarted(Event):
    """Launches are about to be started together: sitting `index` of `count`, 1 the first; a staircase is number 0."""

    index: int
    count: int
    purpose: Literal["staircase", "measure"]
    launches: Mapping[str, str]
    """label of its cell by launch id"""
    expected_s: float
    """of load"""
    rest_s: float
    """what follows this sitting takes about so long"""
    again: bool = False
    """fresh launches in place of those beside which an instrument failed"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsUp(Event):
    """Every target of the sitting answers."""

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTick:
    """How a launch fares so far, warm-up included. Unknown figures are None."""

    launch_id: str
    label: str
    offered: int
    """that were answered, failed or dropped"""
    answered: int
    failed: int
    dropped: int
    p95_ms: float | None
    """within 5 %; infinite where more than 5 % failed"""
    pool_used: int | None
    pool_waiting: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTick(Event):
    """The load goes on; about four times a second. `cells` have figures of the last second."""

    done_s: float
    expected_s: float
    rest_s: float
    cells: tuple[CellTick, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SittingFinished(Event):
    """The sitting's trials are stored, all of them."""

    index: int
    trials: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChosen(Event):
    """The staircase is over: the load is `share` of what the strongest pilot sustained."""

    rate_rps: float
    capacity_rps: float
    share: float
    label: str
    """of the strongest pilot's cell"""
    pilots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """Something to know about the numbers, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted(Event):
    """A step of `poolbench calibrate` begins; `count` says of how many rates, or launches of each of two cells."""

    stage: Literal["generator", "noise"]
    count: int


def as_line(event: Event) -> str:
    """One JSON object: version, event (its type in snake case), at_ns, and its own fields; unknown figures are null."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return strict_json({"version": EVENT_VERSION, "event": name, **dataclasses.asdict(event)})
