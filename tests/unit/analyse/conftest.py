"""Builds synthetic evidence: rows, trials and runs whose figures are known by construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.domain.evidence import (
    ACTIVITY_COLUMNS,
    PROBE_COLUMNS,
    PROCESS_COLUMNS,
    REQUEST_COLUMNS,
    Certificate,
    Run,
    RunInfo,
    Trial,
    TrialEvidence,
)
from harness.domain.experiment import Cell, DatabaseSpec, Experiment, Load, Pool, Session, Slo, Target
from harness.domain.load import SETUP_SEGMENT, EndpointCount, Launch, Ledger, Segment, SegmentRun, TaskCount

START_NS = 5_000_000_000
VALID = Certificate(valid=True)


def _rows(latency_ms: Sequence[float], *, segment: int = 0, start_ns: int = START_NS, **columns: Any) -> pd.DataFrame:
    """Open-model requests 1 ms apart; an infinite latency is an error. Columns can be replaced whole or by a scalar."""
    latency = np.asarray(latency_ms, dtype=np.float64)
    count = len(latency)
    intended = start_ns + np.arange(count, dtype=np.int64) * 1_000_000
    ok = np.isfinite(latency)
    values: dict[str, Any] = {
        "segment": segment,
        "phase": "measure",
        "arrival": np.arange(count),
        "sequence": 0,
        "task": "get",
        "endpoint": "GET /heroes/{id}",
        "outcome": np.where(ok, "ok", "error"),
        "status": np.where(ok, 200, 500),
        "error": np.where(ok, "", "500"),
        "intended_ns": intended,
        "started_ns": intended,
        "finished_ns": intended + np.where(ok, np.round(np.where(ok, latency, 0) * 1e6), 1).astype(np.int64),
        "response_bytes": 100,
        "pool_ms": np.nan,
        "db_ms": np.nan,
        "app_ms": np.nan,
        "pid": 0,
    }
    frame = pd.DataFrame(values | columns, index=range(count))
    return frame.astype(dict(REQUEST_COLUMNS))


def _table(columns: Mapping[str, str], **values: Any) -> pd.DataFrame:
    count = max((len(value) for value in values.values() if isinstance(value, list)), default=0)
    filled = {name: values.get(name, "" if kind == "category" else 0) for name, kind in columns.items()}
    return pd.DataFrame(filled, index=range(count)).astype(dict(columns))


def _segment(index: int, launch_id: str = "b1-c1", **changes: Any) -> Segment:
    values: dict[str, Any] = {
        "phase": "measure",
        "round": index,
        "start_s": float(index),
        "duration_s": 1.0,
        "guard_s": 0.0,
        "model": "open",
        "rate_rps": 100.0,
        "users": None,
        "arrivals": "uniform",
        "seed": index,
    }
    return Segment(index=index, launch_id=launch_id, **(values | changes))


def _went(
    segment: Segment, *, drained: bool = True, skipped: bool = False, length_s: float | None = None
) -> SegmentRun:
    start_ns = START_NS + round(segment.start_s * 1e9)
    length = segment.duration_s if length_s is None else length_s
    return SegmentRun(
        segment=segment.index,
        launch_id=segment.launch_id,
        start_ns=start_ns,
        end_ns=start_ns + round(length * 1e9),
        drained=drained,
        skipped=skipped,
        in_flight_peak=1,
    )


def _ledger(segments: Sequence[Segment], *, undrained: Sequence[int] = (), share: float = 1.0) -> Ledger:
    """Every segment went as planned; `share` of the planned arrivals were offered."""
    counts = [
        (segment, round(segment.duration_s * segment.rate_rps * share)) for segment in segments if segment.rate_rps
    ]
    return Ledger(
        tasks=tuple(
            TaskCount(segment=segment.index, task="get", offered=n, done=n, dropped=0, unfinished=0)
            for segment, n in counts
        ),
        endpoints=(),
        segments=tuple(_went(segment, drained=segment.index not in undrained) for segment in segments),
    )


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Arrivals numbered within their segment, each from a row of sequence 0 on: rows may come from several draws."""
    first = rows["sequence"].eq(0).astype(int)
    return rows.assign(arrival=(first.groupby(rows["segment"]).cumsum() - 1).clip(lower=0).astype("uint32"))


def _counted(ledger: Ledger, rows: pd.DataFrame) -> Ledger:
    """The ledger with the counts that a generator would have kept of these rows."""
    names = rows[rows["segment"] != SETUP_SEGMENT].astype({"task": str, "endpoint": str, "outcome": str})
    lost = names["outcome"].where(names["outcome"].isin(["dropped", "unfinished"]), "done")
    arrivals = names.assign(lost=lost).groupby(["segment", "task", "arrival"])["lost"].max()  # alphabetical: done first
    by_task = arrivals.groupby(["segment", "task"]).value_counts().unstack(fill_value=0)
    ended = names[names["outcome"].isin(["ok", "error", "timeout"])]
    by_endpoint = ended.groupby(["segment", "endpoint", "outcome"]).size().unstack(fill_value=0)
    return replace(
        ledger,
        tasks=tuple(
            TaskCount(segment=segment, task=task, offered=int(n.sum()), **_ints(n, "done", "dropped", "unfinished"))
            for (segment, task), n in by_task.iterrows()
        ),
        endpoints=tuple(
            EndpointCount(
                segment=segment, endpoint=endpoint, requests=int(n.sum()), **_ints(n, "ok", "error", "timeout")
            )
            for (segment, endpoint), n in by_endpoint.iterrows()
        ),
    )


def _ints(counts: pd.Series, *names: str) -> dict[str, int]:
    return {name: int(counts.get(name, 0)) for name in names}


def _cell(number: int = 1, *, factors: tuple[tuple[str, Any], ...] | None = None, **sections: Any) -> Cell:
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


def _trial(
    cell: Cell, block: int, rows: pd.DataFrame, *, segments: Sequence[Segment] | None = None, **changes: Any
) -> TrialEvidence:
    """A launch's evidence; the ledger's counts are those of the rows unless `own_ledger` is given whole."""
    launch_id, rows = f"b{block}-{cell.id}", _numbered(rows)
    own = tuple(segments) if segments is not None else (_segment(0, launch_id, duration_s=10.0),)
    trial = Trial(
        id=launch_id,
        launch=Launch(id=launch_id, cell=cell, block=block),
        sitting=changes.get("sitting", block),
        start_ns=START_NS,
        segments=own,
        ledger=changes.get("own_ledger") or _counted(changes.get("ledger", _ledger(own)), rows),
        certificate=changes.get("certificate", VALID),
    )
    return TrialEvidence(
        trial=trial,
        requests=rows,
        activity=changes.get("activity", _table(ACTIVITY_COLUMNS)),
        probe=changes.get("probe", _table(PROBE_COLUMNS)),
        process=changes.get("process", _table(PROCESS_COLUMNS)),
    )


def _run(trials: Sequence[TrialEvidence], cells: Sequence[Cell] | None = None, **changes: Any) -> Run:
    known = {evidence.trial.launch.cell.id: evidence.trial.launch.cell for evidence in trials}
    experiment = Experiment(
        schema_version=1, name="test", load=Load(rate_rps=100.0), slo=changes.get("slo", Slo(p95_ms=50.0))
    )
    info = RunInfo(
        schema_version=1,
        run_id="20260101T000000Z-test-0000",
        created_utc="2026-01-01T00:00:00Z",
        poolbench_version="0",
        experiment=experiment,
        cells=tuple(cells) if cells is not None else tuple(known.values()),
        sittings=(),
        environment={},
        rate_rps=100.0,
        rate_source="given",
    )
    return Run(info=info, trials=tuple(trials), planned_trials=changes.get("planned_trials", len(trials)))


def _blocked_run(latencies: Mapping[int, Sequence[Sequence[float]]], **changes: Any) -> Run:
    """Cell number -> its launches' latencies; one sitting for each launch."""
    trials = [
        _trial(_cell(number), block, _rows(latency), sitting=100 * number + block)
        for number, by_block in latencies.items()
        for block, latency in enumerate(by_block)
    ]
    return _run(trials, **changes)


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """The builders, by name."""
    return SimpleNamespace(
        rows=_rows,
        table=_table,
        segment=_segment,
        went=_went,
        ledger=_ledger,
        counted=_counted,
        cell=_cell,
        trial=_trial,
        run=_run,
        blocked_run=_blocked_run,
        start_ns=START_NS,
    )


@pytest.fixture(scope="session")
def around() -> Any:
    """Draws latencies that scatter log-normally around a median, the same for the same seed."""

    def draw(median_ms: float, *, seed: int, count: int = 1000) -> np.ndarray:
        return median_ms * np.exp(0.3 * np.random.default_rng(seed).standard_normal(count))

    return draw
