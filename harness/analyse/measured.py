"""The measured requests of one launch as plain arrays: what every figure is computed from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analyse.arrays import Bools, Codes, Floats, Times
from harness.analyse.rounds import Windows
from harness.domain.evidence import OUTCOMES

OWNER_COLUMNS = ("task", "endpoint", "sequence")
"""What `endpoint_owners` looks at."""
MEASURED_COLUMNS = (
    *("segment", "arrival", "sequence", "task", "endpoint", "outcome", "status"),
    *("intended_ns", "finished_ns", "pool_ms", "db_ms", "app_ms"),
)
"""What `measured` and the ledger's check look at."""
OUTCOME_PLACES = {outcome: place for place, outcome in enumerate(OUTCOMES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One entry per offered request of the measure phase, in the order of its rows."""

    latency_ms: Floats
    """from the intended time to the end of the answer; infinite for every outcome but ok"""
    time_s: Floats
    """the launch's own measured time at which it was intended"""
    outcome: Codes
    """place in OUTCOMES"""
    answered: Bools
    """whether an HTTP answer came back, good or bad"""
    endpoint: Codes
    """place in `endpoints`, -1 where a request that was never sent cannot be attributed"""
    endpoints: tuple[str, ...]
    pool_ms: NDArray[np.float32]
    db_ms: NDArray[np.float32]
    app_ms: NDArray[np.float32]


def measured(rows: pd.DataFrame, windows: Windows, owners: Mapping[str, str]) -> Measured:
    """The requests of a launch that belong to its measured windows.

    Args:
        rows: the trial's requests, REQUEST_COLUMNS.
        windows: its measured stretches.
        owners: endpoint of each task that has only one, for arrivals that were dropped before they had a request.
    """
    segment = rows["segment"].to_numpy()
    kept, offset_ns = _by_segment(segment, windows)
    rows = rows if kept.all() else rows[kept]
    intended = rows["intended_ns"].to_numpy()
    outcome = category_codes(rows["outcome"], OUTCOME_PLACES)
    ok = outcome == OUTCOME_PLACES["ok"]
    endpoint, endpoints = _endpoints(rows, owners)
    latency_ms = np.where(ok, (rows["finished_ns"].to_numpy() - intended) / 1e6, np.inf)
    return Measured(
        latency_ms=latency_ms,
        time_s=(intended + offset_ns[kept]) / 1e9,
        outcome=outcome,
        answered=ok | ((outcome == OUTCOME_PLACES["error"]) & (rows["status"].to_numpy() > 0)),
        endpoint=endpoint,
        endpoints=endpoints,
        pool_ms=rows["pool_ms"].to_numpy(dtype=np.float32),
        db_ms=rows["db_ms"].to_numpy(dtype=np.float32),
        app_ms=rows["app_ms"].to_numpy(dtype=np.float32),
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


def _by_segment(segment: NDArray[np.uint32], windows: Windows) -> tuple[Bools, Times]:
    """Which rows lie in a measured window, and what brings their clock to the launch's measured time."""
    size = int(windows.segments.max(initial=-1)) + 2
    is_measured = np.zeros(size, dtype=np.bool_)
    is_measured[windows.segments] = True
    shift_ns = np.zeros(size, dtype=np.int64)
    shift_ns[windows.segments] = np.round(windows.offset_s * 1e9).astype(np.int64) - windows.start_ns
    place = np.minimum(segment, size - 1)  # the last entry stands for all others, the setup segment too
    return is_measured[place], shift_ns[place]


def _endpoints(rows: pd.DataFrame, owners: Mapping[str, str]) -> tuple[Codes, tuple[str, ...]]:
    own = {str(name) for name in as_category(rows["endpoint"]).cat.categories} - {""}
    names = tuple(sorted(own | set(owners.values())))
    places = {name: place for place, name in enumerate(names)}
    sent = category_codes(rows["endpoint"], places)
    by_task = category_codes(rows["task"], {task: places[endpoint] for task, endpoint in owners.items()})
    return np.where(sent >= 0, sent, by_task), names
