"""What one launch of a side says to a gate, and what the launches of two sides say together.

Sides are compared block by block: a block has one launch of each side, hot together, with the same arrivals and tasks.
The head is held against the mean of the base's two launches, which takes an eighth off the noise; the two bases against
each other show what nothing at all looks like. Sides that were measured apart are compared by Welch's test instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from harness.analyse.exact_counts import COUNTED
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS, Metric, raised_by
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure, Figures
from harness.domain.strategy import Outcome

WORST_LOG = math.log(10)
"""A figure that failed counts as ten times the other side's: of infinity there is no mean."""
Sides = Mapping[str, Mapping[int, Outcome]]
"""arm -> block -> its launch that counts"""


def figures_of(launch: LaunchFigures, wanted: Iterable[tuple[str, str]]) -> Figures:
    """Of one launch each wanted (metric, endpoint); of an exact metric and "*" those of each endpoint and status."""
    found: dict[str, dict[str, Figure]] = {}
    for name, endpoint in wanted:
        metric = METRICS[name]
        endpoints = _counted(launch) if metric.exact and endpoint == ALL else [endpoint]
        found.setdefault(name, {}).update({own: _figure(metric, launch, own) for own in endpoints})
    return found


def _counted(launch: LaunchFigures) -> list[str]:
    """Endpoints with a status behind them, as the probe counts; those without are their sums."""
    return [name for name in launch.exact if name.rpartition(" ")[2].isdigit() and name.count(" ") > 1]


def _figure(metric: Metric, launch: LaunchFigures, endpoint: str) -> Figure:
    raised, leg = raised_by(metric, launch, endpoint)
    taken = launch.taken.get(endpoint, {}).get(metric.name)
    return Figure(value=metric.of(launch, endpoint), raised=raised, leg=leg, taken=taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Head against base: a mean over launches with its standard error, on a scale where more is worse."""

    base: float
    head: float
    effect: float
    sd: float
    """of what one block says; NaN with one"""
    blocks: int
    freedom: float
    raised_head: float
    """by how much the instrument can have raised the head's figure alone, at most; 0 where differences are compared"""
    raised_base: float
    both_failed: int = 0
    """blocks beside these in which no side has a figure: what they would say of the effect is not known"""

    @property
    def error(self) -> float:
        """Standard error of the effect."""
        return self.sd / math.sqrt(self.blocks) if self.blocks > 1 else math.nan

    def bound(self, confidence: float, *, upper: bool) -> float:
        """Return the effect's one-sided bound, with what the instrument can have added taken in."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.freedom, confidence)) * self.error
        return self.effect + half + self.raised_base if upper else self.effect - half - self.raised_head


def sides_of(outcomes: Iterable[Outcome]) -> Sides:
    """The launches that count by arm and block: the fresh one where a sitting was measured again."""
    sides: dict[str, dict[int, Outcome]] = {BASE: {}, BASE_AGAIN: {}, HEAD: {}}
    for own in outcomes:
        if not own.broken and own.figures and own.launch.cell.arm in sides:
            sides[own.launch.cell.arm][own.launch.block] = own
    return sides


def contrast(sides: Sides, metric: Metric, endpoint: str, *, paired: bool) -> Contrast | None:
    """Compare a metric of the two sides; None where a side has no figure."""
    log = not metric.may_be_nothing
    values = {
        arm: {block: value for block, own in launches.items() if (value := _value(own, metric, endpoint, log=log))}
        for arm, launches in sides.items()
    }
    if not values[HEAD] or not (values[BASE] or values[BASE_AGAIN]):
        return None
    return _paired(values, metric, log=log) if paired else _apart(values, metric, log=log)


def noise_of(sides: Sides, metric: Metric) -> float | None:
    """sd of the log of one launch's figure, from base against base; None with fewer than two blocks of both."""
    pairs = [
        (figure(one, metric.name, ALL), figure(sides[BASE_AGAIN][block], metric.name, ALL))
        for block, one in sides[BASE].items()
        if block in sides[BASE_AGAIN]
    ]
    logs = [math.log(one.value / two.value) for one, two in pairs if one and two and _sound(one) and _sound(two)]
    # equal sides: the ratio is 1 by construction, so nothing is lost on estimating its mean
    return math.sqrt(fmean(log * log for log in logs) / 2) if len(logs) > 1 else None


def figure(outcome: Outcome, metric: str, endpoint: str) -> Figure | None:
    """One launch's figure, None where it has none."""
    found = outcome.figures.get(metric, {}).get(endpoint)
    return None if found is None or math.isnan(found.value) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    y: float
    """the figure, or its log"""
    raised: float
    leg: float


def _value(outcome: Outcome, metric: Metric, endpoint: str, *, log: bool) -> _Value | None:
    found = figure(outcome, metric.name, endpoint)
    if found is None or (log and found.value < 0):
        return None
    if not log:
        return _Value(y=found.value, raised=0.0, leg=0.0)
    y = math.log(found.value) if found.value > 0 else -math.inf
    return _Value(y=y, raised=found.raised, leg=found.leg)


def _sound(found: Figure) -> bool:
    return 0 < found.value < math.inf


def _paired(values: Mapping[str, Mapping[int, _Value]], metric: Metric, *, log: bool) -> Contrast | None:
    blocks, both_failed = [], 0
    for block, head in values[HEAD].items():
        bases = [values[arm][block] for arm in (BASE, BASE_AGAIN) if block in values[arm]]
        if bases and all(math.isinf(own.y) and own.y > 0 for own in (head, *bases)):
            both_failed += 1
        elif bases:
            blocks.append((head, bases))
    if not blocks:
        return None
    differences = [_difference(head.y, fmean(own.y for own in bases)) for head, bases in blocks]
    heads, bases = [head for head, _ in blocks], [own for _, several in blocks for own in several]
    found = _contrast(
        heads,
        bases,
        metric,
        log=log,
        effect=fmean(differences),
        sd=float(np.std(differences, ddof=1)) if len(differences) > 1 else math.nan,
        blocks=len(differences),
        freedom=len(differences) - 1,
    )
    return replace(found, both_failed=both_failed)


def _apart(values: Mapping[str, Mapping[int, _Value]], metric: Metric, *, log: bool) -> Contrast | None:
    """Welch (1947): each side has a spread of its own, and degrees of freedom to match."""
    heads = list(values[HEAD].values())
    bases = [*values[BASE].values(), *values[BASE_AGAIN].values()]
    if any(math.isinf(own.y) for own in (*heads, *bases)):
        return None
    ys = [np.array([own.y for own in side]) for side in (heads, bases)]
    variances = [float(np.var(y, ddof=1)) / len(y) if len(y) > 1 else math.nan for y in ys]
    total = sum(variances)
    freedom = 1.0
    if total > 0:
        freedom = total**2 / sum(part**2 / (len(y) - 1) for part, y in zip(variances, ys, strict=True) if len(y) > 1)
    blocks = min(map(len, ys))
    return _contrast(
        heads,
        bases,
        metric,
        log=log,
        effect=_difference(float(ys[0].mean()), float(ys[1].mean())),
        sd=math.sqrt(total * blocks) if total >= 0 else math.nan,
        blocks=blocks,
        freedom=freedom if total > 0 else float(sum(map(len, ys)) - 2),
    )


def _contrast(
    heads: Sequence[_Value],
    bases: Sequence[_Value],
    metric: Metric,
    *,
    log: bool,
    effect: float,
    sd: float,
    blocks: int,
    freedom: float,
) -> Contrast:
    back: Callable[[float], float] = math.exp if log else float
    # of the leg as large a part is real on the one side as on the other
    more_leg = fmean(own.leg for own in heads) - fmean(own.leg for own in bases)
    raised_head = fmean(own.raised for own in heads) + max(0.0, more_leg)
    raised_base = fmean(own.raised for own in bases) + max(0.0, -more_leg)
    worse = 1.0 if metric.lower_is_better else -1.0
    return Contrast(
        base=_back(back, [own.y for own in bases]),
        head=_back(back, [own.y for own in heads]),
        effect=worse * effect,
        sd=sd,
        blocks=blocks,
        freedom=freedom,
        raised_head=raised_head if worse > 0 else raised_base,
        raised_base=raised_base if worse > 0 else raised_head,
    )


def _back(back: Callable[[float], float], ys: Sequence[float]) -> float:
    mean = fmean(ys)
    return math.inf if math.isinf(mean) and mean > 0 else back(mean)


def _difference(head: float, base: float) -> float:
    """Head less base; what failed on one side alone counts as ten times the other's."""
    if math.isinf(head) or math.isinf(base):
        return 0.0 if head == base else math.copysign(WORST_LOG, head - base if not math.isinf(head) else head)
    return head - base


EXACT = tuple(f"{name}_per_request" for name in COUNTED)
