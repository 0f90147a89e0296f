"""The requests and the arrivals of one launch as plain arrays: what every figure is computed from.

A *request* is one client call; an *arrival* is one scheduled task, which sends any number of them. Endpoints are judged
by requests, everything together ("*") by arrivals: what a user waits for is the task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analyse.arrays import NEVER, Bools, Codes, Floats, Times, Where
from harness.analyse.windows import Windows
from harness.domain.columns import names_and_codes
from harness.domain.rows import SAMPLE
from harness.domain.tables import OUTCOMES

OWNER_COLUMNS = ("task", "endpoint", "sequence")
"""What `endpoint_owners` looks at."""
ALL = "*"
"""the endpoint that stands for everything together"""
MEASURED_COLUMNS = (
    *("segment", "arrival", "sequence", "task", "endpoint", "outcome", "status", "error"),
    *("intended_ns", "handed_ns", "started_ns", "finished_ns", "uptake_ns", "pool_ms", "db_ms", "app_ms", "pid"),
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
    came: Bools
    """whether it ended while the launch was measured, whenever it was due"""
    due_ns: Times
    """when it would have been sent by a generator that is never late"""
    finished_ns: Times
    gone_ns: Times
    """as of Arrivals"""
    late_ns: Times
    """how late the engine handed it over; 0 where it was dropped, and of all but an arrival's first"""
    uptake_ns: Times
    """for how long its answer may have lain there before the generator took it up, at most"""
    endpoint: Codes
    """place in `endpoints`, -1 where a request that was never sent cannot be attributed"""
    endpoints: tuple[str, ...]
    sent: Bools
    """whether it is a client call at all, or a sample that the scenario fired itself; else an arrival that was dropped
    or sent nothing, or a task's own error"""
    at_service: Bools
    """whether it was at the service: a client call, or a sample where the scenario sends nothing else"""
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
    came: Bools
    """whether its last answer came while the launch was measured"""
    measured: Bools
    due_ns: Times
    """when it was intended"""
    gone_ns: Times
    """when its last answer came; NEVER where none did, `due_ns` where it was dropped"""
    late_ns: Times
    """how late the engine handed it over; 0 where it was dropped"""
    uptake_ns: Times
    """for how long its answers may have lain there before the generator took them up, at most and in all"""
    calls: NDArray[np.integer]
    """how many requests it sent"""
    own_ms: Floats
    """of this the task itself took for pauses and computing between and before its requests; NaN unless answered"""
    empty: int
    """arrivals of the measure phase beside these whose task returned without a request: neither success nor failure"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of warm-up and measurement as arrays, each worked out once."""

    table: pd.DataFrame
    segment: NDArray[np.uint32]
    sequence: NDArray[np.uint16]
    outcome: Codes
    answered: Bools
    sent: Bools
    came: Bools
    measured: Bools
    intended_ns: Times
    handed_ns: Times
    started_ns: Times
    finished_ns: Times
    uptake_ns: Times
    latency_ms: Floats


def rows_of(table: pd.DataFrame, loaded: Windows, measured: Windows) -> Rows:
    """The rows of warm-up and measurement.

    Args:
        table: the trial's requests, MEASURED_COLUMNS.
        loaded: when warm-up and measurement were on.
        measured: when the measurement was.
    """
    kept = is_in(table["segment"].to_numpy(), loaded)
    table = table if kept.all() else table[kept]
    segment = table["segment"].to_numpy()
    outcome = category_codes(table["outcome"], OUTCOME_PLACES)
    ok = outcome == _OK
    intended, finished = table["intended_ns"].to_numpy(), table["finished_ns"].to_numpy()
    return Rows(
        table=table,
        segment=segment,
        sequence=table["sequence"].to_numpy(),
        outcome=outcome,
        answered=ok | ((outcome == OUTCOME_PLACES["error"]) & (table["status"].to_numpy() > 0)),
        sent=category_codes(table["endpoint"], {"": 0}) != 0,
        came=measured.contain(finished),
        measured=is_in(segment, measured),
        intended_ns=intended,
        handed_ns=table["handed_ns"].to_numpy(),
        started_ns=table["started_ns"].to_numpy(),
        finished_ns=finished,
        uptake_ns=table["uptake_ns"].to_numpy(dtype=np.int64),
        latency_ms=np.where(ok, (finished - intended) / 1e6, np.inf),
    )


def requests_of(rows: Rows, owners: Mapping[str, str]) -> Requests:
    """The requests of warm-up and measurement.

    `owners` name the endpoint of each task that has only one, for arrivals that were dropped before they had a request.
    """
    endpoint, endpoints = _endpoints(rows, owners)
    return Requests(
        latency_ms=rows.latency_ms,
        outcome=rows.outcome,
        answered=rows.answered & rows.sent,
        came=rows.came,
        due_ns=rows.intended_ns + (rows.started_ns - rows.handed_ns),  # both -1 where nothing was sent
        finished_ns=rows.finished_ns,
        gone_ns=_gone_ns(rows.finished_ns, rows.intended_ns, rows.outcome),
        late_ns=_late_ns(rows.handed_ns, rows.intended_ns),
        uptake_ns=rows.uptake_ns,
        endpoint=endpoint,
        endpoints=endpoints,
        sent=rows.sent,
        at_service=_at_service(rows.sent, endpoint, endpoints),
        measured=rows.measured,
        pool_ms=rows.table["pool_ms"].to_numpy(dtype=np.float32),
        db_ms=rows.table["db_ms"].to_numpy(dtype=np.float32),
        app_ms=rows.table["app_ms"].to_numpy(dtype=np.float32),
    )


def _at_service(sent: Bools, endpoint: Codes, endpoints: Sequence[str]) -> Bools:
    sampled = [place for place, name in enumerate(endpoints) if name.startswith(SAMPLE)]
    if not sampled or len(sampled) == len(endpoints):
        return sent
    return sent & ~np.isin(endpoint, sampled)


def arrivals_of(rows: Rows, loaded: Windows, measured: Windows) -> Arrivals:
    """The arrivals of warm-up and measurement, which `loaded` and `measured` are as of `rows_of`."""
    if rows.sequence.any():
        return _several_requests(rows, loaded, measured)
    empty = ~rows.sent & (rows.outcome == _OK)
    answered = rows.answered & rows.sent
    kept: Where = ~empty if empty.any() else slice(None)
    _, load_s = loaded.locate(rows.intended_ns[kept])
    return Arrivals(
        latency_ms=rows.latency_ms[kept],
        load_s=load_s,
        outcome=rows.outcome[kept],
        answered=answered[kept],
        came=rows.came[kept],
        measured=rows.measured[kept],
        due_ns=rows.intended_ns[kept],
        gone_ns=_gone_ns(rows.finished_ns, rows.intended_ns, rows.outcome)[kept],
        late_ns=_late_ns(rows.handed_ns, rows.intended_ns)[kept],
        uptake_ns=rows.uptake_ns[kept],
        calls=np.broadcast_to(np.uint8(1), len(rows.sent))[kept],
        own_ms=np.where(answered, (rows.started_ns - rows.handed_ns) / 1e6, np.nan)[kept],
        empty=int(np.count_nonzero(empty & rows.measured)),
    )


def _late_ns(handed: Times, intended: Times) -> Times:
    late: Times = np.where(handed >= 0, handed - intended, 0)
    return late


def _gone_ns(finished: Times, intended: Times, outcome: Codes) -> Times:
    """When each was gone from the service, as far as the client knows."""
    gone = finished.copy()
    gone[outcome == OUTCOME_PLACES["unfinished"]] = NEVER
    dropped = outcome == OUTCOME_PLACES["dropped"]
    gone[dropped] = intended[dropped]
    return gone


def _several_requests(rows: Rows, loaded: Windows, measured: Windows) -> Arrivals:
    """Arrivals that send more than one request, one after the other or side by side.

    A row that is no client call and has ended says that the task raised: it makes the arrival fail, and asks for no
    answer. Requests of a task that a user of the closed model had begun in the warm-up are no arrival of the
    measurement: the task is the warm-up's, and has its first row there.
    """
    # rows come in the order in which they ended, so that a stable sort has little to do
    arrival = rows.segment.astype(np.int64) << 32 | rows.table["arrival"].to_numpy()
    order = np.lexsort((rows.sequence, arrival))
    first = _starts(arrival[order])
    begun_here = rows.sequence[order[first]] == 0
    if not begun_here.all():
        order = order[np.repeat(begun_here, np.diff(np.append(first, len(order))))]
        first = _starts(arrival[order])
    head, per_row = order[first], np.diff(np.append(first, len(order)))
    outcome = np.maximum.reduceat(rows.outcome[order], first)
    sent = np.logical_or.reduceat(rows.sent[order], first)
    raised = ~rows.sent & ((rows.outcome == _OK) | (rows.outcome == OUTCOME_PLACES["error"]))
    answered = np.logical_and.reduceat((rows.answered | raised)[order], first) & sent
    finished = np.maximum.reduceat(rows.finished_ns[order], first)
    intended, is_measured = rows.intended_ns[head], rows.measured[head]
    own_ns = rows.started_ns[head] - rows.handed_ns[head] + _between_ns(rows, order, first, per_row)
    empty = ~sent & (outcome == _OK)
    kept = ~empty
    _, load_s = loaded.locate(intended[kept])
    return Arrivals(
        latency_ms=np.where(outcome == _OK, (finished - intended) / 1e6, np.inf)[kept],
        load_s=load_s,
        outcome=outcome[kept],
        answered=answered[kept],
        came=measured.contain(finished)[kept],
        measured=is_measured[kept],
        due_ns=intended[kept],
        gone_ns=_gone_ns(finished, intended, outcome)[kept],
        late_ns=_late_ns(rows.handed_ns[head], intended)[kept],
        uptake_ns=np.add.reduceat(rows.uptake_ns[order], first)[kept],
        calls=np.add.reduceat(rows.sent[order].astype(np.int64), first)[kept],
        own_ms=np.where(answered, own_ns / 1e6, np.nan)[kept],
        empty=int(np.count_nonzero(empty & is_measured)),
    )


def _starts(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where in sorted keys each new one begins."""
    return np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])


def _between_ns(rows: Rows, order: NDArray[np.intp], first: NDArray[np.intp], per_row: NDArray[np.intp]) -> Times:
    """By arrival, the time from its first send to its last answer in which none of its requests was under way.

    A request begins such a gap's end if it was sent after all those before it had ended. To take the running maximum
    of ends within each arrival at once, each arrival's times are moved beyond those of the one before.
    """
    started, finished = rows.started_ns[order], rows.finished_ns[order]
    began = np.repeat(started[first], per_row)
    from_ns, until_ns = started - began, np.maximum(finished - began, 0)
    shift_ns = np.repeat(np.arange(len(first)) * (int(until_ns.max(initial=0)) + 1), per_row)
    ended_ns = np.maximum.accumulate(until_ns + shift_ns) - shift_ns
    gaps_ns = np.maximum(from_ns[1:] - ended_ns[:-1], 0)
    gaps_ns[first[1:] - 1] = 0  # between one arrival and the next
    return np.add.reduceat(np.concatenate([[0], gaps_ns]), first).astype(np.int64)


def endpoint_owners(tables: Iterable[pd.DataFrame]) -> dict[str, str]:
    """The endpoint of each task whose first requests all go to the same one, over all the tables of a run."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for rows in tables:
        task_names, task = names_and_codes(rows["task"])
        endpoint_names, endpoint = names_and_codes(rows["endpoint"])
        first = rows["sequence"].to_numpy() == 0
        known = first & (task >= 0) & (endpoint >= 0)
        for pair in np.flatnonzero(np.bincount(task[known] * np.int64(len(endpoint_names)) + endpoint[known])):
            seen[task_names[pair // len(endpoint_names)]].add(endpoint_names[pair % len(endpoint_names)])
    sent = {task: names - {""} for task, names in seen.items()}
    return {task: next(iter(names)) for task, names in sent.items() if len(names) == 1}


def category_codes(column: pd.Series, places: Mapping[str, int]) -> Codes:
    """The place that each value's name has in `places`, -1 for other names."""
    names, codes = names_and_codes(column)
    # a missing value has code -1, which picks the last entry
    found: Codes = np.array([*(places.get(name, -1) for name in names), -1], dtype=np.int16)[codes]
    return found


def is_in(segment: NDArray[np.uint32], windows: Windows) -> Bools:
    """Which rows belong to one of the segments, by table: `numpy.isin` would sort millions of them."""
    size = int(windows.segments.max(initial=-1)) + 2
    listed: Bools = np.zeros(size, dtype=np.bool_)
    listed[windows.segments] = True
    # the last entry stands for all others, the setup segment too
    inside: Bools = listed[np.minimum(segment, size - 1)]
    return inside


def _endpoints(rows: Rows, owners: Mapping[str, str]) -> tuple[Codes, tuple[str, ...]]:
    own = set(names_and_codes(rows.table["endpoint"])[0]) - {""}
    names = tuple(sorted(own | set(owners.values())))
    places = {name: place for place, name in enumerate(names)}
    endpoint = category_codes(rows.table["endpoint"], places)
    # an answered row without an endpoint belongs to an arrival that sent nothing
    lost = np.flatnonzero((endpoint < 0) & (rows.outcome != _OK))
    if len(lost):
        by_task = category_codes(rows.table["task"], {task: places[endpoint] for task, endpoint in owners.items()})
        endpoint[lost] = by_task[lost]
    return endpoint, names


def probe_user_ms(rows: pd.DataFrame, spans: Windows) -> Floats:
    """Return the latencies, ascending, of what the probe user asked in the measured time; failures are infinite."""
    if rows.empty:
        return np.zeros(0)
    due_ns = rows["intended_ns"].to_numpy()
    took_ms = (rows["finished_ns"].to_numpy() - due_ns) / 1e6
    latency_ms = np.where(rows["outcome"].to_numpy() == "ok", took_ms, np.inf)
    return np.sort(latency_ms[spans.contain(due_ns)])
