"""What a tune found: in words, rows and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.domain.tune import SizeFigures, TunedLadder, Tuning
from harness.present.numbers import UNKNOWN, number
from harness.present.phrases import percent_text, slo_text

TUNE_SCHEMA_VERSION = 1
_WHY_NOT = {
    "": "recommended",
    "budget": "does not fit the budget",
    "floor": "fewer connections than are in use",
    "fails": "does not carry the load",
    "slower": "too slow",
    "not_shown": "not shown to be good enough",
    "not_needed": "not needed",
    "not_reached": "not reached",
}
_BY_SLO = {"fails": "does not meet the SLO", "slower": "a larger one does not meet it"}


def tune_text(tuning: Tuning, experiment: Experiment) -> str:
    """The answer in one sentence, or why there is none."""
    ladder = tuning.ladders[-1]
    if tuning.recommended is not None:
        return f"Run with {_settings(tuning)}: {_shown(tuning, ladder, experiment)}."
    good = f"its SLO ({slo_text(experiment)})" if tuning.by_slo else "the load"
    match ladder.stop:
        case None:
            return "The search is not over."
        case "nothing_carries":
            return f"No value of {ladder.key} that was tried carries {good}: {_listed(ladder)}."
        case "instrument":
            return f"{ladder.key}: the search ended because what measures failed in two looks running."
        case _:
            return f"No value of {ladder.key} was shown {_not_shown(tuning, ladder, good)}"


def _not_shown(tuning: Tuning, ladder: TunedLadder, good: str) -> str:
    if tuning.by_slo:
        return f"to meet {good}: not all of its fresh launches did."
    near = f"to be within {percent_text(tuning.margin)} of the best"
    if ladder.instrument:
        return (
            f"{near}: by the launches one is, but what measures may have added as much to so short a latency. A margin "
            "that leaves room for it (tune.margin) can be shown."
        )
    return (
        f"{near}: the launches scatter too much. Longer ones scatter less (load.measure_s), more of them say more "
        "(tune.blocks)."
    )


def _settings(tuning: Tuning) -> str:
    return ", ".join(f"{ladder.key} = {ladder.answer}" for ladder in tuning.ladders)


def _shown(tuning: Tuning, ladder: TunedLadder, experiment: Experiment) -> str:
    own = next(size for size in ladder.sizes if size.value == ladder.answer)
    rests = f"by {own.fresh} fresh launches"
    if tuning.by_slo:
        return f"the smallest of which all of {own.fresh} fresh launches meet its SLO ({slo_text(experiment)})"
    if own.value != ladder.reference and own.high is not None:
        slower = percent_text(max(0.0, own.high))
        return f"the smallest shown to be good enough, at most {slower} slower than {ladder.reference} (p95), {rests}"
    if len([size for size in ladder.sizes if size.fresh]) > 1:
        most = percent_text(tuning.margin)
        return f"shown to be at most {most} slower than any that was raced beside it (p95), {rests}"
    return f"the only one that carries the load, {rests}"


def _listed(ladder: TunedLadder) -> str:
    return ", ".join(str(size.value) for size in ladder.sizes if size.launches)


def tune_lines(tuning: Tuning) -> Iterator[str]:
    """Why not smaller, why not larger, and what it took, a sentence each."""
    for ladder in tuning.ladders:
        if ladder.answer is None:
            continue
        place = next(index for index, size in enumerate(ladder.sizes) if size.value == ladder.answer)
        smaller = ladder.sizes[place - 1] if place else None
        yield f"Why not smaller: {_why_not_smaller(tuning, ladder, smaller)}"
        yield f"Why not larger: {_why_not_larger(tuning, ladder, place)}"
    spent = f"{tuning.launches} launches"
    if tuning.grid_launches is not None:
        spent += (
            f"; all {tuning.grid} configurations, each as often as this one, would have taken {tuning.grid_launches}"
        )
    yield f"Cost: {spent}."


def _why_not_smaller(tuning: Tuning, ladder: TunedLadder, smaller: SizeFigures | None) -> str:
    if smaller is None:
        return f"{ladder.answer} is the smallest that was given."
    tried = not math.isnan(smaller.slowdown)
    match smaller.why_not:
        case "fails" if tuning.by_slo:
            why = f"did not meet the SLO in {_times(smaller)}"
        case "fails":
            why = "did not carry the load: it failed, was saturated, or its queue did not settle"
        case "floor":
            why = "has fewer connections than were in use at once, on average, with more of them"
        case "slower" if smaller.low is not None and smaller.low > tuning.margin:
            why = f"is at least {percent_text(smaller.low)} slower than {ladder.reference}"
        case "slower" if tried:
            why = f"was {percent_text(smaller.slowdown)} slower than {ladder.reference} in the search"
        case "slower" if smaller.launches:
            why = f"did not carry the load in {smaller.failed} of {smaller.launches} launches"
        case "slower":
            why = "was not tried, since a larger one is too slow already"
        case _ if tried and smaller.high is not None:
            most = percent_text(smaller.high)
            why = f"may be good enough, and was not shown to be: up to {most} slower than {ladder.reference}"
        case _:
            why = "was not shown to be good enough"
    return f"{smaller.value} {why}."


def _why_not_larger(tuning: Tuning, ladder: TunedLadder, place: int) -> str:
    larger = ladder.sizes[place + 1 :]
    if not larger:
        beyond = "" if tuning.by_slo or ladder.reference != ladder.answer else "; what is better still may lie beyond"
        return f"{ladder.answer} is the largest that was given{beyond}."
    if all(size.why_not == "budget" for size in larger):
        return f"{larger[0].value} does not fit the budget: production's Postgres would have to take more connections."
    own = ladder.sizes[place]
    if tuning.by_slo:
        return f"{ladder.answer} meets the SLO already."
    if own.value != ladder.reference and own.high is not None:
        return f"with {ladder.reference} the p95 falls to {percent_text(1 / (1 + max(0.0, own.high)))} of that at best."
    quicker = [size for size in larger if size.slowdown < 0]
    if quicker:
        least = min(quicker, key=lambda size: size.slowdown)
        by = f"{percent_text(-least.slowdown)} quicker in the search, by {_times(least)}"
        return f"{least.value} was {by}, and was not raced."
    tried = any(size.launches for size in larger)
    return "none of the larger ones that were tried was quicker." if tried else "no larger one was tried."


def _times(size: SizeFigures) -> str:
    return "one launch" if size.launches == 1 else f"{size.launches} launches"


def paste_line(cell: Cell) -> str:
    """What is recommended, as a line of the service."""
    create = "create_engine" if cell.target.driver in {"psycopg_sync", "psycopg2"} else "create_async_engine"
    line = f"{create}(url, pool_size={cell.pool.pool_size}, max_overflow={cell.pool.max_overflow})"
    keys = {key for key, _ in cell.factors}
    if "target.workers" in keys:
        line += f"  # in each of {cell.target.workers} workers"
    if "target.threadpool_tokens" in keys:
        line += f"; anyio.to_thread.current_default_thread_limiter().total_tokens = {cell.target.threadpool_tokens}"
    return line


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """A size as a row of a table."""

    key: str
    value: str
    launches: str
    fresh: str
    p95: str
    slower: str
    carried: str
    peak: str
    used: str
    why: str
    is_answer: bool


def tuned_rows(tuning: Tuning) -> list[SizeRow]:
    """Every size of every ladder, smallest first."""
    return [
        SizeRow(
            key=ladder.key,
            value=str(size.value),
            launches=f"{size.launches}, {size.failed} failed" if size.failed else str(size.launches),
            fresh=str(size.fresh),
            p95=number(size.p95_ms),
            slower=_slower(size),
            carried=number(size.carried_rps),
            peak=str(size.connections_peak) if size.launches else UNKNOWN,
            used=number(size.connections_mean),
            why=(_BY_SLO if tuning.by_slo else {}).get(size.why_not, _WHY_NOT[size.why_not]),
            is_answer=size.value == ladder.answer,
        )
        for ladder in tuning.ladders
        for size in ladder.sizes
    ]


def _slower(size: SizeFigures) -> str:
    if math.isnan(size.slowdown):
        return UNKNOWN
    value = f"{100 * size.slowdown:.0f}"
    if size.low is None or size.high is None:
        return value
    return f"{value} ({100 * size.low:.0f} to {100 * size.high:.0f})"


def tune_dict(tuning: Tuning, experiment: Experiment) -> Mapping[str, Any]:
    """What `poolbench tune --json` prints."""
    lines = list(tune_lines(tuning))
    by_start = {
        start: [line for line in lines if line.startswith(start)] for start in ("Why not smaller", "Why not larger")
    }
    return {
        "schema_version": TUNE_SCHEMA_VERSION,
        "recommended": None if tuning.recommended is None else {ladder.key: ladder.answer for ladder in tuning.ladders},
        "line": None if tuning.recommended is None else paste_line(tuning.recommended),
        "answer": tune_text(tuning, experiment),
        "stop": tuning.stop,
        "why_not_smaller": by_start["Why not smaller"],
        "why_not_larger": by_start["Why not larger"],
        "launches": tuning.launches,
        "grid_launches": tuning.grid_launches,
        "sizes": [
            {
                "key": ladder.key,
                "value": size.value,
                "launches": size.launches,
                "failed": size.failed,
                "fresh": size.fresh,
                "p95_ms": size.p95_ms,
                "slowdown": size.slowdown,
                "low": size.low,
                "high": size.high,
                "carried_rps": size.carried_rps,
                "connections_peak": size.connections_peak,
                "connections_mean": size.connections_mean,
                "why_not": size.why_not,
            }
            for ladder in tuning.ladders
            for size in ladder.sizes
        ],
    }
