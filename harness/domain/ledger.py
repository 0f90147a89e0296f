"""Two accounts of the same load, the generator's counts and its rows, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.domain.columns import names_and_codes
from harness.domain.load import SETUP_SEGMENT, Ledger
from harness.domain.tables import OUTCOMES

if TYPE_CHECKING:
    import pandas as pd

ENDED = OUTCOMES[:3]
LOST = OUTCOMES[3:]

SPARSE = 8
"""Keys per row beyond which counting into an array would cost more than sorting."""

Counts = Mapping[tuple[int, str, str], int]


def check_ledger(ledger: Ledger, rows: pd.DataFrame) -> tuple[str, ...]:
    """Where what the generator counted and what it wrote differ, one sentence each; empty when they agree.

    `rows` are those of every launch of the ledger, concatenated, or of one launch with a ledger of only its segments.
    Such a ledger says nothing of on_start, which belongs to no segment: then those requests are not compared.
    """
    setup_counted = any(count.segment == SETUP_SEGMENT for count in ledger.endpoints)
    segments = rows["segment"].to_numpy()
    if not setup_counted and (segments == SETUP_SEGMENT).any():
        rows = rows[segments != SETUP_SEGMENT]
    return (
        *_unbalanced(ledger),
        *_differences("requests", _counted_requests(ledger), _written_requests(rows)),
        *_differences("arrivals", _counted_arrivals(ledger), _written_arrivals(rows)),
    )


def _unbalanced(ledger: Ledger) -> list[str]:
    problems = [
        f"segment {count.segment}, task {count.task}: {count.offered} offered, but "
        f"{count.done} done + {count.dropped} dropped + {count.unfinished} unfinished"
        for count in ledger.tasks
        if count.offered != count.done + count.dropped + count.unfinished
    ]
    problems += [
        f"segment {count.segment}, {count.endpoint}: {count.requests} requests, but "
        f"{count.ok} ok + {count.error} error + {count.timeout} timeout"
        for count in ledger.endpoints
        if count.requests != count.ok + count.error + count.timeout
    ]
    return problems


def _counted_requests(ledger: Ledger) -> Counts:
    return {
        (count.segment, count.endpoint, outcome): number
        for count in ledger.endpoints
        for outcome, number in zip(ENDED, (count.ok, count.error, count.timeout), strict=True)
        if number
    }


def _written_requests(rows: pd.DataFrame) -> Counts:
    return {key: number for key, number in _sizes(rows, "endpoint").items() if key[2] in ENDED}


def _counted_arrivals(ledger: Ledger) -> Counts:
    return {
        (count.segment, count.task, state): number
        for count in ledger.tasks
        for state, number in (("done", count.done), ("dropped", count.dropped), ("unfinished", count.unfinished))
        if number
    }


def _written_arrivals(rows: pd.DataFrame) -> Counts:
    """Every arrival has one row with sequence 0; a dropped or unfinished one has a row, or several, that say so."""
    import numpy as np

    offered = rows["segment"].to_numpy() != SETUP_SEGMENT
    arrivals = _sizes(rows, "task", offered & (rows["sequence"].to_numpy() == 0))
    outcomes, codes = names_and_codes(rows["outcome"])
    lost = offered & np.isin(codes, [code for code, name in enumerate(outcomes) if name in LOST])
    states = dict(_sizes(rows[lost].drop_duplicates(["segment", "arrival"]), "task")) if lost.any() else {}
    for (segment, task, _), number in arrivals.items():
        done = (segment, task, "done")
        states[done] = states.get(done, 0) + number
    for segment, task, state in [key for key in states if key[2] != "done"]:
        done = (segment, task, "done")
        states[done] = states.get(done, 0) - states[segment, task, state]
    return {key: number for key, number in states.items() if number}


def _sizes(rows: pd.DataFrame, name: str, kept: Any = slice(None)) -> Counts:
    """How many of the rows that are kept there are of each segment, `name` and outcome."""
    import numpy as np

    names, name_codes = names_and_codes(rows[name])
    outcomes, outcome_codes = names_and_codes(rows["outcome"])
    segments = rows["segment"].to_numpy().astype(np.int64)
    segments = np.where(segments == SETUP_SEGMENT, -1, segments) + 1  # close together, to be counted without sorting
    keys = ((segments * len(names) + name_codes) * len(outcomes) + outcome_codes)[kept]
    if len(keys) == 0 or keys.max() > SPARSE * len(keys):
        found, counts = np.unique(keys, return_counts=True)
    else:
        by_key = np.bincount(keys)
        found = np.flatnonzero(by_key)
        counts = by_key[found]
    places, outcome = np.divmod(found, max(1, len(outcomes)))
    segment, own = np.divmod(places, max(1, len(names)))
    return {
        (int(s) - 1 if s else SETUP_SEGMENT, names[n], outcomes[o]): int(count)
        for s, n, o, count in zip(segment, own, outcome, counts, strict=True)
    }


def _differences(what: str, counted: Counts, written: Counts) -> list[str]:
    return [
        f"segment {key[0]}, {key[1]}: {counted.get(key, 0)} {what} counted as {key[2]}, "
        f"{written.get(key, 0)} in the rows"
        for key in sorted(counted.keys() | written.keys())
        if counted.get(key, 0) != written.get(key, 0)
    ]
