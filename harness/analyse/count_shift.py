"""Whether requests of the head take more of something than those of the base, from how many took how many.

Both sides of a block meet the same arrivals. What an equal launch shows is what nothing at all looks like, so a shift
has to be far beyond that; and it must not be what chance makes of counts that depend on data or a cache. For that there
are two proofs, and one will do:

- *Beyond a count*: so many more requests of the head than of the base take more than some number that it would happen
  once in ten thousand if each request drew what it takes by itself (Fisher's exact test).
- *Request for request*: the equal launches of each block agree in how many requests took how many, which requests that
  draw what they take would do once in ten thousand: so it follows from the arrivals. Then a head that takes more at
  some ranks, and less at few or none, takes more.

What would deceive both is said in docs/decisions/0022-whole-distributions-are-compared.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.domain.gate import Histogram, Taken

CHANCE = 1e-4
LEAST_SHARE = 0.1
"""of the requests of each launch that take more: less of it may be a token that was renewed, or a cache that was"""
BEYOND_NOISE = 3
FEWEST = 1.5
"""requests that would have had to go from the least to the most that is taken: one alone may be chance"""
SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class CountBlock:
    """What requests of one endpoint and status took in the launches that met the same arrivals."""

    bases: tuple[Histogram, ...]
    heads: tuple[Histogram, ...]

    @property
    def base_agrees(self) -> bool:
        """Whether equal launches are seen to be equal: one by itself shows it only where its requests are."""
        one = self.bases[0]
        if len(self.bases) == 1:
            return len(one) == 1
        return all(moved(one, other) == (0.0, 0.0) for other in self.bases[1:])


def settled(side: Sequence[Taken], others: Sequence[Taken] = ()) -> tuple[Histogram, ...]:
    """What requests of equal launches took, those with a fresh connection only where others took as much, if only in
    the launches beside them.

    Where none had another, all of them; launches of which nothing is left are left out.
    """
    known = {value for own in (*side, *others) for value, _ in own.used}
    kept = (
        pooled([own.used, [each for each in own.fresh if each[0] in known or not any(one.used for one in side)]])
        for own in side
    )
    return tuple(histogram for histogram in kept if histogram)


def mean_of(histogram: Histogram) -> float:
    """What an average request took."""
    return sum(value * count for value, count in histogram) / _requests(histogram)


def pooled(histograms: Iterable[Sequence[tuple[float, int]]]) -> Histogram:
    """The requests of several launches together."""
    total: Counter[float] = Counter()
    for histogram in histograms:
        total.update(dict(histogram))
    return tuple(sorted(total.items()))


def moved(base: Histogram, head: Histogram, allowed: float = 0.0) -> tuple[float, float]:
    """At which shares of all ranks the head takes more than `allowed` more than the base, and at which less."""
    more = less = 0.0
    for share, one, other in _ranks(base, head):
        more += share if other - one > allowed + SAME else 0.0
        less += share if one - other > SAME else 0.0
    return more, less


def _ranks(base: Histogram, head: Histogram) -> Iterator[tuple[float, float, float]]:
    """Both sides' requests in the order of what they took, side by side: a share of them, and what each side takes."""
    sides = [list(base), list(head)]
    totals = [_requests(side) for side in sides]
    # in units in which both sides' requests are whole numbers, so that equal shares are equal
    whole = totals[0] * totals[1]
    left = [[count * whole // total for _, count in side] for side, total in zip(sides, totals, strict=True)]
    places = [0, 0]
    while places[0] < len(sides[0]) and places[1] < len(sides[1]):
        step = min(left[side][places[side]] for side in (0, 1))
        yield step / whole, sides[0][places[0]][0], sides[1][places[1]][0]
        for side in (0, 1):
            left[side][places[side]] -= step
            places[side] += left[side][places[side]] == 0


def share_that_takes_more(blocks: Sequence[CountBlock], allowed: float) -> float | None:
    """Of the head's requests, where it is sure that they take more than `allowed` more; None where it is not."""
    bases = pooled([own for block in blocks for own in block.bases])
    heads = pooled([own for block in blocks for own in block.heads])
    if mean_of(heads) - mean_of(bases) < allowed - SAME:
        return None  # where others take less, as with a cache that is new, it is not more in all
    if not (_is_beyond_a_count(blocks, bases, heads, allowed) or _is_more_request_for_request(blocks, allowed)):
        return None
    return moved(bases, heads, allowed)[0]


def _is_beyond_a_count(blocks: Sequence[CountBlock], bases: Histogram, heads: Histogram, allowed: float) -> bool:
    known = [block for block in blocks if len(block.bases) > 1]
    if not known and len(bases) > 1:  # nothing shows by how much equal launches differ
        return False
    for value, _ in bases:
        shares = [[_share_above(own, value) for own in block.bases] for block in blocks]
        noise = max(max(own) - min(own) for own in shares)
        rises = (
            _share_above(head, value + allowed) - max(own)
            for block, own in zip(blocks, shares, strict=True)
            for head in block.heads
        )
        if min(rises) < max(LEAST_SHARE, BEYOND_NOISE * noise):
            continue
        if _chance(_above(heads, value + allowed), _requests(heads), _above(bases, value), _requests(bases)) <= CHANCE:
            return True
    return False


def _is_more_request_for_request(blocks: Sequence[CountBlock], allowed: float) -> bool:
    if not all(block.base_agrees and len(block.bases) > 1 for block in blocks):
        return False
    if sum(_log_chance_of_agreement(block.bases[0], block.bases[1]) for block in blocks) > math.log(CHANCE):
        return False
    return all(_is_more_throughout(block.bases[0], head, allowed) for block in blocks for head in block.heads)


def _is_more_throughout(base: Histogram, head: Histogram, allowed: float) -> bool:
    """Whether ranks say that the head takes more, and a request or two that take otherwise could not make it so."""
    if _requests(head) != _requests(base):  # one is missing, and all ranks beyond it have moved
        return False
    more, less = moved(base, head, allowed)
    gained = (mean_of(head) - mean_of(base) - allowed) * _requests(head)
    widest = base[-1][0] - base[0][0]
    return more >= max(LEAST_SHARE, BEYOND_NOISE * less) and gained >= FEWEST * widest


def _requests(histogram: Sequence[tuple[float, int]]) -> int:
    return sum(count for _, count in histogram)


def _above(histogram: Histogram, value: float) -> int:
    return sum(count for each, count in histogram if each > value + SAME)


def _share_above(histogram: Histogram, value: float) -> float:
    return _above(histogram, value) / _requests(histogram)


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)


def _chance(head_above: int, head: int, base_above: int, base: int) -> float:
    """That of `head + base` requests drawn as equals so many of those that are above, or more, are the head's."""
    above, total = head_above + base_above, head + base
    return sum(
        math.exp(_log_choose(above, own) + _log_choose(total - above, head - own) - _log_choose(total, head))
        for own in range(head_above, min(head, above) + 1)
    )


def _log_chance_of_agreement(one: Histogram, other: Histogram) -> float:
    """Of requests that are divided among two launches at random: that each gets as many of every kind as here."""
    counts = dict(other)
    together = sum(_log_choose(count + counts[value], count) for value, count in one)
    return together - _log_choose(_requests(one) + _requests(other), _requests(one))
