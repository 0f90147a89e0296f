"""Rules of exact counts, such as statements a request: whether the head's requests take more.

They need no statistics. Both sides of a block meet the same arrivals, and how many requests took how many says at once
whether the head's take more (`count_shift`). What that does not decide is decided by launches: where those of the base
agree, a head that has more in all of its own has more. Where they do not (a cache, a list that grows), each launch of
the head must have more than every launch of the base, and fresh launches must confirm it: of n blocks that are alike
this happens in n! (2n)! / (3n)! of jobs, 1 of 3003 for five.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from harness.analyse.count_shift import CountBlock, mean_of, moved, settled, share_that_takes_more
from harness.analyse.judges import Job, Judge, undecided
from harness.analyse.measured import ALL
from harness.analyse.sides import Sides, figure
from harness.analyse.statistical_rule import FIRST_BLOCKS
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Decision, Figure, Histogram, RuleVerdict, Why

SAME = 1e-9
FEW_BLOCKS = 3
"""below this an exact count must have grown by half of one at least: a rare second statement may be anything"""


def exact_verdicts(rule: Judge, job: Job) -> Iterator[RuleVerdict]:
    """Judge each endpoint and status that a rule is of: whether the head's requests take more."""
    first = job.stages[0] if job.staged else job.together
    counts = list(_counts(rule, first, paired=job.paired))
    confirmed = {own.endpoint: own for own in _counts(rule, job.stages[1], paired=job.paired)}
    if not counts:
        yield undecided(rule, "not_counted")
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


def awaits_fresh_launches(rule: Judge, sides: Sides) -> bool:
    """Whether counts that vary between the base's own launches grew: others have to confirm it."""
    return any(count.decide(None)[1] == "unconfirmed" for count in _counts(rule, sides, paired=True))


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
