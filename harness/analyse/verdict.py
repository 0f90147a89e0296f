"""The verdict: which settings to run with, and how sure that is, in sentences made from the figures alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analyse import words
from harness.analyse.launches import Launches
from harness.domain.evidence import RunInfo
from harness.domain.verdict import CellSummary


def conclude(cells: Sequence[CellSummary], launches: Launches, info: RunInfo) -> str:
    """Says what to run with, at which p95 and load, what could not be told apart, and where it holds.

    Args:
        cells: best first, as ranked.
        launches: those that count and those that do not.
        info: the experiment and its rate.
    """
    valid = [summary for summary in cells if summary.valid]
    if not valid:
        return _nothing(launches)
    load = words.load([summary.cell for summary in valid], info)
    if math.isinf(valid[0].all.p95_ms.value):
        return _all_failing(valid, load)
    leaders = [summary for summary in valid if summary.rank == valid[0].rank]
    pick = valid[0] if _single(leaders) else _pick(leaders)
    parts = [
        _headline(pick, leaders, valid, load),
        _slo(pick, valid, info),
        _saturated(valid),
        _resolution(valid),
        _unknown(cells, valid),
    ]
    scope = "This holds for this machine and this load."
    return " ".join(part for part in (*parts, scope) if part)


def _nothing(launches: Launches) -> str:
    if not launches.excluded:
        return "Nothing is measured yet: no launch is complete."
    count = len(launches.excluded)
    return f"Nothing can be concluded: the measurement is invalid in all {count} launches ({launches.why_excluded})."


def _all_failing(valid: Sequence[CellSummary], load: str) -> str:
    least = min(valid, key=lambda summary: summary.all.error_rate)
    where = "in every cell" if len(valid) > 1 else f"with {words.settings(least.cell)}"
    fewest = f", fewest with {words.settings(least.cell)}" if len(valid) > 1 else ""
    return (
        f"Nothing to run with: {load}, more than 5 % of what was offered failed {where} "
        f"({words.percent(least.all.error_rate)}{fewest}). Lower the load and run again, or look at the errors first."
    )


def _pick(leaders: Sequence[CellSummary]) -> CellSummary:
    """Of those that cannot be told apart: one that meets the SLO, then the one that needs the fewest connections."""
    return min(leaders, key=lambda summary: (summary.slo_met is not True, _ceiling(summary)))


def _ceiling(summary: CellSummary) -> float:
    ceiling = summary.cell.connection_ceiling
    return math.inf if ceiling is None else ceiling


def _single(leaders: Sequence[CellSummary]) -> bool:
    """Whether cells tie only because one of them has a single launch."""
    return len(leaders) > 1 and min(summary.all.launches for summary in leaders) == 1


def _headline(pick: CellSummary, leaders: Sequence[CellSummary], valid: Sequence[CellSummary], load: str) -> str:
    named = words.settings(pick.cell)
    measured = f"{words.p95(pick.all)} {load}"
    if len(valid) == 1:
        return f"{named}: {measured}, with nothing to compare it to."
    if _single(leaders):
        return f"{named} came out fastest, {measured}, but one launch tells no difference apart: run at least three."
    return f"Run with {named}: {measured}; {_tie(pick, leaders) if pick.tied else _next(valid)}."


def _tie(pick: CellSummary, leaders: Sequence[CellSummary]) -> str:
    names = words.listed([words.settings(other.cell) for other in leaders if other is not pick])
    same = f"{pick.all.launches} launches do not tell it apart from {names}"
    ceilings = {_ceiling(summary) for summary in leaders}
    if len(ceilings) == 1:
        return f"{same}, which may open as many connections, so the fastest is named"
    limit = f"at most {_ceiling(pick):.0f} connections"
    if _ceiling(pick) > min(ceilings):
        return f"{same}, and of these it is the smallest that meets the SLO ({limit})"
    return f"{same}, and none of these gets by with fewer ({limit})"


def _next(valid: Sequence[CellSummary]) -> str:
    second = valid[1]
    named = words.settings(second.cell)
    if second.versus_best is None or not math.isfinite(second.versus_best.value):
        return f"next is {named}, where more than 5 % of what was offered failed"
    ratio = words.number(second.versus_best.value)
    return f"next is {named} with {ratio} times that (95 % interval {words.interval(second.versus_best)})"


def _slo(pick: CellSummary, valid: Sequence[CellSummary], info: RunInfo) -> str:
    if not info.experiment.slo.is_given:
        return ""
    promise = words.promise(info.experiment.slo)
    if pick.slo_met:
        return f"It meets the SLO ({promise})."
    meeting = [words.settings(summary.cell) for summary in valid if summary.slo_met]
    others = f"{words.listed(meeting)} would" if meeting else "nor does any other" if len(valid) > 1 else ""
    return f"It does not meet the SLO ({promise}){'; ' if others else ''}{others}."


def _saturated(valid: Sequence[CellSummary]) -> str:
    full = [words.settings(summary.cell) for summary in valid if summary.all.dropped > 0]
    return f"Saturated, so that arrivals had to be dropped: {words.listed(full)}." if full else ""


def _resolution(valid: Sequence[CellSummary]) -> str:
    """The difference in p95 that a typical comparison of this run would have shown."""
    ratios = [summary.versus_best for summary in valid if summary.versus_best is not None]
    widths = sorted(ratio.high / ratio.value for ratio in ratios if math.isfinite(ratio.high))
    least = widths[len(widths) // 2] - 1 if widths else 0.0
    if least < 0.01:
        return ""
    launches = valid[0].all.launches
    apart = words.percent(round(least, 2))
    return f"With {launches} launches a typical comparison here shows differences in p95 from about {apart} on."


def _unknown(cells: Sequence[CellSummary], valid: Sequence[CellSummary]) -> str:
    missing = len(cells) - len(valid)
    return f"Nothing is known of {missing} of {len(cells)} cells, which have no valid launch." if missing else ""
