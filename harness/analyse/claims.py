"""Whether what a claim expects was seen: in each context by itself, at 99 % for the claim as a whole.

Ratios are compared by their logarithms, in one fit of all cells of the run (`compare`): they share what they show of
the noise. Figures that may be 0 are compared by their difference, from the launches of the cells in question alone; a
share of requests is also known no better than by the requests that were counted (of n without a failure -ln(1 - c) / n
may fail). Where all launches have the same figure, as exact counts do, there is no noise: the interval is the figure.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from harness.analyse.compare import Comparison, compare
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.analyse.metrics import METRICS, Metric, metric_named, raised_by
from harness.domain.cell import Cell
from harness.domain.claims import (
    CONFIDENCE,
    LEAST_LAUNCHES,
    Answer,
    ClaimCell,
    Expected,
    Holds,
    InContext,
    Judged,
    Point,
    Recording,
    Scale,
    Settled,
    Term,
    Why,
    expected_of,
)
from harness.domain.evidence import Run
from harness.domain.experiment import Experiment
from harness.errors import UsageError

ALIKE = 1e-9
"""Exact figures that differ by less differ by rounding."""
MOST_LAUNCHES = 1000
"""More are no advice."""
LARGEST_LOG = 700.0
"""beyond it there is no float"""


def check_claim(experiment: Experiment) -> None:
    """Refuse a claim that cannot be judged.

    Raises:
        UsageError: what it expects is no comparison, or names a metric or an arm that there is not, or compares
            figures in a way that has no interval; or it has too few launches.
    """
    for expected in expected_of(experiment.claim):
        for term in expected.terms:
            metric_named(term.metric)
            if term.arm not in experiment.arms:
                raise UsageError(
                    f"claim.expect names an arm {term.arm!r} that there is not.",
                    next_step=f"Its arms are {', '.join(experiment.arms) or 'none: write [arms.NAME]'}.",
                )
        _check_form(expected)
    if experiment.design.launches < LEAST_LAUNCHES:
        raise UsageError(
            f"A claim needs {LEAST_LAUNCHES} launches of each cell, not {experiment.design.launches}.",
            next_step=f"Set design.launches = {LEAST_LAUNCHES}.",
        )


def _check_form(expected: Expected) -> None:
    left, right = expected.left, expected.right
    if right is None:
        return
    metric = METRICS[left.metric]
    if (left.metric, left.endpoint) != (right.metric, right.endpoint):
        one, other = (f"{term.metric} of {term.endpoint}" for term in expected.terms)
        raise UsageError(
            f"claim.expect compares {one} with {other}.", next_step="Compare one metric of one endpoint, of two arms."
        )
    if expected.number is not None and not (metric.exact or metric.may_be_nothing):
        raise UsageError(
            f"claim.expect subtracts {metric.name}, which is compared by its ratio.",
            next_step=f"Write it as {metric.name}({left.arm}) > 1.2 * {metric.name}({right.arm}).",
        )


def recorded(run: Run, seconds: float) -> Recording:
    """All that the answer of a claim's run rests on."""
    experiment, info = run.info.experiment, run.info
    launches = measure_launches(run).counted
    wanted = dict.fromkeys((term.metric, term.endpoint) for own in expected_of(experiment.claim) for term in own.terms)
    return Recording(
        claim=experiment.claim,
        name=experiment.name,
        run_id=info.run_id,
        measured_utc=info.created_utc,
        seconds=seconds,
        launches=experiment.design.launches,
        cells=tuple(_cell(cell, experiment) for cell in info.cells),
        points=tuple(_point(own, METRICS[name], endpoint) for own in launches for name, endpoint in wanted),
        not_applied=tuple(dict.fromkeys(own.cell_id for own in launches if own.not_applied)),
        environment=info.environment,
        poolbench_version=info.poolbench_version,
    )


def _cell(cell: Cell, experiment: Experiment) -> ClaimCell:
    several = any(len(values) > 1 for values in experiment.matrix.values())
    return ClaimCell(id=cell.id, arm=cell.arm, context=cell.label.removeprefix(f"{cell.arm}, ") if several else "")


def _point(launch: LaunchFigures, metric: Metric, endpoint: str) -> Point:
    raised, leg = raised_by(metric, launch, endpoint)
    of = launch.by_endpoint.get(endpoint)
    return Point(
        cell=launch.cell_id,
        block=launch.block,
        metric=metric.name,
        endpoint=endpoint,
        value=float(metric.of(launch, endpoint)),
        raised=raised,
        leg=leg,
        requests=0 if of is None else of.requests,
    )


def settle(recording: Recording) -> Settled:
    """What a claim comes to, by what was recorded of its run."""
    expected = expected_of(recording.claim)
    contexts = dict.fromkeys(cell.context for cell in recording.cells)
    judge = _Judge(recording, confidence=1 - (1 - CONFIDENCE) / (len(contexts) * len(expected)))
    found = tuple(_in_context(context, [judge.judged(own, context) for own in expected]) for context in contexts)
    confirmed = [own.context for own in found if own.answer == "confirmed"]
    refuted = [own.context for own in found if own.answer == "refuted"]
    if confirmed and refuted:
        return Settled(answer="depends", contexts=found, opposite=(confirmed[0], refuted[0]))
    answer: Answer = "inconclusive"
    if len(confirmed) == len(found):
        answer = "confirmed"
    elif len(refuted) == len(found):
        answer = "refuted"
    return Settled(answer=answer, contexts=found)


def _in_context(context: str, judged: Sequence[Judged]) -> InContext:
    """All comparisons have to hold; one that does not is enough to refute."""
    held = {own.holds for own in judged}
    answer: Answer = "refuted" if "no" in held else "confirmed" if held == {"yes"} else "inconclusive"
    return InContext(context=context, answer=answer, judged=tuple(judged))


class _Judge:
    """Judges the comparisons of one recording; each metric is fitted once."""

    def __init__(self, recording: Recording, *, confidence: float) -> None:
        self._confidence = confidence
        self._recording = recording
        self._cells = {(cell.context, cell.arm): cell.id for cell in recording.cells}
        self._fits: dict[tuple[str, str], Comparison] = {}

    def judged(self, expected: Expected, context: str) -> Judged:
        """One comparison in one context."""
        ids = [self._cells[context, term.arm] for term in expected.terms]
        points = [self._points(own, term) for own, term in zip(ids, expected.terms, strict=True)]
        values = [[point.value for point in own] for own in points]
        extremes = [_extreme(own) for own in values]
        metric, subtracted = METRICS[expected.left.metric], expected.right is not None and expected.number is not None
        # of a rate that is 0 there is no ratio, and a difference says as much
        linear = metric.may_be_nothing or subtracted or (-1 in extremes and not {1, None} & set(extremes))
        scale: Scale = "figure" if expected.right is None else "difference" if linear else "ratio"
        nan, bound = math.nan, _back(_bound(expected, linear=linear), linear=linear)
        open_ = Judged(expected=expected, holds="open", scale=scale, value=nan, low=nan, high=nan, bound=bound)
        if why := self._unusable(ids, values):
            return replace(open_, why=why)
        if not linear and extremes != [0] * len(extremes):
            return self._of_failures(open_, extremes, [len(own) for own in values])
        return self._by_interval(open_, ids, points, linear=linear)

    def _unusable(self, ids: Sequence[str], values: Sequence[Sequence[float]]) -> Why:
        if set(ids) & set(self._recording.not_applied):
            return "not_applied"
        if any(len(own) < LEAST_LAUNCHES for own in values):
            return "few_launches"
        return "unknown" if any(math.isnan(value) for own in values for value in own) else ""

    def _by_interval(
        self, open_: Judged, ids: Sequence[str], points: Sequence[Sequence[Point]], *, linear: bool
    ) -> Judged:
        expected = open_.expected
        fit = self._of_these(expected, ids, points) if linear else self._of_all(expected.left)
        interval = fit.own_at(ids[0], self._confidence)
        if len(ids) > 1:
            interval = fit.difference_at(ids[1], ids[0], self._confidence)
        noise, counting = 0.0 if _agree(points) else interval.half, self._counting(expected, points)
        half = noise + counting
        low, high = interval.value - half - interval.raised, interval.value + half + interval.raised_other
        if math.isnan(half):
            return replace(open_, value=_back(interval.value, linear=linear), why="few_launches")
        if linear and expected.right is None:
            low = max(0.0, low)  # no figure is less than nothing
        bound = _bound(expected, linear=linear)
        lower, upper = (low - bound, high - bound) if expected.greater else (bound - high, bound - low)
        slack = ALIKE if expected.or_equal else -ALIKE
        judged = replace(
            open_,
            holds="yes" if lower > -slack else "no" if upper < -slack else "open",
            value=_back(interval.value, linear=linear),
            low=_back(low, linear=linear),
            high=_back(high, linear=linear),
        )
        if judged.holds != "open":
            return judged
        above, below = interval.value - interval.raised - bound, bound - interval.value - interval.raised_other
        room = max(above, below)
        if room <= 0 < abs(interval.value - bound):
            return replace(judged, why="instrument")
        return replace(judged, why="noise", launches_needed=self._needed(noise, counting, interval.freedom, room))

    def _needed(self, noise: float, counting: float, freedom: float, room: float) -> int | None:
        """With how many launches the interval would not reach the bound, if figure and noise stay as they are.

        Args:
            noise: the interval's half width that launches account for, with `freedom` degrees of freedom.
            counting: the rest of it, that the number of requests does.
            room: from the figure to the bound, on the same scale, less what the instrument can have done.

        Returns:
            None where it would take more than 1000, or no number is enough.
        """
        from scipy.special import stdtrit

        now, quantile = self._recording.launches, (1 + self._confidence) / 2

        def enough(launches: int) -> bool:
            critical = stdtrit(freedom * (launches - 1) / (now - 1), quantile) / stdtrit(freedom, quantile)
            return bool(noise * critical * math.sqrt(now / launches) + counting * now / launches <= room)

        if not enough(MOST_LAUNCHES):
            return None
        return bisect_left(range(MOST_LAUNCHES), True, lo=now + 1, key=enough)

    def _of_failures(self, open_: Judged, extremes: Sequence[int | None], launches: Sequence[int]) -> Judged:
        """Of a percentile that failed there is no ratio. If every launch of one side does and none of the other, chance
        is left with one order of the launches in many."""
        by_chance = 2 * 0.5 ** launches[0] if len(launches) == 1 else 2 / math.comb(sum(launches), launches[0])
        fails = [extreme == 1 for extreme in (*extremes, 0)][:2]
        if None in extremes or fails[0] == fails[1] or by_chance > 1 - self._confidence:
            return replace(open_, why="failed")
        edge = math.inf if fails[0] else 0.0
        holds: Holds = "yes" if fails[0] == open_.expected.greater else "no"
        return replace(open_, holds=holds, value=edge, low=edge, high=edge)

    def _points(self, cell: str, term: Term) -> list[Point]:
        wanted = (cell, term.metric, term.endpoint)
        return [own for own in self._recording.points if (own.cell, own.metric, own.endpoint) == wanted]

    def _counting(self, expected: Expected, points: Sequence[Sequence[Point]]) -> float:
        """By how much a share of requests can be off because only so many were counted, where launches agree on it."""
        if expected.left.metric != "error_rate":
            return 0.0
        of = [
            sum(point.requests for point in own) / term.factor for own, term in zip(points, expected.terms, strict=True)
        ]
        return sum(-math.log((1 - self._confidence) / 2) / count if count else math.inf for count in of)

    def _of_all(self, term: Term) -> Comparison:
        """Ratios of all cells that have a figure in each launch."""
        key = (term.metric, term.endpoint)
        if key not in self._fits:
            by_cell = {cell.id: self._points(cell.id, term) for cell in self._recording.cells}
            sound = {
                cell: own for cell, own in by_cell.items() if own and all(0 < point.value < math.inf for point in own)
            }
            self._fits[key] = compare(
                {cell: {point.block: math.log(point.value) for point in own} for cell, own in sound.items()},
                instrument={cell: fmean(point.raised for point in own) for cell, own in sound.items()},
                leg={cell: fmean(point.leg for point in own) for cell, own in sound.items()},
            )
        return self._fits[key]

    @staticmethod
    def _of_these(expected: Expected, ids: Sequence[str], points: Sequence[Sequence[Point]]) -> Comparison:
        """The difference of two cells, or one cell's own figures; others do not share their noise, as one shows nothing
        where another shows much."""
        scaled = zip(ids, expected.terms, points, strict=True)
        return compare({cell: {own.block: term.factor * own.value for own in of} for cell, term, of in scaled})


def _agree(points: Sequence[Sequence[Point]]) -> bool:
    """Whether all launches of each cell have the same figure, as counts do: there is no noise then."""
    return all(point.value == own[0].value for own in points for point in own)


def _extreme(values: Sequence[float]) -> int | None:
    """1 where all of them failed, -1 where all are 0, 0 where none does either, None where launches differ in that."""
    kinds = {1 if value == math.inf else -1 if value <= 0 else 0 for value in values}
    return kinds.pop() if len(kinds) == 1 else None


def _bound(expected: Expected, *, linear: bool) -> float:
    """What the comparison holds its figure against, on the scale of the fit."""
    if linear:
        return expected.number or 0.0
    against = expected.number if expected.right is None else expected.right.factor
    share = (against or 0.0) / expected.left.factor
    return math.log(share) if share else -math.inf


def _back(value: float, *, linear: bool) -> float:
    if linear:
        return value
    return math.exp(value) if value < LARGEST_LOG else math.inf


def agreed(answers: Sequence[Answer]) -> Answer:
    """What several runs of one claim come to: their answer where they have the same, else nothing."""
    return answers[0] if len(set(answers)) == 1 else "inconclusive"
