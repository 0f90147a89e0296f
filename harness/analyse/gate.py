"""Whether one side is worse than the other: rule by rule, by launches, with one error rate for all of them.

Statistical rules have two stages. The first raises an alarm, at a level of sqrt(1 % / rules) each; the second, of fresh
launches only, has to confirm it at the same level. So a job without a difference fails in at most one of a hundred,
and pays for the second stage only after an alarm. A change within the margin, by the whole of its interval, is none.

Exact metrics need no statistics. Both sides of a block meet the same arrivals, and how many requests took how many says
at once whether the head's take more (`count_shift`). What that does not decide is decided by launches: where those of
the base agree, a head that has more in all of its own has more. Where they do not (a cache, a list that grows), each
launch of the head must have more than every launch of the base, and fresh launches must confirm it: of n blocks that
are alike this happens in n! (2n)! / (3n)! of jobs, 1 of 3003 for five.

How many launches a stage needs follows from the spread of its first five blocks, which knows nothing of the effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Literal

from harness.analyse.count_shift import CountBlock, mean_of, moved, settled, share_that_takes_more
from harness.analyse.measured import ALL
from harness.analyse.metrics import Metric, metric_named
from harness.analyse.sides import EXACT, Contrast, contrast, figure, noise_of, sides_of
from harness.domain.experiment import Gate
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Decision, Figure, GateVerdict, Histogram, RuleVerdict, Why
from harness.domain.rate import rate_share
from harness.domain.strategy import Outcome
from harness.errors import UsageError

ERROR_RATE = 0.01
"""of all statistical rules of a gate together: jobs without a difference that fail all the same"""
POWER = 0.9
FIRST_BLOCKS = 5
"""launches of each side before anything statistical is said"""
FAILED_MARGIN = "0.1%"
"""points by which more requests may fail: one failed request is no regression"""
RESERVE = 1.15
"""times the spread of the first five blocks that a stage is planned for: that of its launches may well be larger"""
BROKEN_SHARE = 0.5
INTERVAL = 0.975
SAME = 1e-9
FEW_BLOCKS = 3
"""below this an exact count must have grown by half of one at least: a rare second statement may be anything"""

Sides = Mapping[str, Mapping[int, Outcome]]


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
    def kind(self) -> Literal["statistical", "exact", "absolute"]:
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
    job = _Job(
        stages=(
            sides_of(own for own in outcomes if own.launch.block <= first),
            sides_of(own for own in outcomes if own.launch.block > first),
        ),
        level=_level(judges, stages=2 if most else 1),
        staged=most is not None,
        paired=paired,
    )
    rules = tuple(verdict for own in judges for verdict in job.judge(own))
    alarm = most is not None and _is_alarm(judges, job.stages[0])
    return GateVerdict(
        verdict=_together(rules),
        primary=rules[0],
        rules=rules,
        blocks=len(job.stages[0][HEAD]),
        fresh_blocks=len(job.stages[1][HEAD]),
        planned_blocks=first * (1 + alarm),
        alarm=alarm,
        noise=noise_of(_both(job.stages), judges[0].metric) if paired else None,
        paired=paired,
        identical=identical,
    )


def smallest_visible_before(gate: Gate, launch_sd: float, blocks: int) -> float | None:
    """The regression of the primary metric that nine of ten jobs find, as a share, where a launch's log scatters by
    `launch_sd` and a stage has that many blocks; None where they are too few for any."""
    judges = judges_of(gate)
    if blocks < FIRST_BLOCKS:
        return None
    level = _level(judges, stages=2)
    return math.expm1(_visible(math.sqrt(1.5) * launch_sd, blocks, blocks - 1, level, stages=2))


def wanted_figures(gate: Gate) -> tuple[tuple[str, str], ...]:
    """(metric, endpoint) of all that the gate judges."""
    return tuple(dict.fromkeys((own.metric.name, own.endpoint) for own in judges_of(gate)))


def _level(judges: Sequence[Judge], *, stages: int) -> float:
    """Of each statistical rule in each stage: what passes both of two stages has the square of it."""
    statistical = sum(own.kind == "statistical" for own in judges)
    return float((ERROR_RATE / max(1, statistical)) ** (1 / stages))


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
    level = _level(judges, stages=2)
    enough = (n for n in range(FIRST_BLOCKS, most) if _visible(RESERVE * sd, n, n - 1, level, stages=2) <= needed)
    return next(enough, most)


def _visible(sd: float, blocks: int, freedom: float, level: float, *, stages: int) -> float:
    """The effect that POWER of jobs find, on the contrast's scale: each stage has to find it."""
    if not (blocks > 1 and freedom > 0):
        return math.inf
    critical = _critical(freedom, 1 - level) + _critical(freedom, POWER ** (1 / stages))
    return float(critical * sd / math.sqrt(blocks))


@cache
def _critical(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, confidence))


def _is_alarm(judges: Sequence[Judge], sides: Sides) -> bool:
    """Whether fresh launches have something to confirm; a head that broke down needs no more of them."""
    if _broke_down(sides):
        return False
    level = _level(judges, stages=2)
    return any(
        _alarms(own, contrast(sides, own.metric, own.endpoint, paired=True), level)
        if own.kind == "statistical"
        else any(count.decide(None)[1] == "unconfirmed" for count in _counts(own, sides, paired=True))
        for own in judges
        if own.kind != "absolute"
    )


def _broke_down(sides: Sides) -> bool:
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


def _alarms(rule: Judge, found: Contrast | None, level: float) -> bool:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    stages: tuple[Sides, Sides]
    level: float
    staged: bool
    paired: bool

    def judge(self, rule: Judge) -> Iterator[RuleVerdict]:
        if rule.kind == "statistical":
            yield self._statistical(rule)
        elif rule.kind == "exact":
            yield from self._exact(rule)
        else:
            yield self._absolute(rule)

    def _statistical(self, rule: Judge) -> RuleVerdict:
        first, fresh = (contrast(s, rule.metric, rule.endpoint, paired=self.paired) for s in self.stages)
        if first is None:
            return _nothing(rule, "no_figure")
        fresh = fresh if fresh is not None and fresh.blocks >= FIRST_BLOCKS else None
        found = fresh or first  # what raised an alarm is the luck of its stage as well: fresh launches say how much
        decision, why = self._decide(rule, first, fresh)
        if rule.metric.name == "error_rate" and rule.endpoint == ALL and _broke_down(_both(self.stages)):
            decision, why = "regressed", ""
        margin_scale = rule.metric.may_be_nothing
        sign = 1.0 if rule.metric.lower_is_better else -1.0

        def told(effect: float) -> float:
            return sign * effect if margin_scale else math.expm1(sign * effect)

        ends: list[float] = []
        if found.blocks > 1:
            ends = sorted(told(found.bound(INTERVAL, upper=upper)) for upper in (False, True))
        visible = _visible(first.sd, first.blocks, first.freedom, self.level, stages=2 if self.staged else 1)
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

    def _decide(self, rule: Judge, first: Contrast, fresh: Contrast | None) -> tuple[Decision, Why]:
        if first.blocks < FIRST_BLOCKS:
            return "inconclusive", "too_few_launches"
        found = fresh or first
        if _alarms(rule, first, self.level):
            if self.staged and fresh is None:
                return "inconclusive", "unconfirmed"
            if _alarms(rule, found, self.level):
                return "regressed", ""
        if found.both_failed:  # no proof can come of what is left: which blocks are left depends on how they went
            return "inconclusive", "both_failed"
        said = _not_worse(rule, found)
        if said != "inconclusive":
            return said, ""
        alone = replace(found, raised_head=0.0, raised_base=0.0)
        decided = _not_worse(rule, alone) != "inconclusive" or _alarms(rule, alone, self.level)
        return said, "instrument" if decided else ""

    def _exact(self, rule: Judge) -> Iterator[RuleVerdict]:
        first = self.stages[0] if self.staged else _both(self.stages)
        counts = list(_counts(rule, first, paired=self.paired))
        confirmed = {own.endpoint: own for own in _counts(rule, self.stages[1], paired=self.paired)}
        if not counts:
            yield _nothing(rule, "not_counted")
        for own in counts:
            verdict, why = own.decide(confirmed.get(own.endpoint))
            yield RuleVerdict(
                kind="exact",
                metric=rule.metric.name,
                endpoint=own.endpoint,
                scale="difference",
                base=fmean(own.base),
                head=fmean(own.head),
                effect=fmean(own.head) - fmean(own.base),
                low=None,
                high=None,
                verdict=verdict,
                why=why,
                share=own.share if verdict == "regressed" else None,
            )

    def _absolute(self, rule: Judge) -> RuleVerdict:
        """Hold the head's mean over its launches against the limit, by its 95 % interval where there is one."""
        sides = _both(self.stages)
        found = [figure(own, rule.metric.name, rule.endpoint) for own in sides[HEAD].values()]
        values = [own.value for own in found if own is not None]
        limit = rule.most if rule.most is not None else rule.least
        if not values or limit is None:
            return _nothing(rule, "no_figure", limit)
        mean = fmean(values)
        half = 0.0 if rule.metric.exact else math.inf
        if len(values) > 1 and math.isfinite(mean) and not rule.metric.exact:
            sd = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
            half = _critical(len(values) - 1.0, INTERVAL) * sd / math.sqrt(len(values))
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


def _nothing(rule: Judge, why: Why, limit: float | None = None) -> RuleVerdict:
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


def _both(stages: tuple[Sides, Sides]) -> Sides:
    return {arm: {**stages[0][arm], **stages[1][arm]} for arm in stages[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    """An exact metric of one endpoint and status: what an average request took in each launch."""

    endpoint: str
    base: tuple[float, ...]
    head: tuple[float, ...]
    max_increase: float
    blocks: tuple[CountBlock, ...]
    """how many requests took how many; empty where that is not known of every launch"""

    @property
    def base_agrees(self) -> bool:
        if self.blocks:
            return all(block.base_agrees for block in self.blocks)
        return max(self.base) - min(self.base) <= SAME

    @property
    def increased(self) -> bool:
        """Whether every launch of the head took more than every launch of the base, and than is allowed."""
        least = 0.5 if len(self.head) < FEW_BLOCKS else 0.0
        return self._least_rise > max(self.max_increase, 0.0 if self.blocks else least) + SAME

    @property
    def share(self) -> float | None:
        """Of the head's requests, where they are sure to take more."""
        return share_that_takes_more(self.blocks, self.max_increase) if self.blocks else None

    @property
    def _least_rise(self) -> float:
        """Of a launch of the head over one of the base; over those of its own block where these agree."""
        if self.blocks and self.base_agrees:
            return min(mean_of(head) - mean_of(block.bases[0]) for block in self.blocks for head in block.heads)
        return min(self.head) - max(self.base)

    @property
    def _least_fall(self) -> float:
        if self.blocks and self.base_agrees:
            return min(mean_of(block.bases[0]) - mean_of(head) for block in self.blocks for head in block.heads)
        return min(self.base) - max(self.head)

    def decide(self, fresh: _Count | None) -> tuple[Decision, Why]:
        few = len(self.head) < FIRST_BLOCKS
        if self.share is not None:
            return "regressed", ""
        if self.increased:
            if self.blocks and few:
                return "inconclusive", "too_few_launches"
            return ("regressed", "") if self.base_agrees else self._confirmed_by(fresh)
        if self._least_fall > SAME and (self.base_agrees or not few):
            return "improved", ""
        if self.base_agrees and self._is_no_more:
            return "equivalent", ""
        return "inconclusive", "too_few_launches" if self.base_agrees and few else "varies"

    @property
    def _is_no_more(self) -> bool:
        """Whether no request takes more than it may; where only means are known, whether these may be all there is."""
        return all(
            moved(block.bases[0], head, self.max_increase)[0] == 0 for block in self.blocks for head in block.heads
        )

    def _confirmed_by(self, fresh: _Count | None) -> tuple[Decision, Why]:
        if len(self.head) < FIRST_BLOCKS or (fresh is not None and len(fresh.head) < FIRST_BLOCKS):
            return "inconclusive", "too_few_launches"
        if fresh is None:
            return "inconclusive", "unconfirmed"
        return ("regressed", "") if fresh.increased else ("inconclusive", "varies")


def _counts(rule: Judge, sides: Sides, *, paired: bool) -> Iterator[_Count]:
    """Of each endpoint and status that both sides answered with."""
    name = rule.metric.name
    seen = dict.fromkeys(endpoint for own in sides[HEAD].values() for endpoint in own.figures.get(name, {}))
    for endpoint in seen if rule.endpoint == ALL else [rule.endpoint]:
        found = {
            arm: {block: one for block, own in side.items() if (one := figure(own, name, endpoint)) is not None}
            for arm, side in sides.items()
        }
        heads, bases = list(found[HEAD].values()), [*found[BASE].values(), *found[BASE_AGAIN].values()]
        if not heads or not bases:
            continue
        blocks = _count_blocks(found, paired=paired)
        yield _Count(
            endpoint=endpoint,
            base=_means(own for block in blocks for own in block.bases) or tuple(own.value for own in bases),
            head=_means(own for block in blocks for own in block.heads) or tuple(own.value for own in heads),
            max_increase=rule.max_increase,
            blocks=blocks,
        )


def _means(histograms: Iterable[Histogram]) -> tuple[float, ...]:
    return tuple(map(mean_of, histograms))


def _count_blocks(found: Mapping[str, Mapping[int, Figure]], *, paired: bool) -> tuple[CountBlock, ...]:
    """Launches that met the same arrivals; sides that were measured apart are one block. None where one launch does not
    know how many requests took how many."""
    taken = {arm: {block: own.taken for block, own in side.items()} for arm, side in found.items()}
    if any(own is None for side in taken.values() for own in side.values()):
        return ()
    together = (
        [[block] for block in found[HEAD]] if paired else [sorted({*found[BASE], *found[BASE_AGAIN], *found[HEAD]})]
    )
    found_blocks = []
    for blocks in together:
        base, head = (
            [own for arm in arms for block in blocks if (own := taken[arm].get(block)) is not None]
            for arms in ((BASE, BASE_AGAIN), (HEAD,))
        )
        found_blocks.append(CountBlock(bases=settled(base, head), heads=settled(head, base)))
    return tuple(block for block in found_blocks if block.bases and block.heads)


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
