"""A gate's rules with their metrics looked up and their numbers read, and the launches that they judge."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.analyse.measured import ALL
from harness.analyse.metrics import Metric, metric_named
from harness.analyse.sides import EXACT, Sides
from harness.domain.experiment import Gate
from harness.domain.gate import RuleKind, RuleVerdict, Why
from harness.domain.rate import rate_share
from harness.errors import UsageError

FAILED_MARGIN = "0.1%"
"""points by which more requests may fail: one failed request is no regression"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A rule with its metric looked up and its numbers read."""

    metric: Metric
    endpoint: str
    margin: float
    """as a share; of shares of requests a difference"""
    max_increase: float = 0.0
    most: float | None = None
    least: float | None = None

    @property
    def kind(self) -> RuleKind:
        if self.most is not None or self.least is not None:
            return "absolute"
        return "exact" if self.metric.exact else "statistical"


def judges_of(gate: Gate) -> tuple[Judge, ...]:
    """The gate's rules, the primary first; failures and exact counts are judged whether or not the file names them.

    Raises:
        UsageError: a rule names an unknown metric, or a margin that is no percentage.
    """
    primary = metric_named(gate.primary)
    for rule in gate.rule:
        if rule.max is not None and rule.min is not None:
            raise UsageError(
                f"The rule for {rule.metric} has both max and min, and judges one.", next_step="Write a rule for each."
            )
        if rule.max_increase is not None and not metric_named(rule.metric).exact:
            raise UsageError(
                f"max_increase is of exact counts, and {rule.metric} is none.",
                next_step='Give it a margin instead, such as margin = "5%".',
            )
    given = [
        Judge(
            metric=metric_named(rule.metric),
            endpoint=rule.endpoint,
            margin=_margin(rule.margin or (FAILED_MARGIN if rule.metric == "error_rate" else gate.margin)),
            max_increase=rule.max_increase or 0.0,
            most=rule.max,
            least=rule.min,
        )
        for rule in gate.rule
    ]
    standard = [Judge(metric=metric_named("error_rate"), endpoint=ALL, margin=_margin(FAILED_MARGIN))]
    standard += [Judge(metric=metric_named(name), endpoint=ALL, margin=0.0) for name in EXACT]
    found = {(own.metric.name, own.endpoint, own.kind): own for own in (*standard, *given)}
    first = Judge(metric=primary, endpoint=ALL, margin=_margin(gate.margin))
    found.pop((primary.name, ALL, first.kind), None)
    return (first, *found.values())


def _margin(text: str) -> float:
    share = rate_share(text)
    if share is None:
        raise UsageError(
            f'The margin "{text}" is no percentage above 0.', next_step='Write it as margin = "10%" in [gate].'
        )
    return share


def wanted_figures(gate: Gate) -> tuple[tuple[str, str], ...]:
    """(metric, endpoint) of all that the gate judges."""
    return tuple(dict.fromkeys((own.metric.name, own.endpoint) for own in judges_of(gate)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The launches of both sides, and how they are judged."""

    stages: tuple[Sides, Sides]
    """of the second, fresh ones only"""
    level: float
    """of each statistical rule in each stage"""
    staged: bool
    """whether fresh launches are to confirm an alarm; else all were made before"""
    paired: bool
    """whether both sides were measured in turns"""

    @property
    def together(self) -> Sides:
        """The launches of both stages."""
        first, fresh = self.stages
        return {arm: {**first[arm], **fresh[arm]} for arm in first}


def undecided(rule: Judge, why: Why, limit: float | None = None) -> RuleVerdict:
    """Return the verdict of a rule of which there is nothing to see."""
    return RuleVerdict(
        kind=rule.kind,
        metric=rule.metric.name,
        endpoint=rule.endpoint,
        scale="difference" if rule.metric.exact or rule.metric.may_be_nothing else "ratio",
        base=math.nan,
        head=math.nan,
        effect=math.nan,
        low=None,
        high=None,
        verdict="inconclusive",
        why=why,
        limit=limit,
    )
