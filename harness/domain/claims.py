"""What is claimed, as comparisons of figures, and what came of it.

A claim's experiment has arms, which it compares, and a matrix, whose combinations are the contexts that the answer may
depend on: what is expected is judged in each of them by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.domain.experiment import Claim
from harness.errors import UsageError

Answer = Literal["confirmed", "refuted", "depends", "inconclusive"]
Holds = Literal["yes", "no", "open"]
"""Whether a comparison holds: its interval lies wholly on one side, or on both."""
Why = Literal["", "noise", "instrument", "failed", "unknown", "few_launches", "not_applied"]
"""What leaves a comparison open; "" where it is not."""
Scale = Literal["ratio", "difference", "figure"]
EVERYTHING = "*"
CONFIDENCE = 0.99
"""of a claim: all its comparisons in all its contexts together"""
LEAST_LAUNCHES = 3
RECORDING_SCHEMA_VERSION = 1

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_TERM = re.compile(
    rf'(?:({_NUMBER})\s*\*\s*)?([a-z][a-z0-9_]*)\(\s*([A-Za-z0-9][A-Za-z0-9_-]*)\s*(?:,\s*"([^"]+)"\s*)?\)'
)
_OPERATOR = re.compile(r"\s*(<=|>=|<|>)\s*")
_MINUS = re.compile(r"\s*-\s*")
_AND = re.compile(r"\s+and\s+")
_LITERAL = re.compile(_NUMBER)
_FORMS = (
    'Write it as "p95_ms(one) > 1.2 * p95_ms(other)", "error_rate(one) < 0.01" or "connects_per_s(one) - '
    'connects_per_s(other) > 5", joined by "and".'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """So many times a metric of an arm."""

    metric: str
    arm: str
    endpoint: str = EVERYTHING
    factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One comparison: `left` greater or less than `right`, or than `number`; their difference, where it has both."""

    text: str
    left: Term
    greater: bool
    or_equal: bool
    right: Term | None = None
    number: float | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        return (self.left,) if self.right is None else (self.left, self.right)


def expected_of(claim: Claim) -> tuple[Expected, ...]:
    """Read what a claim expects; nothing of it is ever run as code.

    Raises:
        UsageError: it holds anything but comparisons.
    """
    text, at = claim.expect.strip(), 0
    found = []
    while True:
        expected, at = _comparison(text, at)
        found.append(expected)
        if at == len(text):
            return tuple(found)
        joint = _AND.match(text, at)
        if joint is None:
            raise _no_comparison(text, at)
        at = joint.end()


def _comparison(text: str, begin: int) -> tuple[Expected, int]:
    left, at = _term(text, begin)
    right, number = None, None
    minus = _MINUS.match(text, at)
    if minus is not None:
        right, at = _term(text, minus.end())
    operator = _OPERATOR.match(text, at)
    if operator is None:
        raise _no_comparison(text, at)
    at = operator.end()
    literal = _LITERAL.match(text, at)
    if literal is not None and not _TERM.match(text, at):
        number, at = float(literal.group()), literal.end()
    if number is None:
        if right is not None:
            raise _no_comparison(text, at)
        right, at = _term(text, at)
    sign = operator.group(1)
    return Expected(
        text=text[begin:at], left=left, right=right, number=number, greater=sign[0] == ">", or_equal="=" in sign
    ), at


def _term(text: str, at: int) -> tuple[Term, int]:
    found = _TERM.match(text, at)
    if found is None:
        raise _no_comparison(text, at)
    factor, metric, arm, endpoint = found.groups()
    return Term(metric=metric, arm=arm, endpoint=endpoint or EVERYTHING, factor=float(factor or 1)), found.end()


def _no_comparison(text: str, at: int) -> UsageError:
    where = f', from "{text[at : at + 40]}" on' if at < len(text) else ""
    return UsageError(f"claim.expect is no comparison of metrics and numbers{where}.", next_step=_FORMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCell:
    """A cell of a claim's run."""

    id: str
    arm: str
    context: str
    """the values of the matrix that it has, in words; empty without a matrix"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A metric of one launch."""

    cell: str
    block: int
    metric: str
    endpoint: str
    value: float
    """NaN where it is not known, infinite where it failed"""
    raised: float
    """by how much, as a log, the instrument can have raised it by itself at most"""
    leg: float
    """and beyond that the way to the service and back, which is the machine's"""
    requests: int
    """it rests on"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One comparison in one context."""

    expected: Expected
    holds: Holds
    scale: Scale
    """what `value` is: left over right, left less right, or left alone"""
    value: float
    low: float
    high: float
    bound: float
    """what `value` is held against"""
    why: Why = ""
    launches_needed: int | None = None
    """of each cell, after which noise would leave it open no longer; None where it is not noise, or 1000 do not help"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InContext:
    """What is expected, judged in one context."""

    context: str
    answer: Answer
    judged: tuple[Judged, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a claim comes to."""

    answer: Answer
    contexts: tuple[InContext, ...]
    opposite: tuple[str, str] | None = None
    """of a claim that depends: a context in which it is confirmed, and one in which it is refuted"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that a claim's answer rests on, without the requests: what is kept and published."""

    schema_version: int = RECORDING_SCHEMA_VERSION
    claim: Claim
    name: str
    """of the experiment"""
    run_id: str
    measured_utc: str
    seconds: float
    """that it took"""
    launches: int
    """of each cell"""
    cells: tuple[ClaimCell, ...]
    points: tuple[Point, ...]
    not_applied: tuple[str, ...] = ()
    """cells whose settings did not take effect"""
    environment: Mapping[str, Any] = field(default_factory=dict)
    poolbench_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A claim about what the reference service does, settled by a test."""

    number: int
    statement: str
    verdict: Literal["confirmed", "refuted", "depends"]
    because: str
    """what the test shows, in a sentence"""
    test: str
    """file::name"""
