"""What two sides come to, in words and rows: for the terminal, the report and everything that CI shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.domain.experiment import Gate
from harness.domain.gate import GateVerdict, Part, PartName, RuleVerdict
from harness.present.numbers import UNKNOWN, number

WORDS = {
    "improved": "improved",
    "equivalent": "equivalent",
    "regressed": "REGRESSED",
    "inconclusive": "no proof",
    "invalid": "invalid",
}
COUNTED_WORDS = {
    "statements_per_request": "statements",
    "transactions_per_request": "transactions",
    "checkouts_per_request": "connections",
    "round_trips_per_request": "round trips",
}
_TO = " to "
MOST_TOLD = 5
SAME = 1e-9
ALL_BUT = 0.005
"""a share of requests as near to all of them is told as all of them"""


def gate_text(verdict: GateVerdict, gate: Gate) -> str:
    """The verdict in a few sentences, the worst first."""
    told = [*_regressions(verdict), *_primary(verdict, gate), *_doubts(verdict)]
    return " ".join(told)


def _regressions(verdict: GateVerdict) -> Iterator[str]:
    found = [own for own in verdict.rules if own.verdict == "regressed"]
    told = [_statistical(own, verdict) for own in found if own.kind == "statistical"]
    counted = [own for own in found if own.kind == "exact"]
    told += [
        _exact(endpoint, [own for own in counted if own.endpoint == endpoint])
        for endpoint in dict.fromkeys(own.endpoint for own in counted)
    ]
    told += [_absolute(own) for own in found if own.kind == "absolute"]
    yield from (f"Regressed: {text}." for text in told[:MOST_TOLD])
    if len(told) > MOST_TOLD:
        yield f"{len(told) - MOST_TOLD} more regressions are in the table."


def _statistical(own: RuleVerdict, verdict: GateVerdict) -> str:
    confirmed = ""
    if verdict.fresh_blocks:
        confirmed = (
            f"; {launches_text(verdict.blocks)} of each side raised the alarm, "
            f"{verdict.fresh_blocks} fresh ones confirm it"
        )
    return f"{_named(own)} {changed(own)}{confirmed}"


def _exact(endpoint: str, counts: Sequence[RuleVerdict]) -> str:
    told = [f"{_count(own.head)} {COUNTED_WORDS.get(own.metric, own.metric)} ({_count(own.base)})" for own in counts]
    share = max((own.share for own in counts if own.share is not None), default=1.0)
    some = "" if share > 1 - ALL_BUT else f", more in {number(100 * share)} % of its requests"
    return f"{endpoint} takes {', '.join(told)} a request{some}, in brackets the base"


def _count(value: float) -> str:
    return f"{value:.3g}"


def _absolute(own: RuleVerdict) -> str:
    bound = "at most" if own.effect > 0 else "at least"
    return f"{_named(own)} is {number(own.head)}, and {bound} {number(own.limit)} is allowed"


def rule_text(own: RuleVerdict, verdict: GateVerdict) -> str:
    """One rule in a phrase, and what keeps it from a proof."""
    regressed = own.verdict == "regressed"
    if own.kind == "exact":
        text = own.metric if math.isnan(own.effect) else _exact(own.endpoint, [own])
    elif own.kind == "absolute":
        limit = f"{_named(own)} is {number(own.head)}, with a limit of {number(own.limit)}"
        text = _absolute(own) if regressed else limit
    else:
        text = _statistical(own, verdict) if regressed else f"{_named(own)} {changed(own)}"
    return "; ".join(filter(None, (text, _NOTES[own.why])))


def _primary(verdict: GateVerdict, gate: Gate) -> Iterator[str]:
    own = verdict.primary
    match own.verdict, own.why:
        case "equivalent", _:
            yield f"Equivalent: {_named(own)} {changed(own)}, within the margin of {gate.margin}."
        case "improved", _:
            yield f"Improved: {_named(own)} {changed(own)}."
        case "inconclusive", "too_few_launches":
            yield (
                f"Too little time to judge {_named(own)}: {launches_text(verdict.blocks)} of each side, and five are "
                "needed; raise gate.stage_limit_s, or lower load.measure_s."
            )
        case "inconclusive", "unconfirmed":
            yield f"An alarm that nothing confirms: {_named(own)} {changed(own)}, and fresh launches are missing."
        case "inconclusive", "instrument":
            yield (
                f"Inconclusive (instrument): {_named(own)} {changed(own)}; the launches alone would decide, if the "
                "instrument were known to have added nothing."
            )
        case "inconclusive", "both_failed":
            yield (
                f"No proof: in some blocks both sides failed too often for {_named(own)}, and what the others say is "
                f"not all of it: {_named(own)} {changed(own)}; lower the rate, or see why the base fails."
            )
        case "inconclusive", "no_figure":
            yield f"Nothing can be judged: a side has no {_named(own)}; the certificates say why."
        case "inconclusive", _:
            yield f"No regression found{_down_to(own)}: {_named(own)} {changed(own)}."


def _down_to(own: RuleVerdict) -> str:
    if own.smallest_visible is None:
        return ""
    return f", down to {_change(own, own.smallest_visible)}"


def _doubts(verdict: GateVerdict) -> Iterator[str]:
    if any(own.why == "unconfirmed" for own in verdict.rules[1:]):
        yield "Another rule raised an alarm that fresh launches would have to confirm."
    exact = [own for own in verdict.rules if own.kind == "exact"]
    if exact and all(own.why == "not_counted" for own in exact):
        yield "What requests take of the database was not counted: the service runs without the probe."
    for endpoint, near in verdict.unknown_endpoints.items():
        yield f"A rule names {endpoint}, which nobody asked for{f'; did you mean {near}?' if near else '.'}"
    if verdict.saturated:
        sides = " and the ".join(verdict.saturated)
        yield (
            f"More was offered than the {sides} can carry: latency there says how long the load went on, so lower the "
            "rate."
        )
    if verdict.identical:
        yield "Both sides are configured alike, so this shows what nothing at all looks like."
    if verdict.noise is not None:
        yield f"From one launch to the next the base differs from itself by {number(100 * verdict.noise)} %."
    if not verdict.paired:
        yield "The sides were measured at different times: what the machine did meanwhile is in every difference."


def comparison_text(blocks: int, smallest_visible: float | None, *, calibrated: bool) -> str:
    """What a comparison could find, before it is measured."""
    stage = f"{launches_text(blocks)} of each side" if blocks < 2 else f"at most {blocks} launches of each side"
    if smallest_visible is None:
        return f"A stage has time for {stage}: too few for anything but exact counts; raise gate.stage_limit_s."
    known = "as calibration found this machine" if calibrated else "at typical noise, as this machine is not calibrated"
    least = number(100 * smallest_visible)
    return f"A stage has time for {stage}: from {least} % on a regression is likely found, {known}."


RUN_OR_COMPARE = (
    "`poolbench run` ranks the sides like any cells; `poolbench compare` judges the head, and measures the base twice:"
)
FROZEN = (
    "Both sides run with gc.freeze() after their start, which makes p95 steadier; "
    "target.gc_freeze = false leaves it out."
)


def launches_text(count: int) -> str:
    """A number of launches in words."""
    return "one launch" if count == 1 else f"{count} launches"


def changed(own: RuleVerdict) -> str:
    """How the head's figure stands to the base's, with its interval."""
    if math.isnan(own.effect):
        return "is not known"
    where = f"{number(own.head)} against {number(own.base)}"
    if own.low is None or own.high is None:
        return f"changes by {_change(own, own.effect)} ({where})"
    return f"changes by {_change(own, own.effect)} ({_change(own, own.low)}{_TO}{_change(own, own.high)}; {where})"


def _change(own: RuleVerdict, effect: float) -> str:
    sign = "+" if effect > 0 else ""
    if own.scale == "ratio":
        return f"{sign}{number(100 * effect)} %"
    if own.metric == "error_rate":
        return f"{sign}{number(100 * effect)} points"
    return f"{sign}{number(effect)}"


def _named(own: RuleVerdict) -> str:
    return own.metric if own.endpoint == "*" else f"{own.metric} of {own.endpoint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """A rule as a row of a table."""

    verdict: str
    metric: str
    endpoint: str
    base: str
    head: str
    change: str
    interval: str
    smallest: str
    note: str
    regressed: bool


_NOTES = {
    "": "",
    "instrument": "the instrument may have moved it that far",
    "too_few_launches": "too few launches",
    "unconfirmed": "an alarm; fresh launches would have to confirm it",
    "varies": "differs between equal launches too",
    "not_counted": "not counted",
    "no_figure": "a side has no figure",
    "both_failed": "in some blocks both sides fail",
}


def rule_rows(verdict: GateVerdict) -> list[RuleRow]:
    """A row for each rule; exact counts that agree everywhere share one a metric."""
    shown = [own for own in verdict.rules if not _is_the_same(own)]
    rows = [_row(own) for own in shown]
    for metric in dict.fromkeys(own.metric for own in verdict.rules if own.kind == "exact"):
        same = [own for own in verdict.rules if own.metric == metric and _is_the_same(own)]
        if same:
            rows.append(
                RuleRow(
                    verdict=WORDS["equivalent"],
                    metric=metric,
                    endpoint=f"{len(same)} endpoints" if len(same) > 1 else same[0].endpoint,
                    base=UNKNOWN if len(same) > 1 else number(same[0].base),
                    head=UNKNOWN if len(same) > 1 else number(same[0].head),
                    change="0",
                    interval=UNKNOWN,
                    smallest=UNKNOWN,
                    note="the same to the last digit",
                    regressed=False,
                )
            )
    return rows


def _is_the_same(own: RuleVerdict) -> bool:
    """Whether an exact count is, and did not merely grow by no more than it may."""
    return own.kind == "exact" and own.verdict == "equivalent" and abs(own.effect) < SAME


def _row(own: RuleVerdict) -> RuleRow:
    interval = UNKNOWN
    if own.low is not None and own.high is not None:
        interval = f"{_change(own, own.low)}{_TO}{_change(own, own.high)}"
    return RuleRow(
        verdict=WORDS[own.verdict],
        metric=own.metric,
        endpoint=own.endpoint,
        base=number(own.base),
        head=number(own.head),
        change=UNKNOWN if math.isnan(own.effect) else _change(own, own.effect),
        interval=interval,
        smallest=UNKNOWN if own.smallest_visible is None else _change(own, own.smallest_visible),
        note=_NOTES[own.why] if own.limit is None else f"limit {number(own.limit)}",
        regressed=own.verdict == "regressed",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """A part of the mean latency as a row of a table."""

    name: str
    base: str
    head: str
    difference: str


_PARTS: Mapping[PartName, str] = {
    "queue": "waiting for a connection of the pool",
    "dial": "opening connections",
    "ping": "testing connections before use (pre-ping)",
    "database": "in the database",
    "application": "in the application",
    "elsewhere": "elsewhere (network, event loop, generator)",
    "threads": "of these, waiting for a thread",
    "gc": "of these, collecting garbage",
    "cpu": "of these, CPU of the service",
    "loop": "how late the event loop comes round, each time",
}


def part_rows(verdict: GateVerdict) -> list[PartRow]:
    """Where the time of an average request went on both sides."""
    return [_part(own) for own in verdict.parts]


def _part(own: Part) -> PartRow:
    difference = UNKNOWN
    if own.low_ms is not None and own.high_ms is not None:
        difference = f"{number(own.low_ms)}{_TO}{number(own.high_ms)}"
    return PartRow(name=_PARTS[own.name], base=number(own.base_ms), head=number(own.head_ms), difference=difference)
