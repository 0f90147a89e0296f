"""Which resource binds, in words: a sentence for all cells that one answer is true of, and a row for each cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.domain.binding import Binding
from harness.domain.verdict import CellSummary, Report
from harness.present.numbers import UNKNOWN
from harness.present.phrases import listed, settings_text
from harness.present.resource_names import NAMES

MOVED_BY: Mapping[str, str] = {
    "generator": "More generator processes (load.processes), or a machine of their own, move it.",
    "worker_cpu": "More workers, or less CPU time a request, move it.",
    "machine_cpu": "More cores, or less that runs on them, move it.",
    "event_loop": "A driver that is awaited, or def in place of async def, frees it.",
    "gc": "target.gc_freeze, or fewer objects that live long, move it.",
    "threads": "More of them (target.threadpool_tokens), or less time in each, move it.",
    "pool": "More connections, or shorter holds, move it.",
    "dial": "Connections that are kept and opened beforehand (a queue pool, pool_prewarm, no overflow) avoid it.",
    "locks": "Shorter transactions, or fewer that want the same rows, move it.",
    "postgres_cpu": "Cheaper queries, or more cores for Postgres, move it.",
    "postgres_io": "A faster disk, or less to read and to commit, move it.",
    "max_connections": "A higher max_connections, or fewer connections of all services together, move it.",
    "limiter": "Its limit alone moves it, no pool does.",
}
NO_POOL_HELPS = frozenset({"worker_cpu", "machine_cpu", "event_loop", "locks", "postgres_cpu", "postgres_io"})
WORTH_NAMING = 0.2
"""share of slow requests' time from which on what is waited for beside the resource that binds is named"""
LEAST_SHOWN = 0.02
_PLURAL = frozenset({"threads", "locks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingRow:
    """A cell's row of the report's table."""

    cell: CellSummary
    binds: str
    waits: str
    """what its slow requests waited for, most first"""
    used: str
    """how full each resource was, fullest first"""


def binding_rows(report: Report) -> tuple[BindingRow, ...]:
    """One of each cell that was measured."""
    return tuple(
        BindingRow(
            cell=cell,
            binds=NAMES[cell.binding.resource],
            waits=_shares(cell.binding.waits),
            used=_shares(cell.binding.used),
        )
        for cell in report.summary.cells
        if cell.valid
    )


def binding_lines(report: Report) -> Iterator[tuple[str, str]]:
    """The cells of which one answer is true, and that answer; what was not measured is said elsewhere."""
    cells = [cell for cell in report.summary.cells if cell.valid or cell.binding.resource == "generator"]
    groups: dict[tuple[str, ...], list[CellSummary]] = {}
    for cell in cells:
        found = cell.binding
        groups.setdefault((found.resource, found.queue or "", found.why), []).append(cell)
    for own in groups.values():
        which = "every cell" if len(own) == len(cells) > 1 else listed([settings_text(cell.cell) for cell in own])
        yield which, binding_text([cell.binding for cell in own])


def binding_text(alike: Sequence[Binding]) -> str:
    """What binds cells of which the same does, with the figures that say so: a range where they differ."""
    first = alike[0]
    resource, share = first.resource, _range([own.share for own in alike])
    if resource == "load":
        return _nothing(alike)
    if resource == "unknown":
        return _not_told(first, share)
    if resource in ("limiter", "max_connections"):
        refused = f"of the slowest requests {share} were refused by it"
        return f"{NAMES[resource]}: {refused}. {MOVED_BY[resource]}"
    used = _range([own.used.get(resource, math.nan) for own in alike])
    of = "of all cores' time" if resource == "postgres_cpu" else "in use"
    named = NAMES[resource] if used == UNKNOWN else f"{NAMES[resource]} ({used} {of})"
    return f"{named}: {_why(alike, share)}. {MOVED_BY[resource]}{_no_pool(alike)}"


def _why(alike: Sequence[Binding], share: str) -> str:
    first = alike[0]
    its = "them" if first.resource in _PLURAL else "it"
    if first.resource == "generator" and share == UNKNOWN:
        return "it could not send what was asked for"
    if first.share < WORTH_NAMING:
        return "what comes one after the other keeps it busy"
    text = f"slow requests spend {share} of their time waiting for {its}"
    if first.queue is not None:
        text += f", most of it before {NAMES[first.queue]}, held for so long by those who wait for {its}"
    others = [name for name in first.waits if name not in (first.resource, first.queue)]
    beside = {name: [own.waits.get(name, 0.0) for own in alike] for name in others}
    for name, shares in beside.items():
        if min(shares) >= WORTH_NAMING:
            text += f", and {_range(shares)} for {NAMES[name]}"
    return text


def _no_pool(alike: Sequence[Binding]) -> str:
    """Whether a larger pool would carry more: not where what stands before it waits for something else."""
    waits_for_pool = any(own.queue != "pool" and own.waits.get("pool", 0.0) >= WORTH_NAMING for own in alike)
    if alike[0].resource not in NO_POOL_HELPS or waits_for_pool:
        return ""
    return " A larger pool carries no more."


def _nothing(alike: Sequence[Binding]) -> str:
    text = "nothing at this load, which is carried with room to spare"
    names = dict.fromkeys(own.next for own in alike if own.next is not None)
    if not names:
        return f"{text}."
    used = [f"{NAMES[name]} ({_range([own.used[name] for own in alike if own.next == name])})" for name in names]
    return f"{text}; what is used most, and would bind first, is {' or '.join(used)}."


def _not_told(first: Binding, share: str) -> str:
    match first.why:
        case "no_probe":
            why = f"slow requests spend {share} of their time on something unseen, and no probe saw the pool"
        case "unseen":
            why = (
                f"slow requests spend {share} of their time waiting within the service, and not for its pool, threads, "
                "database or event loop: for another service, or a lock or limiter of its own"
            )
        case "failures":
            why = f"of the slowest requests {share} failed for reasons of their own"
        case _:
            why = "less is carried than is offered, and nothing was seen to be waited for"
    return f"cannot be told: {why}."


def _range(shares: Sequence[float]) -> str:
    """ "45 %", or "45 to 60 %" where they differ."""
    known = sorted(share for share in shares if not math.isnan(share))
    if not known:
        return UNKNOWN
    low, high = round(100 * known[0]), round(100 * known[-1])
    return f"{high} %" if low == high else f"{low} to {high} %"


def _shares(of_each: Mapping[str, float]) -> str:
    """ "the pool 67 %, locks in Postgres 28 %"; a dash where there is nothing worth showing."""
    shown = sorted(((share, name) for name, share in of_each.items() if share >= LEAST_SHOWN), reverse=True)
    return ", ".join(f"{NAMES[name]} {round(100 * share)} %" for share, name in shown) or UNKNOWN
