"""Sentences made from a run's verdict and figures, for the terminal and the report alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from harness.domain.evidence import RunInfo
from harness.domain.experiment import Cell, Slo
from harness.domain.verdict import CellSummary, EndpointSummary, Recommendation, Report, Verdict, WhyNot
from harness.present.numbers import UNKNOWN, interval, number, percent

MANY_WAIT = 0.2
"""Share of a latency from which on waiting for a connection is worth naming as its cause."""


def verdict_text(report: Report) -> str:
    """What the run comes to, in a few sentences: what to run with and why, or why nothing is named."""
    summary, info = report.summary, report.info
    cells = {cell.cell.id: cell for cell in summary.cells}
    valid = [cell for cell in summary.cells if cell.valid]
    verdict = summary.verdict
    if verdict.state == "nothing_complete":
        return "Nothing is measured yet: no launch is complete."
    if verdict.state == "all_invalid":
        return "Nothing can be concluded: the measurement is invalid in every launch; the certificates say why."
    parts = [
        _headline(verdict, cells, valid, info),
        *_against_others(verdict, cells),
        *_overwhelmed(valid, info),
        _slo(verdict, cells, valid, info),
        _visible(verdict, valid),
        _unknown(summary.cells, valid),
        "This holds for this machine and this load.",
    ]
    return " ".join(part for part in parts if part)


def _headline(verdict: Verdict, cells: Mapping[str, CellSummary], valid: Sequence[CellSummary], info: RunInfo) -> str:
    load = load_text([cell.cell for cell in valid], info)
    if verdict.cell_id is None:
        return f"No setting can be recommended {load}: {_why_none(valid)}."
    pick = cells[verdict.cell_id]
    named, measured = settings_text(pick.cell), f"{p95_text(pick.all)} {load}"
    match verdict.state:
        case "no_choice":
            return f"{named}: {measured}, with nothing to compare it to.{_cause(pick)}"
        case "different_loads":
            return "The cells carry different loads, so they are not compared and none is recommended."
        case "one_launch":
            return (
                f"{named} came out fastest, {measured}, but one launch tells no difference apart: run at least three."
            )
        case "undecided":
            return f"{_undecided(verdict.recommendation, pick, measured)}{_cause(pick)}"
        case _:
            return f"Run with {named}: {measured}{_shown(verdict.recommendation, cells)}.{_cause(pick)}"


def _why_none(valid: Sequence[CellSummary]) -> str:
    kinds = (
        ("saturated by it", [cell for cell in valid if cell.saturated]),
        ("failing", [cell for cell in valid if cell.failing and not cell.saturated]),
        (
            "measured while their queues still grew, so that their latency is higher in the long run",
            [cell for cell in valid if cell.from_empty and not cell.saturated and not cell.failing],
        ),
        (
            "breaking the SLO",
            [c for c in valid if c.slo == "not_met" and not (c.saturated or c.failing or c.from_empty)],
        ),
    )
    total = len(valid)
    named = [f"{len(of)} of {total} cells are {what}" if total > 1 else f"it is {what}" for what, of in kinds if of]
    return " and ".join(named) or "no cell has a latency to judge by"


def _shown(recommendation: Recommendation | None, cells: Mapping[str, CellSummary]) -> str:
    """Why the recommended one was chosen."""
    if recommendation is None or recommendation.slowdown_at_most is None:
        return ""
    sizes = {other.size for other in (*recommendation.larger, *recommendation.not_larger) if other.eligible}
    own = cells[recommendation.recommended or ""].cell.connection_ceiling
    margin = _percent(recommendation.margin)
    bound = _percent(max(0.0, recommendation.slowdown_at_most))
    if sizes <= {math.inf if own is None else float(own)}:
        return f"; it is shown to be at most {bound} slower than every other one (up to {margin} would do)"
    return (
        f"; it is the smallest that is shown to be at most {margin} slower than every other one (it is at most {bound})"
    )


def _undecided(recommendation: Recommendation | None, pick: CellSummary, measured: str) -> str:
    margin = _percent(0.0 if recommendation is None else recommendation.margin)
    launches = None if recommendation is None else recommendation.launches_to_decide
    decide = (
        f"about {launches} launches of each would decide (design.launches = {launches})"
        if launches is not None
        else "more launches alone would hardly decide it"
    )
    return (
        f"No size is recommended: {pick.all.launches} launches do not show any to be at most {margin} slower than "
        f"every other one. {settings_text(pick.cell)} came out best, {measured}; {decide}."
    )


def _cause(pick: CellSummary) -> str:
    """How much of the latency is spent waiting for a connection, and how full the pool is."""
    if math.isnan(pick.all.pool_share):
        return ""
    use = "" if math.isnan(pick.pool_used_share) else f", and {_percent(pick.pool_used_share)} of its pool is in use"
    return f" It waits for a connection in {_percent(pick.all.pool_share)} of its latency{use}."


def _against_others(verdict: Verdict, cells: Mapping[str, CellSummary]) -> Iterator[str]:
    """What more connections would buy, and why fewer are not enough."""
    recommendation = verdict.recommendation
    if recommendation is None or recommendation.recommended is None:
        return
    own = cells[recommendation.recommended].cell.connection_ceiling or 0
    for other in recommendation.larger[-1:]:
        if other.gain_at_most is not None and other.gain_at_most > -1:
            more = "any number of" if math.isinf(other.size) else f"{other.size - own:.0f}"
            buys = max(0.0, other.gain_at_most / (1 + other.gain_at_most))
            yield (
                f"{more[:1].upper()}{more[1:]} more connections ({settings_text(cells[other.cell_id].cell)}) "
                f"lower p95 by at most {_percent(buys)}."
            )
    smaller = [other for other in recommendation.not_larger if other.eligible and other.size < own]
    for other in smaller[-1:]:
        yield _too_small(other, cells[other.cell_id])


def _too_small(other: WhyNot, cell: CellSummary) -> str:
    slower = "an unknown share" if other.slowdown_at_most is None else _percent(other.slowdown_at_most)
    apart = "is slower" if other.told_apart else "is not told apart, but not shown to be good enough either"
    return f"{settings_text(cell.cell)} {apart}: it may be up to {slower} slower."


def _overwhelmed(valid: Sequence[CellSummary], info: RunInfo) -> Iterator[str]:
    """Cells that could not carry the load, and what they carried."""
    for cell in [cell for cell in valid if cell.saturated][:3]:
        rate = rate_rps(cell.cell, info)
        of = "" if rate is None else f" of {number(rate)}"
        yield f"{settings_text(cell.cell)} saturates: it answers {number(cell.all.carried_rps)}{of} a second well."
    for cell in [cell for cell in valid if cell.failing and not cell.saturated][:3]:
        yield f"With {settings_text(cell.cell)} {_percent(cell.all.error_rate)} of the arrivals fail."


def _slo(verdict: Verdict, cells: Mapping[str, CellSummary], valid: Sequence[CellSummary], info: RunInfo) -> str:
    slo = info.experiment.slo
    if not slo.is_given or verdict.cell_id is None:
        return ""
    promise = promise_text(slo)
    match cells[verdict.cell_id].slo:
        case "met":
            return f"It meets the SLO ({promise})."
        case "unclear":
            return f"Whether it meets the SLO ({promise}) is unclear: more launches would tell."
        case _:
            meeting = [settings_text(cell.cell) for cell in valid if cell.slo == "met"]
            others = f"; {listed(meeting)} would" if meeting else ""
            return f"It does not meet the SLO ({promise}){others}."


def _visible(verdict: Verdict, valid: Sequence[CellSummary]) -> str:
    least = verdict.smallest_visible
    if least is None or least < 0.01:
        return ""
    launches = min(cell.all.launches for cell in valid)
    return f"With {launches} launches, differences in p95 from about {_percent(round(least, 2))} on are told apart."


def _unknown(cells: Sequence[CellSummary], valid: Sequence[CellSummary]) -> str:
    missing = len(cells) - len(valid)
    return f"Nothing is known of {missing} of {len(cells)} cells, which have no valid launch." if missing else ""


def settings_text(cell: Cell) -> str:
    """The varied settings of a cell: "driver asyncpg, pool_size 5"; its label when nothing is varied."""
    named = [f"{key.rsplit('.', 1)[-1]} {_value(value)}" for key, value in cell.factors]
    return ", ".join(named) or cell.label


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def rate_rps(cell: Cell, info: RunInfo) -> float | None:
    """The arrivals a second that a cell is offered; None in the closed model."""
    if cell.load.model == "closed":
        return None
    return cell.load.rate_rps if cell.load.rate_rps is not None else info.rate_rps


def load_text(cells: Sequence[Cell], info: RunInfo) -> str:
    """The load that the cells share, as "at 300 arrivals/s of mixed"."""
    loads = {(cell.load.model, rate_rps(cell, info), cell.load.users, cell.load.scenario) for cell in cells}
    if len(loads) != 1:
        return "under its own load"
    model, rate, users, scenario = next(iter(loads))
    if model == "closed":
        return f"with {users} users of {scenario} (closed: latency from send)"
    return f"at {'an unknown number of' if rate is None else f'{rate:g}'} arrivals/s of {scenario}"


def p95_text(figures: EndpointSummary) -> str:
    """The p95 with its interval, or why there is none."""
    value = f"p95 {number(figures.p95_ms.value)} ms"
    bounds = interval(figures.p95_ms)
    if bounds != UNKNOWN:
        return f"{value} (95 % interval {bounds} ms over {figures.launches} launches)"
    return f"{value} (one launch, so no interval)" if figures.launches == 1 else f"{value} (interval unknown)"


def promise_text(slo: Slo) -> str:
    """The SLO as "p95 at most 50 ms, at most 1 % failed"."""
    limits = (("p50", slo.p50_ms), ("p95", slo.p95_ms), ("p99", slo.p99_ms))
    parts = [f"{name} at most {limit:g} ms" for name, limit in limits if limit is not None]
    failed = [] if slo.error_rate is None else [f"at most {_percent(slo.error_rate)} failed"]
    return ", ".join([*parts, *failed])


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a row, the many cut short: "a; b and 3 more"."""
    more = len(names) - most
    return "; ".join(names) if more <= 0 else f"{'; '.join(names[:most])} and {more} more"


def _percent(share: float) -> str:
    """A share in whole per cent from ten on, else with two digits, and its sign."""
    value = 100 * share
    text = f"{value:.0f}" if value >= 10 or value == 0 else percent(share)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
