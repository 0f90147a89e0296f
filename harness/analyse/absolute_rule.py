"""Rules with a limit of their own, whatever the base has."""

from __future__ import annotations

import math
from statistics import fmean

from harness.analyse.judges import Job, Judge, undecided
from harness.analyse.sides import figure
from harness.analyse.statistical_rule import INTERVAL, student_t
from harness.domain.gate import BASE, HEAD, Decision, RuleVerdict


def absolute_verdict(rule: Judge, job: Job) -> RuleVerdict:
    """Hold the head's mean over its launches against the limit, by its 95 % interval where there is one."""
    sides = job.together
    found = [figure(own, rule.metric.name, rule.endpoint) for own in sides[HEAD].values()]
    values = [own.value for own in found if own is not None]
    limit = rule.most if rule.most is not None else rule.least
    if not values or limit is None:
        return undecided(rule, "no_figure", limit)
    mean = fmean(values)
    half = 0.0 if rule.metric.exact else math.inf
    if len(values) > 1 and math.isfinite(mean) and not rule.metric.exact:
        sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        half = student_t(len(values) - 1.0, INTERVAL) * sd / math.sqrt(len(values))
    sign = 1.0 if rule.most is not None else -1.0
    beyond = sign * (mean - limit)
    decision: Decision = "inconclusive"
    if beyond + half <= 0:
        decision = "equivalent"
    elif beyond - half > 0 or math.isinf(mean):
        decision = "regressed"
    told = math.isfinite(half) and not rule.metric.exact
    base = [figure(own, rule.metric.name, rule.endpoint) for own in sides[BASE].values()]
    bases = [own.value for own in base if own is not None]
    return RuleVerdict(
        kind="absolute",
        metric=rule.metric.name,
        endpoint=rule.endpoint,
        scale="difference",
        base=fmean(bases) if bases else math.nan,
        head=mean,
        effect=mean - limit,
        low=mean - limit - half if told else None,
        high=mean - limit + half if told else None,
        verdict=decision,
        limit=limit,
    )
