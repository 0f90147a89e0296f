"""Rules that are judged by launches: whether the head is worse by more than chance explains, and than its margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from harness.analyse.judges import Job, Judge, undecided
from harness.analyse.measured import ALL
from harness.analyse.sides import Contrast, Sides, contrast, figure
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Decision, RuleVerdict, Why

ERROR_RATE = 0.01
"""of all statistical rules of a gate together: jobs without a difference that fail all the same"""
POWER = 0.9
FIRST_BLOCKS = 5
"""launches of each side before anything statistical is said"""
BROKEN_SHARE = 0.5
INTERVAL = 0.975


def statistical_verdict(rule: Judge, job: Job) -> RuleVerdict:
    """Judge whether the head is worse by more than chance explains."""
    first, fresh = (contrast(s, rule.metric, rule.endpoint, paired=job.paired) for s in job.stages)
    if first is None:
        return undecided(rule, "no_figure")
    fresh = fresh if fresh is not None and fresh.blocks >= FIRST_BLOCKS else None
    found = fresh or first  # what raised an alarm is the luck of its stage as well: fresh launches say how much
    decision, why = _decide(rule, job, first, fresh)
    if rule.metric.name == "error_rate" and rule.endpoint == ALL and broke_down(job.together):
        decision, why = "regressed", ""
    margin_scale = rule.metric.may_be_nothing
    sign = 1.0 if rule.metric.lower_is_better else -1.0

    def told(effect: float) -> float:
        return sign * effect if margin_scale else math.expm1(sign * effect)

    ends: list[float] = []
    if found.blocks > 1:
        ends = sorted(told(found.bound(INTERVAL, upper=upper)) for upper in (False, True))
    visible = visible_effect(first.sd, first.blocks, first.freedom, job.level, stages=2 if job.staged else 1)
    visible += _indifferent(rule) + first.raised_head
    return RuleVerdict(
        kind="statistical",
        metric=rule.metric.name,
        endpoint=rule.endpoint,
        scale="difference" if margin_scale else "ratio",
        base=found.base,
        head=found.head,
        effect=told(found.effect),
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        verdict=decision,
        why=why,
        smallest_visible=None if not math.isfinite(visible) else visible if margin_scale else math.expm1(visible),
    )


def _decide(rule: Judge, job: Job, first: Contrast, fresh: Contrast | None) -> tuple[Decision, Why]:
    if first.blocks < FIRST_BLOCKS:
        return "inconclusive", "too_few_launches"
    found = fresh or first
    if _is_worse(rule, first, job.level):
        if job.staged and fresh is None:
            return "inconclusive", "unconfirmed"
        if _is_worse(rule, found, job.level):
            return "regressed", ""
    if found.both_failed:  # no proof can come of what is left: which blocks are left depends on how they went
        return "inconclusive", "both_failed"
    said = _not_worse(rule, found)
    if said != "inconclusive":
        return said, ""
    alone = replace(found, raised_head=0.0, raised_base=0.0)
    decided = _not_worse(rule, alone) != "inconclusive" or _is_worse(rule, alone, job.level)
    return said, "instrument" if decided else ""


def raises_alarm(rule: Judge, sides: Sides, level: float) -> bool:
    """Whether the head is worse by a rule, as the launches of a first stage have it."""
    return _is_worse(rule, contrast(sides, rule.metric, rule.endpoint, paired=True), level)


def _is_worse(rule: Judge, found: Contrast | None, level: float) -> bool:
    """Whether the head is worse by a rule, at that level, and not merely within its margin."""
    if found is None or found.blocks < FIRST_BLOCKS or _is_equivalent(rule, found):
        return False
    return found.bound(1 - level, upper=False) > _indifferent(rule)


def _indifferent(rule: Judge) -> float:
    """A share of requests must have grown by more than its margin; anything else by anything beyond chance."""
    return rule.margin if rule.metric.name == "error_rate" else 0.0


def _scaled_margin(rule: Judge, found: Contrast) -> float:
    if rule.metric.name == "error_rate":
        return rule.margin
    if rule.metric.may_be_nothing:
        return rule.margin * abs(found.base)
    return math.log1p(rule.margin)


def _is_equivalent(rule: Judge, found: Contrast) -> bool:
    """Whether the whole interval lies within the margin."""
    margin = _scaled_margin(rule, found)
    return found.bound(INTERVAL, upper=False) > -margin and found.bound(INTERVAL, upper=True) < margin


def _not_worse(rule: Judge, found: Contrast) -> Decision:
    """Whether the head is surely as good, or surely better."""
    if _is_equivalent(rule, found):
        return "equivalent"
    return "improved" if found.bound(1 - ERROR_RATE, upper=True) < -_indifferent(rule) else "inconclusive"


def broke_down(sides: Sides) -> bool:
    """Whether in every launch of the head half of all requests fail that the base answers: no matter of chance."""
    heads, bases = (
        [
            own
            for arm in arms
            for launch in sides[arm].values()
            if (own := figure(launch, "error_rate", ALL)) is not None
        ]
        for arms in ((HEAD,), (BASE, BASE_AGAIN))
    )
    if not heads or not bases:
        return False
    return min(own.value for own in heads) - max(own.value for own in bases) > BROKEN_SHARE


def level_of(judges: Sequence[Judge], *, stages: int) -> float:
    """Of each statistical rule in each stage: what passes both of two stages has the square of it."""
    statistical = sum(own.kind == "statistical" for own in judges)
    return float((ERROR_RATE / max(1, statistical)) ** (1 / stages))


def visible_effect(sd: float, blocks: int, freedom: float, level: float, *, stages: int) -> float:
    """The effect that POWER of jobs find, on the contrast's scale: each stage has to find it."""
    if not (blocks > 1 and freedom > 0):
        return math.inf
    errors = student_t(freedom, 1 - level) + student_t(freedom, POWER ** (1 / stages))
    return float(errors * sd / math.sqrt(blocks))


@cache
def student_t(freedom: float, confidence: float) -> float:
    """Return what a mean of nothing, over its standard error, exceeds with a chance of 1 - confidence."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, confidence))
