"""What a run comes to: which setting to run with, or why none is named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.analyse.applied import CEILING, CONNECTIONS
from harness.analyse.compare import Comparison
from harness.analyse.ranking import Kind, kind_of
from harness.analyse.recommend import Candidate, recommend
from harness.domain.evidence import RunInfo
from harness.domain.verdict import CellSummary, State, Verdict


def conclude(cells: Sequence[CellSummary], by_p95: Comparison, info: RunInfo) -> Verdict:
    """Recommend the smallest setting that was shown to be good enough, where anything was.

    A cell that fails or broke down, that its load saturates, whose queue had not settled, or that surely breaks its SLO
    is never recommended.

    Args:
        cells: best first, as ranked.
        by_p95: of the log p95 of those whose latency is one.
        info: the experiment and its margin.
    """
    valid = [summary for summary in cells if summary.valid]
    if not valid:
        state: State = "all_invalid" if any(summary.invalid_launches for summary in cells) else "nothing_complete"
        return Verdict(state=state, cell_id=None, recommendation=None, smallest_visible=None)
    first = next((summary.cell.id for summary in valid if is_eligible(summary)), None)
    uncompared = _without_choice(valid)
    if uncompared is not None:
        return Verdict(state=uncompared, cell_id=first, recommendation=None, smallest_visible=None)
    recommendation = recommend([_candidate(summary) for summary in valid], by_p95, info.experiment.design.margin)
    if first is not None and [kind_of(summary) for summary in valid].count(Kind.SOUND) == 1:
        alone = replace(recommendation, recommended=first)
        return Verdict(state="only_one", cell_id=first, recommendation=alone, smallest_visible=None)
    return Verdict(
        state="recommended" if recommendation.recommended else "undecided",
        cell_id=recommendation.recommended or recommendation.best,
        recommendation=recommendation,
        smallest_visible=by_p95.smallest_visible,
    )


def is_eligible(summary: CellSummary) -> bool:
    """Whether a cell may be recommended at all, if its latency is good enough."""
    sound = kind_of(summary) == Kind.SOUND
    return (
        sound and not summary.failing and not summary.broke_down and not summary.from_empty and summary.slo != "not_met"
    )


def _without_choice(valid: Sequence[CellSummary]) -> State | None:
    """Why the cells are not compared, if they are not."""
    if any(takes_no_effect(summary, key) for summary in valid for key, _ in summary.cell.factors):
        return "not_applied"
    if len(valid) == 1:
        return "no_choice"
    if len({repr(summary.cell.load) for summary in valid}) > 1:
        return "different_loads"
    if min(summary.all.launches for summary in valid) == 1:
        return "one_launch"
    return None


def takes_no_effect(summary: CellSummary, key: str) -> bool:
    """Whether the cell's service has not the cell's value of this setting, so far as that shows.

    More connections than there may be say so only where nothing else says what the pools are: a service may hold one
    beside its pool.
    """
    unseen = key in CEILING and CONNECTIONS in summary.not_applied and not summary.applied.get(key)
    return key in summary.not_applied or unseen


def _candidate(summary: CellSummary) -> Candidate:
    ceiling = summary.cell.decided_ceiling
    return Candidate(
        cell_id=summary.cell.id,
        size=math.inf if ceiling is None else float(ceiling),
        eligible=is_eligible(summary),
    )
