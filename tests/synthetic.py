"""Evidence made up so that its figures are known: rows, turns, ledgers, trials and runs, complete and valid by default.

Everything a function is not told is consistent with the rest: arrivals come 10 ms apart (100/s, as the segments plan
it), a launch has its load in one turn, wall time is `START_NS` plus its load clock, and a ledger counts its rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from harness.analyse import certify
from harness.analyse.judged import Known
from harness.domain.cell import Cell
from harness.domain.certificate import Certificate
from harness.domain.columns import names_and_codes
from harness.domain.evidence import Context, Run, RunInfo, Trial, TrialEvidence
from harness.domain.experiment import DatabaseSpec, Design, Experiment, Load, Pool, Session, Slo, Target
from harness.domain.load import SETUP_SEGMENT, EndpointCount, Launch, Ledger, Segment, TaskCount, TurnRun
from harness.domain.tables import (
    ACTIVITY_COLUMNS,
    GENERATOR_COLUMNS,
    PROBE_COLUMNS,
    PROCESS_COLUMNS,
    REQUEST_COLUMNS,
    no_counts,
    no_holds,
    no_log_readings,
    no_null_requests,
    no_probe_user,
    no_server_readings,
    no_sites,
    none_unreturned,
)

SECOND = 1_000_000_000
START_NS = 5 * SECOND
start_ns = START_NS
LOST_WORKER = Context(lost_workers=("2",))
"""Of a trial whose instrument failed."""
MEASURE_S = 10.0
"""how long a trial measures unless it is told otherwise"""


def rows(
    latency_ms: Sequence[float] | np.ndarray,
    *,
    segment: int = 0,
    start_ns: int | None = None,
    every_ms: float = 10.0,
    **columns: Any,
) -> pd.DataFrame:
    """One request an arrival, `every_ms` apart from the segment's default start on; an infinite latency is an error.

    Columns can be replaced whole or by a scalar. What was dropped was never sent, what is unfinished has no end, and
    neither has an answer, nor has a timeout.
    """
    latency = np.asarray(latency_ms, dtype=np.float64)
    count, ok = len(latency), np.isfinite(latency)
    begun_ns = START_NS + (segment % SETUP_SEGMENT) * SECOND if start_ns is None else start_ns
    intended = begun_ns + np.round(np.arange(count) * every_ms * 1e6).astype(np.int64)
    outcome = np.broadcast_to(np.asarray(columns.get("outcome", np.where(ok, "ok", "error")), dtype=object), count)
    dropped, ended = outcome == "dropped", np.isin(outcome, ("ok", "error", "timeout"))
    sent_ns = np.where(dropped, -1, intended)
    finished = intended + np.where(ok, np.round(np.where(ok, latency, 0) * 1e6), 1).astype(np.int64)
    values: dict[str, Any] = {
        "segment": segment,
        "phase": "measure",
        "arrival": np.arange(count),
        "sequence": 0,
        "task": "get",
        "endpoint": np.where(dropped, "", "GET /heroes/{id}"),
        "outcome": outcome,
        "status": np.select([outcome == "ok", outcome == "error"], [200, 500], 0),
        "error": np.where(outcome == "error", "500", ""),
        "intended_ns": intended,
        "handed_ns": sent_ns,
        "started_ns": sent_ns,
        "finished_ns": np.where(ended, finished, -1),
        "uptake_ns": 0,
        "response_bytes": 100,
        "pool_ms": np.nan,
        "db_ms": np.nan,
        "app_ms": np.nan,
        "pid": 0,
    }
    given = values | columns
    return _frame({name: _column(given[name], kind, count) for name, kind in REQUEST_COLUMNS.items()})


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Columns whose names are plain objects: pandas finds those of its own text type in twice the time."""
    frame = pd.DataFrame(dict(enumerate(columns.values())))
    frame.columns = _names(tuple(columns))
    return frame


@cache
def _names(columns: tuple[str, ...]) -> pd.Index:
    return pd.Index(columns, dtype=object)


def _column(value: Any, kind: str, count: int) -> Any:
    """A scalar or a sequence as a column: what `astype` of a whole frame makes of it, in a third of the time."""
    if kind != "category":
        return np.broadcast_to(np.asarray(value), count).astype(kind)
    if isinstance(value, str):
        return pd.Categorical.from_codes(np.zeros(count, np.int8), dtype=_kind((value,) if count else ()))
    names = np.broadcast_to(np.asarray(value, dtype=object), count).tolist()
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return pd.Categorical.from_codes([places[name] for name in names], dtype=_kind(tuple(places)))


@cache
def _kind(names: tuple[str, ...]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(pd.Index(names, dtype=str))


def request_rows(requests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a request, each a mapping of the columns that matter; the rest as of an arrival's only, good request."""
    usual = rows([1.0]).iloc[0].to_dict()
    frame = pd.DataFrame([usual | dict(request) for request in requests], columns=list(REQUEST_COLUMNS))
    return frame.astype(dict(REQUEST_COLUMNS))


def table(columns: Mapping[str, str], **values: Any) -> pd.DataFrame:
    """A table with these columns, what is not given being 0 or ""."""
    count = max((len(value) for value in values.values() if isinstance(value, list)), default=0)
    filled = {name: values.get(name, "" if kind == "category" else 0) for name, kind in columns.items()}
    return _frame({name: _column(filled[name], kind, count) for name, kind in columns.items()})


@cache
def nothing_read() -> Mapping[str, pd.DataFrame]:
    """The tables of a trial in which nothing but requests was seen, shared: nobody changes evidence."""
    return {
        "activity": table(ACTIVITY_COLUMNS),
        "probe": table(PROBE_COLUMNS),
        "process": table(PROCESS_COLUMNS),
        "server": no_server_readings(),
        "generator": table(
            GENERATOR_COLUMNS,
            t_ns=[START_NS + SECOND * second // 4 for second in range(round(4 * MEASURE_S))],
            cpu_share=0.3,
            stall_max_ms=3.0,
        ),
        "counts": no_counts(),
        "null": no_null_requests(),
        "probe_user": no_probe_user(),
        "log": no_log_readings(),
        "holds": no_holds(),
        "unreturned": none_unreturned(),
        "sites": no_sites(),
    }


def segment(index: int, launch_id: str = "b1-c1", **changes: Any) -> Segment:
    """One second of measurement at 100/s, the `index`-th second of its launch's load clock."""
    values: dict[str, Any] = {
        "phase": "measure",
        "start_s": float(index),
        "duration_s": 1.0,
        "model": "open",
        "rate_rps": 100.0,
        "users": None,
        "arrivals": "uniform",
        "seed": index,
    }
    return Segment(index=index, launch_id=launch_id, **(values | changes))


def turn(load_start_s: float, load_end_s: float, launch_id: str = "b1-c1", **changes: Any) -> TurnRun:
    """A turn in which the launch's load clock went from one time to the other.

    `at_s` says when it began, in seconds of wall time after START_NS (by default as if no other launch had had a turn),
    `idle_s` how long its service was still at work afterwards.
    """
    begun_ns = START_NS + round(changes.pop("at_s", load_start_s) * SECOND)
    load_start_ns = round(load_start_s * SECOND)
    end_ns = begun_ns + round(load_end_s * SECOND) - load_start_ns
    values: dict[str, Any] = {
        "cut": "clear",
        "idle_ns": end_ns + round(changes.pop("idle_s", 0.0) * SECOND),
        "idle": True,
        "in_flight_peak": 1,
    }
    return TurnRun(
        launch_id=launch_id,
        start_ns=begun_ns,
        end_ns=end_ns,
        load_start_ns=load_start_ns,
        **(values | changes),
    )


def whole_turn(segments: Sequence[Segment], **changes: Any) -> TurnRun:
    """One turn in which all the segments of a launch were sent."""
    begun_s, ended_s = min(own.start_s for own in segments), max(own.end_s for own in segments)
    return turn(begun_s, ended_s, segments[0].launch_id, **({"cut": "end"} | changes))


def ledger(segments: Sequence[Segment], turns: Sequence[TurnRun] | None = None, *, share: float = 1.0) -> Ledger:
    """`share` of the planned arrivals were offered and done; in one turn unless `turns` are given."""
    counts = [(own, round(own.duration_s * own.rate_rps * share)) for own in segments if own.rate_rps]
    return Ledger(
        tasks=tuple(
            TaskCount(segment=own.index, task="get", offered=n, done=n, dropped=0, unfinished=0) for own, n in counts
        ),
        endpoints=(),
        turns=tuple(turns) if turns is not None else (whole_turn(segments),),
    )


def numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Arrivals numbered within their segment, each from a row of sequence 0 on: rows may come from several draws."""
    first, segment = rows["sequence"].to_numpy() == 0, rows["segment"].to_numpy()
    arrival = np.zeros(len(rows), np.uint32)
    for each in np.unique(segment):
        arrival[segment == each] = np.maximum(np.cumsum(first[segment == each]) - 1, 0)
    return rows if np.array_equal(rows["arrival"].to_numpy(), arrival) else rows.assign(arrival=arrival)


def counted(ledger: Ledger, rows: pd.DataFrame) -> Ledger:
    """The ledger with the counts that a generator would have kept of these rows."""
    sent = rows["segment"].to_numpy() != SETUP_SEGMENT
    segments, arrivals = (rows[name].to_numpy()[sent].tolist() for name in ("segment", "arrival"))
    tasks, endpoints, outcomes = (_texts(rows[name], sent) for name in ("task", "endpoint", "outcome"))
    by_endpoint: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for (segment, endpoint, outcome), number in Counter(zip(segments, endpoints, outcomes, strict=True)).items():
        if outcome in ("ok", "error", "timeout"):
            by_endpoint[segment, endpoint][outcome] = number
    states = [outcome if outcome in ("dropped", "unfinished") else "done" for outcome in outcomes]
    written = sorted(set(zip(segments, tasks, arrivals, states, strict=True)))
    ended = {(segment, task, arrival): state for segment, task, arrival, state in written}  # done only if all are
    by_task: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for (segment, task, state), number in Counter((own[0], own[1], state) for own, state in ended.items()).items():
        by_task[segment, task][state] = number
    return replace(
        ledger,
        tasks=tuple(
            TaskCount(segment=segment, task=task, offered=n.total(), **_each(n, "done", "dropped", "unfinished"))
            for (segment, task), n in sorted(by_task.items())
        ),
        endpoints=tuple(
            EndpointCount(segment=segment, endpoint=endpoint, requests=n.total(), **_each(n, "ok", "error", "timeout"))
            for (segment, endpoint), n in sorted(by_endpoint.items())
        ),
    )


def _texts(column: pd.Series, kept: np.ndarray) -> list[str]:
    names, codes = names_and_codes(column)
    return [names[code] for code in codes[kept].tolist()]


def _each(counts: Counter[str], *names: str) -> dict[str, int]:
    return {name: counts[name] for name in names}


def cell(number: int = 1, *, factors: tuple[tuple[str, Any], ...] | None = None, **sections: Any) -> Cell:
    """A cell whose pool has 5 connections times its number, and no overflow."""
    named = (("pool.pool_size", 5 * number),) if factors is None else factors
    return Cell(
        id=f"c{number}",
        label=f"pool_size {5 * number}",
        factors=named,
        pool=sections.get("pool", Pool(pool_size=5 * number, max_overflow=0)),
        session=Session(),
        target=sections.get("target", Target()),
        database=DatabaseSpec(),
        load=sections.get("load", Load(rate_rps=100.0)),
    )


def _planned_as_offered(segment: Segment, rows: pd.DataFrame) -> Segment:
    """The segment, at the rate of its rows where these are few: a certificate would call the plan not kept."""
    own = (rows["segment"].to_numpy() == segment.index) & (rows["sequence"].to_numpy() == 0)
    offered = int(np.count_nonzero(own))
    few = segment.rate_rps is not None and offered and offered < 0.9 * segment.rate_rps * segment.duration_s
    return replace(segment, rate_rps=offered / segment.duration_s) if few else segment


def trial(
    cell: Cell, block: int, rows: pd.DataFrame, *, segments: Sequence[Segment] | None = None, **changes: Any
) -> TrialEvidence:
    """A launch's evidence; the ledger's counts are those of the rows unless `own_ledger` is given whole.

    Without `segments` one measurement of MEASURE_S, or as long as arrivals are due. Without a `ledger` or `turns` the
    launch had one turn, and its service was idle when the last answer had come.
    """
    launch_id, rows = f"b{block}-{cell.id}", numbered(rows)
    lasted_s = (int(rows["intended_ns"].max()) - START_NS) / SECOND if len(rows) else 0.0
    given = segments if segments is not None else [segment(0, launch_id, duration_s=max(MEASURE_S, lasted_s))]
    own = tuple(_planned_as_offered(each, rows) for each in given)
    turns = changes.get("turns")
    if turns is None:
        went = whole_turn(own)
        turns = (replace(went, idle_ns=max(went.idle_ns, int(rows["finished_ns"].max()) if len(rows) else 0)),)
    return TrialEvidence(
        trial=Trial(
            id=launch_id,
            launch=Launch(id=launch_id, cell=cell, block=block),
            sitting=changes.get("sitting", block),
            start_ns=START_NS,
            segments=own,
            ledger=changes.get("own_ledger") or counted(changes.get("ledger") or ledger(own, turns), rows),
            context=changes.get("context", Context(clock_uncertainty_ms=0.001)),
        ),
        requests=rows,
        activity=changes.get("activity", nothing_read()["activity"]),
        probe=changes.get("probe", nothing_read()["probe"]),
        process=changes.get("process", nothing_read()["process"]),
        server=changes.get("server", nothing_read()["server"]),
        **{name: nothing_read()[name] for name in ("generator", "counts", "log", "holds", "unreturned", "sites")},
        null=changes.get("null", nothing_read()["null"]),
        probe_user=changes.get("probe_user", nothing_read()["probe_user"]),
    )


def certificate(**changes: Any) -> Certificate:
    """The certificate of a clean second of 100 arrivals, with what is given instead."""
    segments = changes.get("segments", [segment(0)])
    clean: dict[str, Any] = {
        "rows": rows([10.0] * 100),
        "segments": segments,
        "ledger": ledger(segments),
        "ledger_problems": (),
        "gaps": (),
        "generator": None,
        "probe": table(PROBE_COLUMNS),
        "slo": Slo(),
    }
    return certify(Known(**(clean | changes)))


def run(trials: Sequence[TrialEvidence], cells: Sequence[Cell] | None = None, **changes: Any) -> Run:
    """A run with these trials, of the cells given or of theirs."""
    known = {evidence.trial.launch.cell.id: evidence.trial.launch.cell for evidence in trials}
    counts = Counter(own.trial.launch.cell.id for own in trials)
    experiment = Experiment(
        schema_version=1,
        name="test",
        load=Load(rate_rps=100.0),
        design=Design(launches=changes.get("launches", max(counts.values(), default=1))),
        slo=changes.get("slo", Slo(p95_ms=50.0)),
    )
    info = RunInfo(
        schema_version=1,
        run_id="20260101T000000Z-test-0000",
        created_utc="2026-01-01T00:00:00Z",
        poolbench_version="0",
        experiment=experiment,
        cells=tuple(cells) if cells is not None else tuple(known.values()),
        strategy="fixed",
        environment={},
    )
    return Run(info=info, trials=tuple(trials), pilots=tuple(changes.get("pilots", ())))


def blocked_run(latencies: Mapping[int, Sequence[Sequence[float] | np.ndarray]], **changes: Any) -> Run:
    """Cell number -> its launches' latencies, spread over MEASURE_S; one sitting for each launch."""
    trials = [
        trial(
            cell(number),
            block,
            rows(latency, every_ms=1000 * MEASURE_S / max(1, len(latency))),
            sitting=100 * number + block,
        )
        for number, by_block in latencies.items()
        for block, latency in enumerate(by_block, start=1)
    ]
    return run(trials, **changes)
