"""Sentences made from a run's verdict and figures, for the terminal and the report alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from harness.domain.cell import Cell
from harness.domain.evidence import RunInfo, Version
from harness.domain.experiment import Experiment, Limits, Slo
from harness.domain.verdict import (
    Bounds,
    CellSummary,
    EndpointSummary,
    Failure,
    Pair,
    Recommendation,
    Report,
    Verdict,
    WhyNot,
)
from harness.present.gate_text import gate_text
from harness.present.numbers import UNKNOWN, interval, number, percent
from harness.present.resource_names import NAMES

PARTIAL = "This run is not complete: only the launches that are over are shown."
MOST_NAMED = 3
"""Cells that a sentence names one by one."""
TENFOLD = 9.0
"""A difference as a share beyond which a figure of how much can be told apart says nothing."""


def verdict_text(report: Report) -> str:
    """What the run comes to, in a few sentences: what to run with and why, or why nothing is named."""
    summary, info = report.summary, report.info
    cells = {cell.cell.id: cell for cell in summary.cells}
    valid = [cell for cell in summary.cells if cell.valid]
    verdict = summary.verdict
    if report.gate is not None and verdict.state not in {"nothing_complete", "all_invalid", "not_applied"}:
        return gate_text(report.gate, info.experiment.gate)
    if verdict.state == "nothing_complete":
        return "Nothing is measured yet: no launch is complete."
    if verdict.state == "all_invalid":
        if report.summary.coverage.excluded.keys() == {"nothing_sent"}:
            return "Nothing can be concluded: no launch sent a request."
        return "Nothing can be concluded: the measurement is invalid in every launch; the certificates say why."
    if verdict.state == "not_applied":
        return _not_applied(valid)
    parts = [
        _headline(verdict, cells, valid),
        _slo(verdict, cells, valid, info),
        *_against_others(report, cells),
        *_overwhelmed(valid),
        _visible(verdict, valid),
        _unknown(summary.cells, valid),
        _holds(summary.verdict, valid),
    ]
    return " ".join(part for part in parts if part)


def _holds(verdict: Verdict, valid: Sequence[CellSummary]) -> str:
    """What the figures hold for; where a service runs that was not started here is not known."""
    where = "this machine" if all(cell.cell.takes_settings for cell in valid) else "the service as it was set up"
    return f"This holds for {where} and {'these loads' if verdict.state == 'different_loads' else 'this load'}."


def _not_applied(valid: Sequence[CellSummary]) -> str:
    """Of each setting that the cells differ in and the service does not have: what was asked, and what it has."""
    asked: dict[str, list[object]] = {}
    found: dict[str, list[object]] = {}
    for cell in sorted(valid, key=lambda own: own.cell.id):
        for key, value in cell.cell.factors:
            asked.setdefault(key, []).append(value)
            found.setdefault(key, []).extend(cell.not_applied.get(key, ()))
    said = [
        f"{key} did not take effect: {', '.join(map(str, dict.fromkeys(asked[key])))} were asked for, the service has "
        f"{', '.join(map(str, dict.fromkeys(own)))}"
        for key, own in found.items()
        if own
    ]
    open_ = max((max(cell.not_applied.get("connections", (0,))) for cell in valid), default=0)
    no_queue = any(str(value).startswith("none (") for own in found.values() for value in own)
    another = ' pool.pool_class = "queue" gives it a pool that keeps connections.' if no_queue else ""
    return (
        f"Nothing can be concluded: {'; '.join(said) or _beyond(open_)}. Let the service take the setting from its "
        f"environment (docs/formats.md names the variables), and run again.{another}"
    )


def _beyond(connections: int) -> str:
    """Of a service whose pools nobody saw: its connections say that they are not what the cells have."""
    return f"up to {connections} connections were open, more than the pools of the experiment allow"


def _headline(verdict: Verdict, cells: Mapping[str, CellSummary], valid: Sequence[CellSummary]) -> str:
    if verdict.state == "different_loads":
        return "The cells carry different loads, so none is recommended: what differs is not their settings alone."
    load = load_text([cell.cell for cell in valid])
    if verdict.cell_id is None:
        none = f"{settings_text(valid[0].cell)} cannot" if len(valid) == 1 else "No setting can"
        return f"{none} be recommended {load}: {_why_none(valid)}."
    return _about(cells[verdict.cell_id], load, verdict, cells, valid)


def _about(
    pick: CellSummary, load: str, verdict: Verdict, cells: Mapping[str, CellSummary], valid: Sequence[CellSummary]
) -> str:
    named, measured = settings_text(pick.cell), f"{p95_text(pick.all)} {load}"
    match verdict.state:
        case "no_choice":
            return f"{named}: {measured}, with nothing to compare it to.{_cause(pick)}"
        case "one_launch":
            return f"{_fastest(pick, valid)}, {measured}, but {_one_launch(valid)}: run at least three of each."
        case "undecided":
            return f"{_undecided(verdict.recommendation, pick, valid, measured)}{_cause(pick)}"
        case "only_one":
            return f"Run with {named}, the only one of {len(valid)} that carries the load: {measured}.{_cause(pick)}"
        case _:
            return f"Run with {named}: {measured}{_shown(verdict.recommendation, cells)}.{_cause(pick)}"


def _why_none(valid: Sequence[CellSummary]) -> str:
    """What speaks against each of the valid cells, none of which may be recommended."""
    against = Counter(map(_fault, valid))
    if len(valid) == 1:
        return f"it {_FAULTS[next(iter(against))][0]}"
    faults = [f"{count} {_FAULTS[fault][count > 1]}" for fault, count in sorted(against.items(), reverse=True)]
    return f"of {len(valid)} cells {' and '.join(faults)}"


_FAULTS = {
    5: (
        "broke down: its service or its Postgres died or stood still",
        "broke down: a service or Postgres died or stood still",
    ),
    4: ("is saturated", "are saturated"),
    3: ("fails too often", "fail too often"),
    2: (
        "had a growing queue, which makes it slower in the long run",
        "had growing queues, which make them slower in the long run",
    ),
    1: ("does not meet the SLO", "do not meet the SLO"),
    0: ("has no latency to judge by", "have no latency to judge by"),
}
"""Of one cell and of several, by how grave it is."""


def _fault(cell: CellSummary) -> int:
    marks = (cell.slo == "not_met", cell.from_empty, cell.failing, cell.saturated, cell.broke_down)
    return max((grave for grave, mark in enumerate(marks, start=1) if mark), default=0)


def _fastest(pick: CellSummary, valid: Sequence[CellSummary]) -> str:
    """Others may have been faster but are not to be run with."""
    named = settings_text(pick.cell)
    return f"{named} came out fastest" + (" of those that may be run with" if pick is not valid[0] else "")


def _one_launch(valid: Sequence[CellSummary]) -> str:
    once = [settings_text(cell.cell) for cell in valid if cell.all.launches == 1]
    told = "one launch tells no difference apart"
    return told if len(once) == len(valid) else f"only one launch of {listed(once)} counts, and {told}"


def _shown(recommendation: Recommendation | None, cells: Mapping[str, CellSummary]) -> str:
    """Why the recommended one was chosen."""
    if recommendation is None or recommendation.recommended is None or recommendation.slowdown_at_most is None:
        return ""
    if recommendation.slowdown_at_most < 0:
        return "; it is shown to be faster than any other"
    own = _size(cells[recommendation.recommended])
    sizes = {other.size for other in (*recommendation.larger, *recommendation.not_larger) if other.eligible}
    margin, bound = percent_text(recommendation.margin), _at_most(recommendation.slowdown_at_most)
    if sizes <= {own}:
        return f"; it is shown to be at most {bound} slower than any other ({margin} would do)"
    passed_over = any(
        other.slowdown_at_most is not None and other.slowdown_at_most <= recommendation.margin and other.size < own
        for other in recommendation.not_larger
    )
    smaller = "no smaller one that may be run with" if passed_over else "no smaller one"
    return f"; it is shown to be at most {bound} slower than any other, and {smaller} is shown to be within {margin}"


def _undecided(
    recommendation: Recommendation | None, pick: CellSummary, valid: Sequence[CellSummary], measured: str
) -> str:
    margin = percent_text(0.0 if recommendation is None else recommendation.margin)
    if recommendation is not None and recommendation.instrument:
        return (
            f"No setting is recommended (instrument): {launches_text(valid)} would show one to be at most {margin} "
            "slower than every other one, if the instrument were known to have added nothing. "
            f"{_fastest(pick, valid)}, {measured}; longer requests, or a machine that does nothing else, would decide."
        )
    launches = None if recommendation is None else recommendation.launches_to_decide
    decide = (
        f"about {launches} launches of each would decide (design.launches = {launches})"
        if launches is not None
        else "more launches alone would hardly decide it"
    )
    return (
        f"No setting is recommended: {launches_text(valid)} do not show any to be at most {margin} slower than every "
        f"other one. {_fastest(pick, valid)}, {measured}; {decide}."
    )


def _cause(pick: CellSummary) -> str:
    """How much of the latency is spent waiting for a connection, how full the pool is, and whether it is the pool."""
    if math.isnan(pick.all.pool_share):
        return _binds(pick)
    use = (
        "" if math.isnan(pick.pool_used_share) else f"; on average {percent_text(pick.pool_used_share)} of it is in use"
    )
    return f" Waiting for the pool takes {percent_text(pick.all.pool_share)} of its latency{use}.{_binds(pick)}"


def _binds(pick: CellSummary) -> str:
    resource = pick.binding.resource
    if resource in ("load", "unknown"):
        return ""
    return (
        " What binds it is the pool."
        if resource == "pool"
        else f" What binds it is not the pool but {NAMES[resource]}."
    )


def _against_others(report: Report, cells: Mapping[str, CellSummary]) -> Iterator[str]:
    """What more connections would buy, and why fewer are not enough."""
    recommendation = report.summary.verdict.recommendation
    if recommendation is None or recommendation.recommended is None:
        return
    pick = cells[recommendation.recommended]
    known = [other for other in recommendation.larger if other.gain_at_most is not None]
    # cells that differ in more than their pool say less about connections
    alike = [other for other in known if _differ_in_pool_only(pick, cells[other.cell_id])]
    for other in (alike or known)[-1:]:
        yield _larger(other, cells[other.cell_id], pick, alone=other in alike)
    smaller = [other for other in recommendation.not_larger if other.size < _size(pick)]
    for other in [other for other in smaller if other.eligible][-1:]:
        yield _too_small(other, cells, pick, report.summary.pairs, recommendation.margin)
    for other in smaller:
        cell = cells[other.cell_id]
        if not other.eligible and not cell.saturated and not cell.failing:
            yield f"{settings_text(cell.cell)} is passed over: it {_FAULTS[_fault(cell)][0]}."


def _larger(other: WhyNot, cell: CellSummary, pick: CellSummary, *, alone: bool) -> str:
    """ "16 more connections (pool_size 20) lower p95 by at most 8 %." """
    gain = other.gain_at_most or 0.0
    lower = f"by at most {_at_most(gain / (1 + gain))}" if gain > 0 else ""
    named = settings_text(cell.cell)
    endless = math.isinf(other.size)
    more = 0 if endless else round(other.size - _size(pick))
    if not alone:
        has = "no limit on connections" if endless else f"{more} more {_plural('connection', more)}"
        return f"{named}, with {has}, " + (f"lowers p95 {lower}." if lower else "does not lower p95.")
    if endless:
        return f"No limit on connections ({named}) " + (f"lowers p95 {lower}." if lower else "does not lower p95.")
    verb = "lowers" if more == 1 else "lower"
    buy = f"{verb} p95 {lower}" if lower else f"{'does' if more == 1 else 'do'} not lower p95"
    return f"{more} more {_plural('connection', more)} ({named}) {buy}."


def _too_small(
    other: WhyNot, cells: Mapping[str, CellSummary], pick: CellSummary, pairs: Sequence[Pair], margin: float
) -> str:
    """Why not this smaller one, which may be run with but is not shown to be good enough."""
    named = settings_text(cells[other.cell_id].cell)
    ratio = _ratio(pairs, pick.cell.id, other.cell_id)
    if ratio is not None and ratio.low is not None and ratio.low > 1:
        return f"{named} is slower: its p95 is {interval(ratio)} times as high."
    if other.slowdown_at_most is None or other.against is None:
        return f"Of {named} it is not known how much slower it may be."
    rival = settings_text(cells[other.against].cell)
    return (
        f"{named} is not shown to be good enough: it may be up to {_at_most(other.slowdown_at_most)} slower than "
        f"{rival}, and {percent_text(margin)} is the limit."
    )


def _ratio(pairs: Sequence[Pair], first: str, second: str) -> Bounds | None:
    """How many times `first` the `second` is, whichever way round the pair stands."""
    for pair in pairs:
        if (pair.first, pair.second) == (first, second):
            return Bounds(value=pair.ratio, low=pair.low, high=pair.high)
        if (pair.first, pair.second) == (second, first):
            low = 1 / pair.high if pair.high else None
            return Bounds(value=1 / pair.ratio, low=low, high=1 / pair.low if pair.low else None)
    return None


def _differ_in_pool_only(one: CellSummary, other: CellSummary) -> bool:
    mine, others = dict(one.cell.factors), dict(other.cell.factors)
    return one.cell.arm == other.cell.arm and all(
        key.startswith("pool.") or mine.get(key) == others.get(key) for key in mine | others
    )


def _size(cell: CellSummary) -> float:
    ceiling = cell.cell.decided_ceiling
    return math.inf if ceiling is None else float(ceiling)


def _overwhelmed(valid: Sequence[CellSummary]) -> Iterator[str]:
    """Cells that could not carry the load, and what they carried; the first three of each kind."""
    saturated = [cell for cell in valid if cell.saturated]
    failing = [cell for cell in valid if cell.failing and not cell.saturated]
    for cell in saturated[:MOST_NAMED]:
        rate = cell.cell.rate_rps
        of = "" if rate is None else f" of {number(rate)}"
        yield f"{settings_text(cell.cell)} saturates: it answers {number(cell.all.carried_rps)}{of} a second well."
    if len(saturated) > MOST_NAMED:
        yield f"So {_do(len(saturated) - MOST_NAMED)} {len(saturated) - MOST_NAMED} more."
    for cell in failing[:MOST_NAMED]:
        yield f"{settings_text(cell.cell)} fails in {percent_text(cell.all.error_rate)} of the arrivals."
    if len(failing) > MOST_NAMED:
        more = len(failing) - MOST_NAMED
        yield f"{more} more {'cell fails' if more == 1 else 'cells fail'} too often."


def _slo(verdict: Verdict, cells: Mapping[str, CellSummary], valid: Sequence[CellSummary], info: RunInfo) -> str:
    slo, asked = info.experiment.slo, info.experiment.probe_user
    promise = slo_text(info.experiment)
    if not promise:
        return ""
    if verdict.cell_id is not None and verdict.state != "different_loads":
        pick = cells[verdict.cell_id]
        if pick.slo == "met":
            return f"It meets the SLO ({promise})."
        unsent = not_sent(pick, slo)
        why = f"no launch sent {listed(unsent)}" if unsent else "more launches may tell"
        if pick.probe_user is not None and pick.probe_user.slo == "unclear" and not unsent:
            why = f"more answers to the {asked.name} may tell"
        if pick.slo_instrument:
            why = "the instrument may have made the difference"
        return f"Whether it meets the SLO ({promise}) is unclear: {why}."
    meeting = [settings_text(cell.cell) for cell in valid if cell.slo == "met"]
    if meeting:
        return f"The SLO ({promise}) is met by {listed(meeting)}."
    if any(cell.slo != "not_met" for cell in valid):
        return f"Whether the SLO ({promise}) is met is unclear."
    return f"The SLO ({promise}) is met by none." if len(valid) > 1 else f"The SLO ({promise}) is not met."


def _visible(verdict: Verdict, valid: Sequence[CellSummary]) -> str:
    least = verdict.smallest_visible
    if least is None or least < 0.01:
        return ""
    if least > TENFOLD:
        return f"With {launches_text(valid)}, even a tenfold difference in p95 may be missed."
    share = percent_text(round(least, 2))
    return f"With {launches_text(valid)}, differences in p95 from about {share} on are typically told apart."


def _unknown(cells: Sequence[CellSummary], valid: Sequence[CellSummary]) -> str:
    missing = len(cells) - len(valid)
    if not missing:
        return ""
    return f"Nothing is known of {missing} of {len(cells)} cells, which {_have(missing)} no valid launch."


def launches_text(valid: Sequence[CellSummary]) -> str:
    """How many launches a cell has that count: "3 launches", or "2 to 3 launches" where some lack one."""
    counts = [cell.all.launches for cell in valid]
    fewest, most = min(counts), max(counts)
    return f"{fewest} to {most} launches" if fewest < most else f"{most} {'launch' if most == 1 else 'launches'}"


def failures_text(cell: CellSummary) -> str:
    """Why requests failed, most frequent first: "312 GET /heroes/{id}: HTTP 503"; empty where none did."""
    said = "; ".join(failure_text(failure) for failure in cell.failures)
    return f"{said} (in launches that do not count)" if said and not cell.valid else said


def logged_text(cell: CellSummary) -> str:
    """What the service logged within a second of it: "312x RuntimeError: no such table"; empty where it was silent."""
    return "; ".join(f"{count}x {line}" for line, count in cell.logged.items())


def failure_text(failure: Failure) -> str:
    said = failure.message or {"dropped": "dropped, as many were in flight as may be"}.get(
        failure.outcome, f"{failure.outcome}, without a message"
    )
    return f"{failure.count} {failure.endpoint or _plural('arrival', failure.count)}: {said}"


def settings_text(cell: Cell) -> str:
    """The varied settings of a cell: "driver asyncpg, pool_size 5"; its label when nothing is varied."""
    named = [f"{key.rsplit('.', 1)[-1]} {_value(value)}" for key, value in cell.factors]
    return ", ".join((*filter(None, (cell.arm,)), *named)) or cell.label


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def load_text(cells: Sequence[Cell]) -> str:
    """The load that the cells share, as "at 300 arrivals/s of mixed"."""
    loads = {(cell.load.model, cell.rate_rps, cell.load.users, cell.load.scenario) for cell in cells}
    if len(loads) != 1:
        return "under its own load"
    model, rate, users, scenario = next(iter(loads))
    if model == "closed":
        return f"with {users} {_plural('user', users or 0)} of {scenario} (closed: latency from send)"
    return f"at {'an unknown number of' if rate is None else f'{rate:g}'} arrivals/s of {scenario}"


def p95_text(figures: EndpointSummary) -> str:
    """The p95 with its interval, or why there is none."""
    value = f"p95 {number(figures.p95_ms.value)} ms"
    bounds = interval(figures.p95_ms)
    if bounds != UNKNOWN:
        return f"{value} (95 % interval {bounds} ms over {figures.launches} launches)"
    if figures.launches == 1:
        return f"{value} (one launch, so no interval)"
    return f"{value} ({figures.launches} launches leave its interval open)"


def promise_text(limits: Limits) -> str:
    """What is promised, as "p95 at most 50 ms, at most 1 % failed"."""
    latencies = (("p50", limits.p50_ms), ("p95", limits.p95_ms), ("p99", limits.p99_ms))
    parts = [f"{name} at most {limit:g} ms" for name, limit in latencies if limit is not None]
    failed = [] if limits.error_rate is None else [f"at most {percent_text(limits.error_rate)} failed"]
    return ", ".join([*parts, *failed])


def slo_text(experiment: Experiment) -> str:
    """All that is promised: "p95 at most 300 ms; GET /heroes: p95 at most 50 ms"; empty where nothing is."""
    asked = experiment.probe_user
    promised = dict(experiment.slo.promised) | ({asked.name: asked.slo} if asked.slo.is_given else {})
    return "; ".join(
        promise_text(limits) if name == "*" else f"{name}: {promise_text(limits)}" for name, limits in promised.items()
    )


def driver_pool_texts(pools: Sequence[str]) -> tuple[str, ...]:
    """Of the pools that a driver made for the service, if any: how their size is swept all the same."""
    named, reached = ("A pool", "it") if len(pools) == 1 else ("Pools", "them")
    text = (
        f"{named} of the driver's own: {listed(pools)}. No setting of [pool] reaches {reached}: vary the variable that "
        "its size is read from, as target.env.NAME in [matrix]."
    )
    return (text,) if pools else ()


def not_sent(cell: CellSummary, slo: Slo) -> list[str]:
    """The endpoints of which something is promised, and that no launch of the cell sent."""
    sent = {own.endpoint for own in (cell.all, *cell.endpoints)}
    return [name for name in slo.promised if name not in sent]


def blocked_text(reason: str) -> str:
    """Why launches are not measured in turns although the experiment leaves the choice."""
    return f"One launch at a time (blocked), because {reason}."


def version_text(version: Version) -> str:
    """Which code it was: "commit 1a2b3c4d5e"."""
    return f"commit {version.commit[:10]}{', with changes that are not committed' if version.changes else ''}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a row, the many cut short: "a; b and 3 more"."""
    more = len(names) - most
    return "; ".join(names) if more <= 0 else f"{'; '.join(names[:most])} and {more} more"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _do(count: int) -> str:
    return "does" if count == 1 else "do"


def _at_most(share: float) -> str:
    """An upper bound: rounded up, so that it stays one."""
    value = 100 * max(0.0, share)
    digits = 0 if value >= 10 else 1
    return f"{math.ceil(value * 10**digits - 1e-9) / 10**digits:g} %"


def percent_text(share: float) -> str:
    """A share in whole per cent from ten on, else with two digits, and its sign."""
    value = 100 * share
    text = f"{value:.0f}" if value >= 10 or value == 0 else percent(share)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"
