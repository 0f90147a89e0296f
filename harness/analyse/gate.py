"""Whether one side is worse than the other: rule by rule, by launches, with one error rate for all of them.

Statistical rules have two stages. The first raises an alarm, at a level of sqrt(1 % / rules) each; the second, of fresh
launches only, has to confirm it at the same level. So a job without a difference fails in at most one of a hundred,
and pays for the second stage only after an alarm. A change within the margin, by the whole of its interval, is none.

Exact counts decide by themselves, or in the same two stages where the base's own launches differ (`exact_rule`).

How many launches a stage needs follows from the spread of its first five blocks, which knows nothing of the effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.analyse.absolute_rule import absolute_verdict
from harness.analyse.exact_rule import awaits_fresh_launches, exact_verdicts
from harness.analyse.judges import Job, Judge, judges_of
from harness.analyse.sides import Sides, contrast, noise_of, sides_of
from harness.analyse.statistical_rule import (
    FIRST_BLOCKS,
    broke_down,
    level_of,
    raises_alarm,
    statistical_verdict,
    visible_effect,
)
from harness.domain.experiment import Gate
from harness.domain.gate import HEAD, Decision, GateVerdict, RuleVerdict
from harness.domain.strategy import Outcome

RESERVE = 1.15
"""times the spread of the first five blocks that a stage is planned for: that of its launches may well be larger"""


def judge(
    gate: Gate, outcomes: Sequence[Outcome], *, most: int | None = None, paired: bool = True, identical: bool = False
) -> GateVerdict:
    """Judge every rule on what was measured.

    Args:
        gate: margins and rules.
        outcomes: the launches of both sides.
        most: blocks that a stage has time for; None where there are no stages, but launches that were made before.
        paired: whether both sides were measured in turns.
        identical: whether they are configured alike.

    Raises:
        UsageError: as `judges_of`.
    """
    judges = judges_of(gate)
    first = _first_stage(judges, outcomes, most) if most else max((own.launch.block for own in outcomes), default=0)
    job = Job(
        stages=(
            sides_of(own for own in outcomes if own.launch.block <= first),
            sides_of(own for own in outcomes if own.launch.block > first),
        ),
        level=level_of(judges, stages=2 if most else 1),
        staged=most is not None,
        paired=paired,
    )
    rules = tuple(verdict for own in judges for verdict in _verdicts(own, job))
    alarm = most is not None and _is_alarm(judges, job.stages[0])
    return GateVerdict(
        verdict=_together(rules),
        primary=rules[0],
        rules=rules,
        blocks=len(job.stages[0][HEAD]),
        fresh_blocks=len(job.stages[1][HEAD]),
        planned_blocks=first * (1 + alarm),
        alarm=alarm,
        noise=noise_of(job.together, judges[0].metric) if paired else None,
        paired=paired,
        identical=identical,
    )


def _verdicts(rule: Judge, job: Job) -> Iterator[RuleVerdict]:
    if rule.kind == "statistical":
        yield statistical_verdict(rule, job)
    elif rule.kind == "exact":
        yield from exact_verdicts(rule, job)
    else:
        yield absolute_verdict(rule, job)


def _together(rules: Sequence[RuleVerdict]) -> Decision:
    """What the rules come to: one that regressed decides, then what the primary says."""
    primary = rules[0]
    if any(own.verdict == "regressed" for own in rules):
        return "regressed"
    if primary.why == "no_figure":
        return "invalid"
    if any(own.why == "unconfirmed" or (own.kind == "absolute" and own.verdict == "inconclusive") for own in rules):
        return "inconclusive"
    return primary.verdict


def blocks_wanted(gate: Gate, outcomes: Sequence[Outcome], most: int) -> int:
    """How many blocks of launches the job needs, as far as what is measured tells.

    `most` is how many a stage has time for. A stage that has time for fewer than FIRST_BLOCKS takes what there is.
    """
    judges = judges_of(gate)
    first = _first_stage(judges, outcomes, most)
    measured = [own for own in outcomes if 0 < own.launch.block <= first]
    done = {own.launch.block for own in measured if own.launch.cell.arm == HEAD}
    if len(done) < first or not _is_alarm(judges, sides_of(measured)):
        return first
    return 2 * first


def smallest_visible_before(gate: Gate, launch_sd: float, blocks: int) -> float | None:
    """The regression of the primary metric that nine of ten jobs find, as a share, where a launch's log scatters by
    `launch_sd` and a stage has that many blocks; None where they are too few for any."""
    judges = judges_of(gate)
    if blocks < FIRST_BLOCKS:
        return None
    level = level_of(judges, stages=2)
    return math.expm1(visible_effect(math.sqrt(1.5) * launch_sd, blocks, blocks - 1, level, stages=2))


def _first_stage(judges: Sequence[Judge], outcomes: Sequence[Outcome], most: int) -> int:
    """Blocks of the first stage: five, then as many as the spread of those five asks for, as time allows."""
    if most <= FIRST_BLOCKS:
        return most
    five = sides_of(own for own in outcomes if 0 < own.launch.block <= FIRST_BLOCKS)
    primary = judges[0]
    found = contrast(five, primary.metric, primary.endpoint, paired=True)
    if found is None or len(five[HEAD]) < FIRST_BLOCKS - 1 or not found.blocks > 1:
        return FIRST_BLOCKS
    noise = noise_of(five, primary.metric)
    # equal noise in all launches makes the contrast's variance 1.5 times a launch's: both say how much that is
    sd = found.sd if noise is None else math.sqrt((found.sd**2 + 1.5 * noise**2) / 2)
    needed = math.log1p(primary.margin) if not primary.metric.may_be_nothing else primary.margin
    level = level_of(judges, stages=2)
    enough = (n for n in range(FIRST_BLOCKS, most) if visible_effect(RESERVE * sd, n, n - 1, level, stages=2) <= needed)
    return next(enough, most)


def _is_alarm(judges: Sequence[Judge], sides: Sides) -> bool:
    """Whether fresh launches have something to confirm; a head that broke down needs no more of them."""
    if broke_down(sides):
        return False
    level = level_of(judges, stages=2)
    return any(
        raises_alarm(own, sides, level) if own.kind == "statistical" else awaits_fresh_launches(own, sides)
        for own in judges
        if own.kind != "absolute"
    )
