"""The smallest size that is shown to be good enough: what is asked for, what was seen, and what came out.

Sizes stand on a *ladder*, smallest first; a place is a size's number on it. Sizes that are measured beside each other
are a *look*: one launch of each, in one block, so that the drift of the machine is common to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.domain.cell import Cell
from harness.domain.certificate import Certificate

Phase = Literal["search", "race"]
"""search: which size may be it. race: launches that are started after it was chosen, and alone decide about it."""
TuneStop = Literal["shown", "not_shown", "nothing_carries", "instrument"]
"""not_shown: the launches that may be spent did not do. nothing_carries: every size fails or is saturated."""
WhyNotSize = Literal["", "budget", "floor", "fails", "slower", "not_shown", "not_needed", "not_reached"]
"""Why a size is not the answer. budget: its fleet does not fit. floor: it has fewer connections than are in use.
slower: surely slower than the best by more than the margin. not_shown: it may be good enough, and was not shown to be.
not_needed: a smaller one is. not_reached: the search goes on, or ended before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a tune knows of a launch."""

    log_ms: float
    """of its p95; infinite where it did not carry the load, or does not meet the SLO where that is what counts"""
    in_use: float
    """connections that were out of its pools on average; NaN where nobody looked"""
    raised: float = 0.0
    """by how much, as a log, the instrument can have raised its p95 by itself, at most"""
    leg: float = 0.0
    """likewise, the way to the service and back beyond that: the machine's, and so common to all sizes"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What is looked for on a ladder."""

    sizes: int
    """how many places the ladder has"""
    margin: float
    """slowdown against the best that is good enough, as a share"""
    blocks: int
    """most blocks of fresh launches"""
    noise_sd: float
    """of the log of a launch's figure, as it is expected before the launches show it"""
    by_slo: bool = False
    """whether what meets the SLO is good enough, instead of what is near the best"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Places to be launched beside each other, ascending."""

    places: tuple[int, ...]
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look showed of each of its places."""

    phase: Phase
    carried: Mapping[int, Carried]
    floor: int = 0
    """how many of the smallest sizes have fewer connections than were in use at once on average (Little's law)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a tune asks to be launched next: what a block still lacks."""

    block: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where a race ended."""

    stop: TuneStop
    place: int | None
    """the smallest that was shown; None where none was"""
    best: int | None
    """what it was held against; None where nothing carries, or an SLO is what counts"""
    dropped: frozenset[int] = frozenset()
    """places that are surely too slow, or have a larger one below the answer that is"""
    instrument: bool = False
    """nothing was shown because of the instrument's bound alone: by the launches some size is good enough"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFigures:
    """A size of a ladder, and why it is the answer or not."""

    cell: Cell
    value: int
    """of the ladder's key"""
    launches: int = 0
    fresh: int = 0
    """of these, those of the race"""
    p95_ms: float = math.nan
    """geometric mean over launches that carried the load; infinite where most did not; NaN without one"""
    failed: int = 0
    """launches that did not carry the load"""
    slowdown: float = math.nan
    """against the size that all are held against, as a share: by fresh launches where it has any; NaN without"""
    low: float | None = None
    """beyond each of these it is with a chance of 1.4 % at most, the instrument's bound included; None without"""
    high: float | None = None
    carried_rps: float = math.nan
    connections_peak: int = 0
    connections_mean: float = math.nan
    """out of its pools on average; NaN where nobody looked"""
    why_not: WhyNotSize = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedLadder:
    """One key whose smallest value was looked for, and what was found."""

    key: str
    stop: TuneStop | None
    """None while the search goes on"""
    answer: int | None
    """the value that is recommended; None without one"""
    reference: int | None
    """the value that the others are held against; None by an SLO, or without one"""
    instrument: bool
    """nothing was shown because of the instrument's bound alone"""
    sizes: tuple[SizeFigures, ...]
    """smallest first"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What a run of `poolbench tune` comes to."""

    ladders: tuple[TunedLadder, ...]
    """those that were begun, in order"""
    recommended: Cell | None
    """None where not all ladders have an answer"""
    by_slo: bool
    margin: float
    launches: int
    """that were spent, spoilt ones included"""
    grid: int
    """configurations of the matrix that fit the budget"""
    grid_launches: int | None
    """that these would have taken, each launched as often as what is recommended; None without that"""
    certificates: Mapping[str, Certificate] = field(default_factory=dict)

    @property
    def stop(self) -> TuneStop | None:
        """How it ended: as its last ladder did."""
        return self.ladders[-1].stop if self.ladders else None
