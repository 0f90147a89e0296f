"""Which size to run with: the smallest that was shown to be good enough, never the smallest that merely ties.

"Good enough" is a slowdown against every other cell whose upper bound lies within the margin. The bounds of all cells
against whichever is truly the best hold at once, so a size that is slower than the best by more than the margin is
recommended in at most 5 % of runs, however many sizes there are and whichever of them is looked at first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse.compare import Comparison
from harness.domain.verdict import Recommendation, WhyNot


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A cell that could be run with."""

    cell_id: str
    size: float
    """most connections it may open; infinite where nothing limits it"""
    eligible: bool
    """neither failing nor saturated, and no SLO is surely broken"""


def recommend(candidates: Sequence[Candidate], comparison: Comparison, margin: float) -> Recommendation:
    """Recommend the smallest eligible size shown to be at most `margin` slower than every other cell with a figure.

    With one cell nothing is recommended: there is nothing it was shown to be good enough against.

    Args:
        candidates: every cell of the run; those without a figure in the comparison are not eligible, whatever they say.
        comparison: of the figure that decides, all cells that have it, eligible or not.
        margin: the slowdown that is accepted, as a share: 0.25 is 25 %.
    """
    figures = dict(zip(comparison.cells, comparison.figure, strict=True))
    ordered = sorted(candidates, key=lambda own: (own.size, figures.get(own.cell_id, math.inf), own.cell_id))
    eligible = [own for own in ordered if own.eligible and own.cell_id in figures]
    slowdowns = {cell: _slowdown(cell, comparison) for cell in comparison.cells}
    recommended = next((own for own in eligible if _within(slowdowns[own.cell_id], margin)), None)
    by_launches = comparison.without_instrument()
    instrument = recommended is None and any(_within(_slowdown(own.cell_id, by_launches), margin) for own in eligible)
    best = min(eligible, key=lambda own: figures[own.cell_id], default=None)
    pick = recommended or best
    others = [_why_not(own, pick, slowdowns.get(own.cell_id), comparison) for own in ordered if own is not pick]
    size = math.inf if pick is None else pick.size
    waiting = [] if recommended else [own.cell_id for own in eligible]
    return Recommendation(
        margin=margin,
        recommended=recommended.cell_id if recommended else None,
        best=best.cell_id if best else None,
        slowdown_at_most=slowdowns[recommended.cell_id][0] if recommended else None,
        larger=tuple(other for other in others if other.size > size),
        not_larger=tuple(other for other in others if other.size <= size),
        instrument=instrument,
        launches_to_decide=comparison.launches_until(waiting, margin),
    )


_Slowdown = tuple[float | None, str | None]
"""At most this share slower than any other cell, and than which it may be; None where nothing can be said."""


def _slowdown(cell: str, comparison: Comparison) -> _Slowdown:
    worst, against = -math.inf, None
    for other in comparison.cells:
        if other == cell:
            continue
        bound = comparison.slowdown_at_most(cell, than=other)
        if bound is None:
            return None, other
        if bound > worst:
            worst, against = bound, other
    return (None, None) if against is None else (worst, against)


def _within(slowdown: _Slowdown, margin: float) -> bool:
    return slowdown[0] is not None and slowdown[0] <= margin


def _why_not(own: Candidate, pick: Candidate | None, slowdown: _Slowdown | None, comparison: Comparison) -> WhyNot:
    bound, against = slowdown or (None, None)
    both = slowdown is not None and pick is not None
    return WhyNot(
        cell_id=own.cell_id,
        size=own.size,
        eligible=own.eligible and slowdown is not None,
        slowdown_at_most=bound,
        against=against,
        gain_at_most=comparison.slowdown_at_most(pick.cell_id, than=own.cell_id) if both and pick else None,
        told_apart=both and pick is not None and comparison.pair(pick.cell_id, own.cell_id).told_apart,
    )
