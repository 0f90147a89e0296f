"""A run of `poolbench tune`: its ladders, what its launches led to, and what came out.

Each key that the matrix varies is a ladder of its own, climbed in the file's order: those before it stand at what was
found, those behind it at their largest, so that they do not bind meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.analyse.budget import weigh
from harness.analyse.capacity import result_of
from harness.analyse.endpoint_figures import SHARES
from harness.analyse.findings import FAILING_SHARE
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.analyse.metrics import METRICS, raised_by
from harness.analyse.priors import prior_of
from harness.analyse.tune import CHECK_LEVEL, Standing, climb, standing_of
from harness.domain.budget import SERVICE, Fleet, Service
from harness.domain.cell import Cell
from harness.domain.evidence import Run
from harness.domain.experiment import Experiment, ProbeUser, Slo
from harness.domain.profile import MachineProfile
from harness.domain.rate import rate_share
from harness.domain.strategy import Outcome
from harness.domain.tune import Answer, Asked, Carried, Look, Race, Seen, SizeFigures, TunedLadder, Tuning, WhyNotSize

NOISE_SD = 0.13
"""of the log of a launch's p95 where nothing is known of the machine (the reference service, 12 s a launch)"""
FLOOR_SHARE = 0.8
"""of the connections that are in use on average with the largest pool: with fewer each would have to be held shorter"""
BROKEN_IN_A_ROW = 2
P95 = METRICS["p95_ms"]


def carried_of(launch: LaunchFigures, experiment: Experiment) -> Carried:
    """How a launch carried its load; by an SLO, whether it met it.

    What fails more than anybody would accept, is offered more than it can carry, or has a queue that had not found its
    length, is no size to run with, however quick its first answers were.
    """
    allowed = experiment.slo.error_rate
    slo, probe_user = (experiment.slo, experiment.probe_user) if by_slo(experiment) else (Slo(), ProbeUser())
    result, _ = result_of(launch, slo, probe_user)
    figures = launch.all
    p95_ms = figures.quantiles_ms[SHARES.index(0.95)]
    well = result == "pass" and figures.error_rate <= (FAILING_SHARE if allowed is None else allowed)
    raised, leg = raised_by(P95, launch)
    return Carried(
        log_ms=math.log(p95_ms) if well and 0 < p95_ms < math.inf else math.inf,
        in_use=launch.pool_used_mean,
        raised=raised,
        leg=leg,
    )


def by_slo(experiment: Experiment) -> bool:
    """Whether what meets the SLO is good enough, instead of what is near the best."""
    promised = bool(experiment.slo.promised) or experiment.probe_user.slo.is_given
    return experiment.tune.good_enough == "slo" or (experiment.tune.good_enough == "auto" and promised)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The values of one key, smallest first, all others as they are meanwhile."""

    key: str
    cells: tuple[Cell, ...]
    over_budget: tuple[Cell, ...]
    """larger ones, whose fleet does not fit"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbed:
    """How far a ladder was climbed."""

    ladder: Ladder
    blocks: tuple[int, ...]
    seen: tuple[Seen, ...]
    """in these blocks"""
    answer: Answer | None

    @property
    def reference(self) -> int | None:
        """The size that all are held against."""
        return None if self.answer is None else self.answer.best

    def looks(self, place: int) -> list[tuple[int, Seen]]:
        """Return the blocks that had a launch of a size, with what was seen in them."""
        return [own for own in zip(self.blocks, self.seen, strict=True) if place in own[1].carried]


def next_launches(
    experiment: Experiment, cells: Sequence[Cell], profile: MachineProfile | None, done: Sequence[Outcome]
) -> Asked | None:
    """What to launch after these launches, pilots left out; None where all ladders have an answer, or one has none."""
    return _replayed(experiment, cells, profile, done)[0]


def _replayed(
    experiment: Experiment, cells: Sequence[Cell], profile: MachineProfile | None, done: Sequence[Outcome]
) -> tuple[Asked | None, list[Climbed]]:
    """Climb ladder after ladder by what the launches showed; a block in which an instrument failed is no look."""
    by_block: dict[int, dict[str, Outcome]] = {}
    for outcome in done:
        by_block.setdefault(outcome.launch.block, {})[outcome.launch.cell.id] = outcome
    climbs, found, block = list[Climbed](), dict[str, Any](), 1
    for key in tuned_keys(experiment):
        ladder = _ladder(experiment, cells, key, found)
        story, blocks, seen, broken = climb(_race_of(experiment, ladder, profile)), list[int](), list[Seen](), 0
        asked, answer = next(story), None
        while answer is None:
            wanted = [ladder.cells[place] for place in asked.places]
            own = by_block.get(block, {})
            if missing := tuple(cell for cell in wanted if cell.id not in own):
                climbs.append(Climbed(ladder=ladder, blocks=tuple(blocks), seen=tuple(seen), answer=None))
                return Asked(block=block, cells=missing), climbs
            if any(outcome.broken for outcome in own.values()):
                broken += 1
                if broken == BROKEN_IN_A_ROW:
                    answer = Answer(stop="instrument", place=None, best=None)
            else:
                broken = 0
                blocks.append(block)
                seen.append(_seen(ladder, asked, own))
                try:
                    asked = story.send(seen[-1])
                except StopIteration as ended:
                    answer = ended.value
            block += 1
        climbs.append(Climbed(ladder=ladder, blocks=tuple(blocks), seen=tuple(seen), answer=answer))
        if answer.place is None:
            break
        found[key] = _value(ladder.cells[answer.place], key)
    return None, climbs


def tuned_keys(experiment: Experiment) -> tuple[str, ...]:
    """The keys that the matrix varies, in the file's order."""
    return tuple(key for key, values in experiment.matrix.items() if len(values) > 1)


def _value(cell: Cell, key: str) -> int:
    return int(dict(cell.factors)[key])


def _ladder(experiment: Experiment, cells: Sequence[Cell], key: str, found: Mapping[str, int]) -> Ladder:
    others = {
        other: found.get(other, max(int(value) for value in experiment.matrix[other]))
        for other in tuned_keys(experiment)
        if other != key
    }
    own = [cell for cell in cells if all(_value(cell, other) == value for other, value in others.items())]
    own.sort(key=lambda cell: _value(cell, key))
    fitting = tuple(cell for cell in own if fits(experiment, cell))
    return Ladder(key=key, cells=fitting, over_budget=tuple(cell for cell in own if cell not in fitting))


def fits(experiment: Experiment, cell: Cell) -> bool:
    """Whether the connections of production's replicas fit its Postgres, if that is asked."""
    asked = experiment.tune
    if asked.replicas is None:
        return True
    service = Service(
        replicas=asked.replicas,
        workers=cell.target.workers,
        pool_size=cell.pool.pool_size,
        max_overflow=cell.pool.max_overflow,
        jobs=asked.jobs,
        surge=asked.surge,
    )
    return weigh(
        Fleet(max_connections=asked.max_connections, reserved=asked.reserved, services={SERVICE: service})
    ).fits


def _race_of(experiment: Experiment, ladder: Ladder, profile: MachineProfile | None) -> Race:
    prior = prior_of(profile, 0.95)
    return Race(
        sizes=len(ladder.cells),
        margin=rate_share(experiment.tune.margin) or 0.0,
        blocks=experiment.tune.blocks,
        noise_sd=NOISE_SD if prior is None else prior.sd,
        by_slo=by_slo(experiment),
    )


def _seen(ladder: Ladder, look: Look, own: Mapping[str, Outcome]) -> Seen:
    carried = {place: known for place in look.places if (known := own[ladder.cells[place].id].carried) is not None}
    in_use = [known.in_use for known in carried.values() if math.isfinite(known.log_ms) and math.isfinite(known.in_use)]
    ceilings = [cell.connection_ceiling for cell in ladder.cells]
    least = FLOOR_SHARE * max(in_use, default=0.0)
    return Seen(
        phase=look.phase,
        carried=carried,
        floor=sum(ceiling is not None and ceiling < least for ceiling in ceilings),
    )


def tuned(run: Run) -> Tuning:
    """What a run came to, so far as it is measured."""
    experiment, cells = run.info.experiment, run.info.cells
    launches = measure_launches(run)
    counted = {own.trial.id: own for own in launches.counted}
    done = [
        Outcome(
            launch=evidence.trial.launch,
            sitting=evidence.trial.sitting,
            broken=() if evidence.trial.id in counted else ("does_not_count",),
            carried=carried_of(counted[evidence.trial.id], experiment) if evidence.trial.id in counted else None,
        )
        for evidence in run.trials
    ]
    _, climbs = _replayed(experiment, cells, run.info.profile, done)
    by_launch = {(own.trial.launch.cell.id, own.block): own for own in counted.values()}
    ladders = tuple(_figures(climbed, by_launch, run) for climbed in climbs)
    answers = [own.ladder.cells[own.answer.place] for own in climbs if own.answer and own.answer.place is not None]
    recommended = answers[-1] if len(answers) == len(tuned_keys(experiment)) else None
    grid = sum(fits(experiment, cell) for cell in cells)
    often = sum(evidence.trial.launch.cell.id == recommended.id for evidence in run.trials) if recommended else 0
    return Tuning(
        ladders=ladders,
        recommended=recommended,
        by_slo=by_slo(experiment),
        margin=rate_share(experiment.tune.margin) or 0.0,
        launches=len(run.trials),
        grid=grid,
        grid_launches=grid * often if recommended else None,
        certificates=launches.certificates,
    )


def _figures(climbed: Climbed, by_launch: Mapping[tuple[str, int], LaunchFigures], run: Run) -> TunedLadder:
    ladder, answer, reference = climbed.ladder, climbed.answer, climbed.reference
    noise_sd = _race_of(run.info.experiment, ladder, run.info.profile).noise_sd
    fresh = [look for look in climbed.seen if look.phase == "race"]
    standings = [standing_of(looks, noise_sd) for looks in (fresh, climbed.seen) if looks]
    sizes = [_size(climbed, place, by_launch, standings) for place in range(len(ladder.cells))]
    over = [SizeFigures(cell=cell, value=_value(cell, ladder.key), why_not="budget") for cell in ladder.over_budget]
    return TunedLadder(
        key=ladder.key,
        stop=None if answer is None else answer.stop,
        answer=None if answer is None or answer.place is None else sizes[answer.place].value,
        reference=None if reference is None else sizes[reference].value,
        instrument=answer is not None and answer.instrument,
        sizes=tuple(sorted([*sizes, *over], key=lambda own: own.value)),
    )


def _size(
    climbed: Climbed,
    place: int,
    by_launch: Mapping[tuple[str, int], LaunchFigures],
    standings: Sequence[Standing],
) -> SizeFigures:
    """What the launches of a size came to, and how it stands to the reference in the first standing that has both."""
    cell, reference, looks = climbed.ladder.cells[place], climbed.reference, climbed.looks(place)
    launches = [by_launch[cell.id, block] for block, _ in looks]
    logs = [look.carried[place].log_ms for _, look in looks]
    standing = next((own for own in standings if place in own.effect and reference in own.effect), None)
    slowdown, low, high = math.nan, None, None
    if standing is not None and reference is not None and math.isfinite(slower := standing.slower(place, reference)):
        slowdown = math.expm1(slower)
        if place != reference:
            bounds = (standing.at_least, standing.at_most)
            low, high = (math.expm1(bound(place, reference, CHECK_LEVEL)) for bound in bounds)
    return SizeFigures(
        cell=cell,
        value=_value(cell, climbed.ladder.key),
        launches=len(launches),
        fresh=sum(look.phase == "race" for _, look in looks),
        p95_ms=math.exp(_mean_log(logs)),
        failed=sum(map(math.isinf, logs)),
        slowdown=slowdown,
        low=low,
        high=high,
        carried_rps=fmean(own.all.carried / own.seconds for own in launches) if launches else math.nan,
        connections_peak=max((own.connections.peak for own in launches), default=0),
        connections_mean=fmean(own.pool_used_mean for own in launches) if launches else math.nan,
        why_not=_why_not(climbed, place),
    )


def _mean_log(logs: Sequence[float]) -> float:
    """Of those that are finite, infinite unless most are, NaN of nothing."""
    finite = [log for log in logs if math.isfinite(log)]
    if 2 * len(finite) > len(logs):
        return fmean(finite)
    return math.inf if logs else math.nan


def _why_not(climbed: Climbed, place: int) -> WhyNotSize:
    """Why a size that fits the budget is not the answer; "" if it is."""
    answer, tried = climbed.answer, [look.carried[place] for _, look in climbed.looks(place)]
    if answer is not None and place == answer.place:
        return ""
    if tried and math.isinf(_mean_log([own.log_ms for own in tried])):
        return "fails"
    if not tried and place < max((look.floor for look in climbed.seen), default=0):
        return "floor"
    if answer is None or answer.stop == "instrument":
        return "not_reached"
    if place in answer.dropped:
        return "slower"
    return "not_shown" if answer.place is None or place < answer.place else "not_needed"
