"""What two sides of a comparison come to: rule by rule, and together.

The sides are arms: `base`, the head, and the base once more (`BASE_AGAIN`), whose difference from itself is the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BASE, BASE_AGAIN, HEAD = "base", "base'", "head"

Decision = Literal["improved", "equivalent", "regressed", "inconclusive", "invalid"]
RuleKind = Literal["statistical", "exact", "absolute"]
Scale = Literal["ratio", "difference"]
Why = Literal["", "instrument", "too_few_launches", "unconfirmed", "varies", "not_counted", "no_figure", "both_failed"]
"""What keeps a rule from a decision. unconfirmed: an alarm of the first stage without fresh launches that could confirm
it. varies: of the base's own launches no two need to agree, so that one launch's count says nothing. both_failed: in
some blocks neither side has a figure."""


Histogram = tuple[tuple[float, int], ...]
"""How many requests took how many of something, by how many, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What requests of a launch took of something, without first uses."""

    used: Histogram
    """those that had no fresh connection"""
    fresh: Histogram = ()
    """those that had one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A metric of one launch, as a strategy may know it."""

    value: float
    """infinite where it failed"""
    raised: float = 0.0
    """by how much, as a log, the instrument can have raised it by itself, at most"""
    leg: float = 0.0
    """likewise, the way to the service and back beyond that: the machine's, and so common to both sides"""
    taken: Taken | None = None
    """of an exact metric, how many requests took how many; None where it is not known"""


Figures = Mapping[str, Mapping[str, Figure]]
"""metric -> endpoint -> figure of one launch"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """One rule of a gate, for one endpoint."""

    kind: RuleKind
    metric: str
    endpoint: str
    """of an exact metric with the status behind it: "GET /heroes/{hero_id} 200" """
    scale: Scale
    base: float
    """mean over its launches, geometric where the scale is a ratio; NaN where there is none. Exact counts are without
    first uses of a connection where those are known"""
    head: float
    effect: float
    """head / base - 1, or head - base"""
    low: float | None
    """95 % interval of the effect, the instrument's bound included; None where nothing can be said, or exact"""
    high: float | None
    verdict: Decision
    why: Why = ""
    limit: float | None = None
    """of an absolute rule, what the head may have at most or at least"""
    share: float | None = None
    """of an exact rule that regressed, of the head's requests that take more; None where it is not known"""
    smallest_visible: float | None = None
    """the regression from which on nine of ten jobs like this one find it, as a share or a difference"""


PartName = Literal["queue", "dial", "ping", "database", "application", "elsewhere", "threads", "gc", "cpu", "loop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where the time of an average request went on both sides, in ms."""

    name: PartName
    base_ms: float
    head_ms: float
    low_ms: float | None
    """95 % interval of head - base"""
    high_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What a comparison comes to."""

    verdict: Decision
    primary: RuleVerdict
    rules: tuple[RuleVerdict, ...]
    """all of them, the primary first"""
    blocks: int
    """launches of each side in the first stage"""
    fresh_blocks: int
    """launches of each side in the second stage; 0 without an alarm"""
    planned_blocks: int
    """launches of each side that the job turned out to need, in both stages"""
    alarm: bool
    """whether the first stage found something that fresh launches had to confirm"""
    noise: float | None
    """by how much, as a share, one launch of a side differs from the next (sd of the log), from base against base"""
    paired: bool
    """whether the sides were measured in turns; otherwise the machine's drift is in every difference"""
    identical: bool
    """whether both sides are configured alike"""
    saturated: tuple[str, ...] = ()
    """sides that were offered more than they can carry"""
    unknown_endpoints: Mapping[str, str] = field(default_factory=dict)
    """endpoints that rules name and nobody asked for -> the nearest that was, or nothing"""
    parts: tuple[Part, ...] = ()
    """where the time went; empty without the probe"""
