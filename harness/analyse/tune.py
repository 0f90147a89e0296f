"""How the smallest size that is good enough is found: a bisection by few launches, then a race of fresh ones.

*Search.* The smallest, the middle and the largest size are looked at, then what lies between the largest that is too
slow and the smallest that is not, halving each time; the best so far is launched beside every look, since only what
shares a block is compared. A size is dropped, with all below it, when it is surely more than the margin slower than
the best. Whether a larger or smaller size than the best seen is better still is looked at as well.

*Race.* Fresh launches, of the smallest size that may be good enough and of the best: what was chosen for its figures is
not judged by them. It is *shown* to be good enough when an upper bound of its slowdown lies within the margin, which
is looked at after 6, 9, 13, ... blocks, each time at a level that keeps all looks together within 5 % (Pocock 1977,
Biometrika 64:191). While it cannot be shown within the blocks there are, the next larger size joins.

What lets sizes be left out unseen is that latency falls with size, and rises again where a pool is too large: one
valley, and no second. Its figures are held against an exhaustive grid in `python -m benchmarks tune`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from harness.analyse.arrays import Floats
from harness.analyse.two_way import fit_two_way
from harness.domain.tune import Answer, Carried, Look, Race, Seen, TuneStop

CHECKS = (6, 9, 13, 18, 25, 36)
"""blocks of a race after which it is judged; at 0.014 each a size exactly at the margin passes in 4 to 5 % of races"""
CHECK_LEVEL = 0.014
DROP_LEVEL = 0.06
"""of a search's look, at which a size is too slow; the smallest good one is lost in at most one of twenty searches"""
GOOD_LEVEL = 0.1
"""of a search's look, at which a size near the margin is looked at no more, since it seems good enough"""
SEARCH_LOOKS = 5
"""at a size whose figure is near the margin"""
FAILED = 2
"""launches of a size that have to fail before it counts as one that does"""
FAILS_AS_OFTEN, FAILS_MORE = 0.1, 0.3
"""share of its launches by which a size may fail more often than the best and still be as good, or surely is not"""
LATE = 0.5
"""share of the blocks from which on a size that is shown is the answer, though a smaller one may be shown later"""
BEYOND_LOOKS = 2
"""at sizes larger than the best seen, whether one is better still"""
GIVES_UP_FROM = 9
"""blocks before which no race ends without an answer"""
HOPELESS = 4.0
"""times the blocks there are, that a size would take to be shown, beyond which it gives way to a larger one"""
SLO_BLOCKS = 5
"""fresh launches that have to meet the SLO, one after the other"""
EXPECTED_WEIGHT = 3.0
"""degrees of freedom that the expected noise counts for"""
POWER_SD = 0.8
"""standard errors of reserve in what a size would take to be shown: four of five races succeed"""


def climb(race: Race) -> Generator[Look, Seen, Answer]:
    """Ask for a look, be told what was seen, and so on; the answer is what it returns in the end.

    The same looks lead to the same questions, so a run that was cut is told what it had seen and goes on.
    """
    if race.by_slo:
        return (yield from _smallest_meeting_slo(race))
    searched = yield from _search(race)
    return searched if isinstance(searched, Answer) else (yield from _race(race, searched))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Sizes against each other, by all looks that are given."""

    effect: Mapping[int, float]
    """log of the figure, up to a constant, by the launches that carried the load; infinite where most did not"""
    launches: Mapping[int, int]
    failed: Mapping[int, int]
    """of these, how many did not carry the load"""
    solve: Mapping[int, Floats]
    variance: float
    freedom: float
    raised: Mapping[int, float]
    """by how much the instrument can have raised the figure by itself"""
    leg: Mapping[int, float]
    """and beyond that the way there and back, of which as much is real at one size as at another"""

    def slower(self, place: int, than: int) -> float:
        if place == than:
            return 0.0
        return self.effect[place] - self.effect[than] if math.isfinite(self.effect[place]) else math.inf

    def sd(self, place: int, than: int) -> float:
        """Standard error of that."""
        if place == than or math.inf in {self.effect[place], self.effect[than]}:
            return 0.0
        apart = self.solve[place] - self.solve[than]
        return math.sqrt(self.variance * float(apart @ apart))

    def surely_fails(self, place: int) -> bool:
        """Whether most of its launches did not carry the load: one may have met a neighbour."""
        return self.failed[place] >= FAILED and math.isinf(self.effect[place])

    def fails_more(self, place: int, than: int, share: float) -> bool:
        """Whether it fails more often than another by more than this share of its launches."""
        return self.failed[place] - self.failed[than] > share * self.launches[place]

    def half(self, place: int, than: int, level: float) -> float:
        """How far a one-sided bound of the slowdown lies from it."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - level)) * self.sd(place, than)

    def at_least(self, place: int, than: int, level: float) -> float:
        return self.slower(place, than) - self.half(place, than, level) - self.added(place, than)

    def at_most(self, place: int, than: int, level: float) -> float:
        return self.slower(place, than) + self.half(place, than, level) + self.added(than, place)

    def added(self, one: int, other: int) -> float:
        """By how much it can have raised the figure of `one` against that of `other`."""
        return self.raised[one] + max(0.0, self.leg[one] - self.leg[other]) if one != other else 0.0


def standing_of(seen: Sequence[Seen], noise_sd: float) -> Standing:
    """Fit sizes and blocks to all looks; the noise is what is left, and a little of what was expected of it."""
    launches: dict[int, dict[int, Carried]] = {}
    for block, look in enumerate(seen):
        for place, own in look.carried.items():
            launches.setdefault(place, {})[block] = own
    carried = {
        place: {block: own.log_ms for block, own in by_block.items() if math.isfinite(own.log_ms)}
        for place, by_block in sorted(launches.items())
    }
    whole = {place: logs for place, logs in carried.items() if 2 * len(logs) > len(launches[place])}
    fit = fit_two_way(list(whole.values()))
    freedom = fit.freedom + EXPECTED_WEIGHT
    return Standing(
        effect=dict.fromkeys(launches, math.inf) | dict(zip(whole, map(float, fit.effect), strict=True)),
        launches={place: len(by_block) for place, by_block in launches.items()},
        failed={place: len(by_block) - len(carried[place]) for place, by_block in launches.items()},
        solve=dict(zip(whole, fit.solve, strict=True)),
        variance=float(np.sum(fit.residual**2) + EXPECTED_WEIGHT * noise_sd**2) / freedom,
        freedom=freedom,
        raised={place: fmean(own.raised for own in by_block.values()) for place, by_block in launches.items()},
        leg={place: fmean(own.leg for own in by_block.values()) for place, by_block in launches.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Searched:
    """What a race begins with."""

    entrant: int | None
    """the smallest size that may be good enough; None where no other than the reference carries the load"""
    reference: int
    """what it is held against: the best, or where the entrant is the best itself, the next larger one"""
    dropped: frozenset[int]


def _search(race: Race) -> Generator[Look, Seen, _Searched | Answer]:
    margin = math.log1p(race.margin)
    seen = [(yield Look(places=tuple(sorted({0, (race.sizes - 1) // 2, race.sizes - 1})), phase="search"))]
    beyond = 0
    while True:
        now = standing_of(seen, race.noise_sd)
        looks = now.launches
        best = min(now.effect, key=lambda place: (now.effect[place], -place))
        if math.isinf(now.effect[best]):
            unseen = tuple(place for place in range(race.sizes) if looks.get(place, 0) < FAILED)
            if not unseen:
                return Answer(stop="nothing_carries", place=None, best=None, dropped=frozenset(looks))
            seen.append((yield Look(places=unseen, phase="search")))
            continue
        slow = max((own for own in looks if own < best and _too_slow(now, own, best, margin, DROP_LEVEL)), default=-1)
        slow = max(slow, min(best, max(look.floor for look in seen)) - 1)
        candidate = min(own for own in looks if slow < own <= best and now.slower(own, best) <= margin)
        unsure = [own for own in looks if slow < own < candidate]
        below = max(unsure, default=slow)
        near = [own for own in (*unsure, candidate) if now.at_most(own, best, GOOD_LEVEL) > margin]
        wanted = {own for own in near if looks[own] < SEARCH_LOOKS}
        if candidate - below > 1:
            wanted.add((candidate + below) // 2)
        above = min((own for own in looks if own > best), default=best)
        if above - best > 1 and beyond < BEYOND_LOOKS:
            wanted.add((above + best) // 2)
            beyond += 1
        if not wanted:
            dropped = frozenset(range(slow + 1))
            if candidate != best:
                return _Searched(entrant=candidate, reference=best, dropped=dropped)
            carrying = [own for own in looks if math.isfinite(now.effect[own])]
            if (larger := min((own for own in carrying if own > best), default=None)) is not None:
                return _Searched(entrant=best, reference=larger, dropped=dropped)
            smaller = max((own for own in carrying if own < best), default=None)
            return _Searched(entrant=smaller, reference=best, dropped=dropped)
        seen.append((yield Look(places=tuple(sorted({*wanted, best})), phase="search")))


def _race(race: Race, searched: _Searched) -> Generator[Look, Seen, Answer]:
    margin, reference = math.log1p(race.margin), searched.reference
    entrants = set[int]() if searched.entrant is None else {searched.entrant}
    dropped, seen = set(searched.dropped), list[Seen]()
    checks = {*(check for check in CHECKS if check < race.blocks), race.blocks}
    over = False
    while not over:
        seen.append((yield Look(places=tuple(sorted({*entrants, reference})), phase="race")))
        if (blocks := len(seen)) not in checks:
            continue
        now = standing_of(seen, race.noise_sd)
        raced = now.effect.keys() - {reference}
        slow = {own for own in entrants if _too_slow(now, own, reference, margin, CHECK_LEVEL)}
        entrants, dropped = entrants - slow, dropped | slow
        shown = min((own for own in raced if _good_enough(now, own, reference, margin)), default=None)
        if shown is not None and (not any(own < shown for own in entrants) or blocks >= LATE * race.blocks):
            return Answer(stop="shown", place=shown, best=reference, dropped=frozenset(dropped))
        nearest = max(entrants, default=None)
        following = 1 + max((own for own in raced if own < reference), default=reference)
        needed = {own: _blocks_needed(now, own, reference, margin, blocks) for own in entrants}
        entrants = {own for own in entrants if own == nearest or needed[own] < HOPELESS * race.blocks}
        looks = math.inf if nearest is None else needed[nearest]
        if looks > race.blocks and following < reference:
            entrants.add(following)
        elif nearest is None or (looks > HOPELESS * race.blocks and blocks >= GIVES_UP_FROM):
            over = True
        over = over or blocks == race.blocks or now.surely_fails(reference)
    rivals = [own for own in raced if math.isfinite(now.effect[own])]
    well = math.isfinite(now.effect[reference]) and all(_good_enough(now, reference, own, margin) for own in rivals)
    place = reference if well else None
    stop: TuneStop = "not_shown" if place is None else "shown"
    by_launches = replace(now, raised=dict.fromkeys(now.raised, 0.0), leg=dict.fromkeys(now.leg, 0.0))
    would = any(_good_enough(by_launches, own, reference, margin) for own in rivals)
    return Answer(
        stop=stop,
        place=place,
        best=reference,
        dropped=frozenset(dropped),
        instrument=place is None and would,
    )


def _good_enough(now: Standing, place: int, than: int, margin: float) -> bool:
    """Whether a size is shown to be: no more than the margin slower, and failing no more often."""
    return now.at_most(place, than, CHECK_LEVEL) <= margin and not now.fails_more(place, than, FAILS_AS_OFTEN)


def _too_slow(now: Standing, place: int, than: int, margin: float, level: float) -> bool:
    """Whether a size surely is not."""
    if math.isinf(now.effect[place]) or math.isinf(now.effect[than]):
        return now.surely_fails(place)
    fails = now.failed[place] >= FAILED + now.failed[than] and now.fails_more(place, than, FAILS_MORE)
    return fails or now.at_least(place, than, level) > margin


def _blocks_needed(now: Standing, place: int, than: int, margin: float, blocks: int) -> float:
    """After how many blocks a size would be shown to be good enough, if its figure stays as it is."""
    room = margin - now.slower(place, than) - now.added(than, place)
    if room <= 0:
        return math.inf
    return blocks * ((now.half(place, than, CHECK_LEVEL) + POWER_SD * now.sd(place, than)) / room) ** 2


def _smallest_meeting_slo(race: Race) -> Generator[Look, Seen, Answer]:
    """Bisect by whether a launch meets the SLO, then let fresh launches of the smallest that does agree, all of them.

    Where one does not, the next larger size is tried.
    """
    met: dict[int, bool] = {}
    look = Look(places=tuple(sorted({0, (race.sizes - 1) // 2, race.sizes - 1})), phase="search")
    while True:
        seen = yield look
        met |= {place: math.isfinite(own.log_ms) for place, own in seen.carried.items()}
        met |= dict.fromkeys(range(min(seen.floor, *seen.carried)), False)
        candidate = min((place for place, well in met.items() if well), default=None)
        below = max(
            (place for place, well in met.items() if not well and place < (candidate or race.sizes)), default=-1
        )
        if candidate is None:
            unseen = tuple(place for place in range(race.sizes) if place not in met)
            if not unseen:
                return Answer(stop="nothing_carries", place=None, best=None, dropped=frozenset(met))
            look = Look(places=unseen, phase="search")
        elif candidate - below > 1:
            look = Look(places=((candidate + below) // 2,), phase="search")
        else:
            break
    dropped = set(range(candidate))
    for place in range(candidate, race.sizes):
        for _ in range(min(SLO_BLOCKS, race.blocks)):
            seen = yield Look(places=(place,), phase="race")
            if math.isinf(seen.carried[place].log_ms):
                dropped.add(place)
                break
        else:
            return Answer(stop="shown", place=place, best=None, dropped=frozenset(dropped))
    return Answer(stop="not_shown", place=None, best=None, dropped=frozenset(dropped))
