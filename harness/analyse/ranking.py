"""Cells in order, and which of them the launches cannot tell apart.

Order: by p95 of what was offered (failures are infinitely slow), then by error rate, then by p50; cells without a
valid launch come last. A cell shares the rank of that rank's first cell when the 95 % t interval of the log ratio of
their p95, paired by block, includes no difference. Pairing by block is right in both designs: launches of a block ran
close in time, so that the machine's drift is in both. With one launch everything is tied: it tells nothing apart.

Two cells that both fail in more than 5 % of the arrivals have no ratio; their error rates are compared instead. One
that fails is never tied with one that does not: failing is no noise of the launch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.analyse.arrays import Floats
from harness.analyse.estimate import half_width, paired_logs, paired_ratio
from harness.analyse.launches import LaunchFigures
from harness.domain.verdict import CellSummary, Estimate

Blocks = Mapping[int, LaunchFigures]


def ranked(cells: Sequence[CellSummary], launches: Sequence[LaunchFigures]) -> tuple[CellSummary, ...]:
    """The cells, best first, with rank, ties and ratio to the best."""
    blocks = {summary.cell.id: _by_block(summary, launches) for summary in cells}
    ordered = sorted(cells, key=_order)
    ranks: list[int] = []
    leader = 0
    for place, summary in enumerate(ordered):
        if place and _told_apart(ordered[leader], summary, blocks):
            leader = place
        ranks.append(leader + 1)
    return tuple(
        replace(summary, rank=rank, tied=ranks.count(rank) > 1, versus_best=_versus(ordered[0], summary, blocks))
        for summary, rank in zip(ordered, ranks, strict=True)
    )


def _by_block(summary: CellSummary, launches: Sequence[LaunchFigures]) -> Blocks:
    return {launch.block: launch for launch in launches if launch.cell_id == summary.cell.id}


def _order(summary: CellSummary) -> tuple[bool, float, float, float]:
    p95_ms, error_rate, p50_ms = summary.all.p95_ms.value, summary.all.error_rate, summary.all.p50_ms.value
    return not summary.valid, _last_if_nan(p95_ms), _last_if_nan(error_rate), _last_if_nan(p50_ms)


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _versus(best: CellSummary, other: CellSummary, blocks: Mapping[str, Blocks]) -> Estimate | None:
    if other is best or not other.valid:
        return None
    return paired_ratio(_p95(blocks[best.cell.id]), _p95(blocks[other.cell.id]))


def _told_apart(leader: CellSummary, other: CellSummary, blocks: Mapping[str, Blocks]) -> bool:
    if leader.valid != other.valid:
        return True
    fails, also_fails = (math.isinf(summary.all.p95_ms.value) for summary in (leader, other))
    if fails != also_fails:
        return True
    base, compared = blocks[leader.cell.id], blocks[other.cell.id]
    differences = _error_differences(base, compared) if fails else paired_logs(_p95(base), _p95(compared))
    # one pair has no interval: the comparison with NaN is false, a tie
    return len(differences) > 0 and abs(float(np.mean(differences))) > half_width(differences)


def _p95(blocks: Blocks) -> dict[int, float]:
    return {block: launch.p95_ms for block, launch in blocks.items()}


def _error_differences(base: Blocks, other: Blocks) -> Floats:
    return np.array([other[block].all.error_rate - base[block].all.error_rate for block in base if block in other])
