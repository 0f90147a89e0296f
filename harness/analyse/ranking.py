"""Cells in order, and which of them the launches tell apart.

Order: cells that carried their load before those that failed, those before the ones that it saturated, cells without a
valid launch last. Within the first kind by p95 of what was offered; among the others by the rate they answered well,
since the latency of what cannot keep up says only how long the load went on. Ties are pairs, not groups: a cell names
those that it is not told apart from. With one launch nothing is told apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from itertools import combinations

from harness.analyse.compare import Comparison
from harness.domain.verdict import CellSummary, Pair


class Kind(IntEnum):
    """What a cell's figures are good for, best first."""

    SOUND = 0
    FAILING = 1
    SATURATED = 2
    INVALID = 3


def kind_of(summary: CellSummary) -> Kind:
    if not summary.valid:
        return Kind.INVALID
    if summary.saturated:
        return Kind.SATURATED
    return Kind.SOUND if math.isfinite(summary.all.p95_ms.value) else Kind.FAILING


def ranked(
    cells: Sequence[CellSummary], by_p95: Comparison, by_carried: Comparison
) -> tuple[tuple[CellSummary, ...], tuple[Pair, ...]]:
    """The cells, best first, with places and ties; and every pair of valid ones.

    Args:
        cells: as summarised, in any order.
        by_p95: of the log p95 of the cells whose latency is one.
        by_carried: of the log of the rate answered well, of the others.
    """
    ordered = sorted(cells, key=_order)
    pairs = tuple(
        _pair(one, other, by_p95, by_carried) for one, other in combinations([c for c in ordered if c.valid], 2)
    )
    ties: dict[str, list[str]] = {summary.cell.id: [] for summary in ordered}
    for pair in pairs:
        if not pair.told_apart:
            ties[pair.first].append(pair.second)
            ties[pair.second].append(pair.first)
    to_best = {pair.second: pair for pair in pairs if pair.first == ordered[0].cell.id and math.isfinite(pair.ratio)}
    return tuple(
        replace(summary, rank=place, ties=tuple(ties[summary.cell.id]), versus_best=to_best.get(summary.cell.id))
        for place, summary in enumerate(ordered, start=1)
    ), pairs


def _order(summary: CellSummary) -> tuple[Kind, float, float]:
    kind = kind_of(summary)
    figures = summary.all
    first = figures.p95_ms.value if kind == Kind.SOUND else -figures.carried_rps
    return kind, _last_if_nan(first), _last_if_nan(figures.p50_ms.value)


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _pair(one: CellSummary, other: CellSummary, by_p95: Comparison, by_carried: Comparison) -> Pair:
    """Two valid cells. Of cells of different kinds, or of those that cannot keep up, there is no ratio of latencies."""
    first, second = one.cell.id, other.cell.id
    kinds = kind_of(one), kind_of(other)
    if kinds == (Kind.SOUND, Kind.SOUND):
        return by_p95.pair(first, second)
    if kinds[0] == kinds[1]:
        apart = {first, second} <= {*by_carried.cells} and by_carried.pair(first, second).told_apart
    else:
        apart = min(one.all.launches, other.all.launches) > 1
    return Pair(first=first, second=second, ratio=math.nan, low=None, high=None, told_apart=apart)
