"""The requests and the arrivals of one launch as plain arrays: what every figure is computed from.

A *request* is one client call; an *arrival* is one scheduled task, which sends any number of them. Endpoints are judged
by requests, everything together ("*") by arrivals: what a user waits for is the task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analyse.arrays import Bools, Codes, Floats, Times
from harness.analyse.windows import Windows
from harness.domain.evidence import OUTCOMES

OWNER_COLUMNS = ("task", "endpoint", "sequence")
"""What `endpoint_owners` looks at."""
MEASURED_COLUMNS = (
    *("segment", "arrival", "sequence", "task", "endpoint", "outcome", "status"),
    *("intended_ns", "handed_ns", "started_ns", "finished_ns", "pool_ms", "db_ms", "app_ms"),
)
"""What this module and the ledger's check look at."""
OUTCOME_PLACES = {outcome: place for place, outcome in enumerate(OUTCOMES)}
_OK = OUTCOME_PLACES["ok"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """One entry per client call, sent or not, in the order of the rows."""

    latency_ms: Floats
    """from the intended time (an arrival's first; else from the send) to the end of the answer; infinite unless ok"""
    outcome: Codes
    """place in OUTCOMES"""
    answered: Bools
    """whether an HTTP answer came back, good or bad"""
    finished_ns: Times
    endpoint: Codes
    """place in `endpoints`, -1 where a request that was never sent cannot be attributed"""
    endpoints: tuple[str, ...]
    measured: Bools
    """belongs to the measure phase; the others to the warm-up"""
    pool_ms: NDArray[np.float32]
    db_ms: NDArray[np.float32]
    app_ms: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """One entry per arrival that sent a request, or would have."""

    latency_ms: Floats
    """from the intended time to the last answer of its task; infinite when any of its requests failed"""
    load_s: Floats
    """the load clock at which it was intended, from the start of the first segment"""
    outcome: Codes
    """place in OUTCOMES: the worst of its requests'"""
    answered: Bools
    """whether every request got an HTTP answer, good or bad"""
    finished_ns: Times
    """its last answer; -1 where none came"""
    there_s: Floats
    """how long it was there, answered or not: 0 when it was dropped, infinite when it never ended"""
    measured: Bools
    late_s: Floats
    """how late the engine handed it over; 0 where it was dropped"""
    own_ms: Floats
    """of this the task itself took for pauses and computing between and before its requests; NaN unless answered"""
    empty: int
    """arrivals of the measure phase beside these whose task returned without a request: neither success nor failure"""


def requests_of(rows: pd.DataFrame, loaded: Windows, measured: Windows, owners: Mapping[str, str]) -> Requests:
    """The requests of warm-up and measurement.

    Args:
        rows: the trial's requests, MEASURED_COLUMNS.
        loaded: when warm-up and measurement were on.
        measured: when the measurement was.
        owners: endpoint of each task that has only one, for arrivals that were dropped before they had a request.
    """
    rows = _of_segments(rows, loaded)
    outcome = category_codes(rows["outcome"], OUTCOME_PLACES)
    ok, finished = outcome == _OK, rows["finished_ns"].to_numpy()
    endpoint, endpoints = _endpoints(rows, owners)
    return Requests(
        latency_ms=np.where(ok, (finished - rows["intended_ns"].to_numpy()) / 1e6, np.inf),
        outcome=outcome,
        answered=_answered(rows, outcome),
        finished_ns=finished,
        endpoint=endpoint,
        endpoints=endpoints,
        measured=_is_in(rows["segment"].to_numpy(), measured),
        pool_ms=rows["pool_ms"].to_numpy(dtype=np.float32),
        db_ms=rows["db_ms"].to_numpy(dtype=np.float32),
        app_ms=rows["app_ms"].to_numpy(dtype=np.float32),
    )


def arrivals_of(rows: pd.DataFrame, loaded: Windows, measured: Windows) -> Arrivals:
    """The arrivals of warm-up and measurement; arguments as of `requests_of`."""
    rows = _of_segments(rows, loaded)
    outcome = category_codes(rows["outcome"], OUTCOME_PLACES)
    answered, sequence = _answered(rows, outcome), rows["sequence"].to_numpy()
    handed, started, finished = (rows[name].to_numpy() for name in ("handed_ns", "started_ns", "finished_ns"))
    segment, intended = rows["segment"].to_numpy(), rows["intended_ns"].to_numpy()
    sent = category_codes(rows["endpoint"], {"": 0}) != 0
    own_ns, handed_head = started - handed, handed
    if sequence.any():
        order = np.lexsort((sequence, rows["arrival"].to_numpy(), segment))
        first = np.flatnonzero(sequence[order] == 0)
        head = order[first]
        taken_ns = np.add.reduceat((finished - started)[order], first)
        finished = np.maximum.reduceat(finished[order], first)
        # requests that a task sends side by side add up to more than the time they take together
        handed_head = handed[head]
        own_ns = finished - handed_head - np.minimum(taken_ns, finished - started[head])
        outcome, answered = np.maximum.reduceat(outcome[order], first), np.logical_and.reduceat(answered[order], first)
        sent, segment, intended = np.logical_or.reduceat(sent[order], first), segment[head], intended[head]
    empty, is_measured = ~sent & (outcome == _OK), _is_in(segment, measured)
    kept = ~empty
    _, load_s = loaded.locate(intended[kept])
    there_s = np.where(outcome == OUTCOME_PLACES["unfinished"], np.inf, (finished - intended) / 1e9)
    there_s[outcome == OUTCOME_PLACES["dropped"]] = 0.0
    return Arrivals(
        latency_ms=np.where(outcome == _OK, (finished - intended) / 1e6, np.inf)[kept],
        there_s=there_s[kept],
        load_s=load_s,
        outcome=outcome[kept],
        answered=answered[kept],
        finished_ns=finished[kept],
        measured=is_measured[kept],
        late_s=np.where(handed_head >= 0, np.maximum(handed_head - intended, 0) / 1e9, 0.0)[kept],
        own_ms=np.where(answered, own_ns / 1e6, np.nan)[kept],
        empty=int(np.count_nonzero(empty & is_measured)),
    )


def endpoint_owners(tables: Iterable[pd.DataFrame]) -> dict[str, str]:
    """The endpoint of each task whose first requests all go to the same one, over all the tables of a run."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for rows in tables:
        tasks, endpoints = as_category(rows["task"]), as_category(rows["endpoint"])
        task_names, endpoint_names = list(tasks.cat.categories), list(endpoints.cat.categories)
        first = rows["sequence"].to_numpy() == 0
        task, endpoint = tasks.cat.codes.to_numpy(), endpoints.cat.codes.to_numpy()
        known = first & (task >= 0) & (endpoint >= 0)
        for pair in np.flatnonzero(np.bincount(task[known] * np.int64(len(endpoint_names)) + endpoint[known])):
            seen[task_names[pair // len(endpoint_names)]].add(endpoint_names[pair % len(endpoint_names)])
    sent = {task: names - {""} for task, names in seen.items()}
    return {task: next(iter(names)) for task, names in sent.items() if len(names) == 1}


def as_category(column: pd.Series) -> pd.Series:
    """The column as a categorical, whatever wrote it."""
    return column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")


def category_codes(column: pd.Series, places: Mapping[str, int]) -> Codes:
    """The place that each value's name has in `places`, -1 for other names."""
    column = as_category(column)
    found = [places.get(name, -1) for name in column.cat.categories]
    # a missing value has code -1, which picks the last entry
    return np.array([*found, -1], dtype=np.int16)[column.cat.codes.to_numpy()]


def _of_segments(rows: pd.DataFrame, windows: Windows) -> pd.DataFrame:
    kept = _is_in(rows["segment"].to_numpy(), windows)
    return rows if kept.all() else rows[kept]


def _is_in(segment: NDArray[np.uint32], windows: Windows) -> Bools:
    """Which rows belong to one of the segments, by table: `numpy.isin` would sort millions of them."""
    size = int(windows.segments.max(initial=-1)) + 2
    listed: Bools = np.zeros(size, dtype=np.bool_)
    listed[windows.segments] = True
    # the last entry stands for all others, the setup segment too
    return np.asarray(listed[np.minimum(segment, size - 1)], dtype=np.bool_)


def _answered(rows: pd.DataFrame, outcome: Codes) -> Bools:
    answered: Bools = (outcome == _OK) | ((outcome == OUTCOME_PLACES["error"]) & (rows["status"].to_numpy() > 0))
    return answered


def _endpoints(rows: pd.DataFrame, owners: Mapping[str, str]) -> tuple[Codes, tuple[str, ...]]:
    own = {str(name) for name in as_category(rows["endpoint"]).cat.categories} - {""}
    names = tuple(sorted(own | set(owners.values())))
    places = {name: place for place, name in enumerate(names)}
    sent = category_codes(rows["endpoint"], places)
    by_task = category_codes(rows["task"], {task: places[endpoint] for task, endpoint in owners.items()})
    # an answered row without an endpoint belongs to an arrival that sent nothing
    missing = (sent < 0) & (category_codes(rows["outcome"], OUTCOME_PLACES) != _OK)
    return np.where(missing, by_task, sent), names
