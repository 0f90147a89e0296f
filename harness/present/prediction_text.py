"""What other pools would come to: in words, rows and JSON, for `poolbench predict` and the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from harness.domain.prediction import Curve, HoldPart, Point, Prediction, Slowed, WhyDeclined
from harness.present.fitting_table import Column, FittingTable
from harness.present.numbers import UNKNOWN, hold_text, number, percent
from harness.present.phrases import percent_text

PREDICT_SCHEMA_VERSION = 1
WHY_DECLINED: Mapping[WhyDeclined, str] = {
    "closed": 'users wait for each other\'s answers, so that who comes when depends on the pool; load.model = "open" '
    "has arrivals of their own",
    "no_probe": "how long its requests held connections was not seen; that takes the probe, in a service that is "
    "started here",
    "no_pool": "each of its processes would have to have one engine, whose pool keeps connections and has a limit",
    "pgbouncer": "PgBouncer has a queue of its own, which nobody sees",
    "several_requests": "its tasks send several requests, and when the later ones come depends on the answers",
    "several_connections": "its requests take connections several times, several at once, or do not give them back",
    "blocking": "its driver stops the event loop while it waits, so that requests queue for that",
    "threads": "with as many connections as threads requests queue for a thread (target.threadpool_tokens)",
    "failing": "more than 1 % of its requests failed",
    "saturated": "it was offered more than it could carry; measure a larger pool or a lower rate",
    "worker_cpu": "above 70 % CPU of a worker it is the wait for the CPU that decides",
    "one_load": "one load was measured, and how a hold grows with another is not known; measure at least two "
    "(load.rate_rps in the matrix)",
    "outside_loads": "it lies outside of the loads of a worker that were measured",
    "round_trips": "its driver does not show how many round trips a hold has",
    "dials": "it would open connections under load, and how long that takes was not seen; measure a pool with overflow",
}
_PARTS: Mapping[HoldPart, str] = {"database": "database", "distance": "distance", "loop": "the service itself"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """One size of a pool as a row of a table."""

    size: str
    wait: str
    latency: str
    failed: str
    used: str
    erlang: str
    measured: str
    note: str


def curve_title(curve: Curve) -> str:
    """The load and what else the cells have in common: "driver asyncpg, 60/s, 2 workers, 5 ms away"."""
    own = curve.setting
    named = [f"{key.rsplit('.', 1)[-1]} {value}" for key, value in curve.factors]
    if own.workers > 1:
        named.append(f"{own.workers} workers")
    if own.rtt_ms:
        named.append(f"{own.rtt_ms:g} ms away")
    return ", ".join([f"{own.rate_rps:g}/s", *named])


def curve_texts(curve: Curve) -> Iterator[str]:
    """What a curve rests on, what formulas say, and where measured cells parted from it and why."""
    told = next((own for own in curve.predicted if own.hold_ms is not None), None)
    if curve.declined is not None:
        yield f"Nothing is predicted: {WHY_DECLINED[curve.declined]}."
    elif told is not None and told.hold_ms is not None:
        parts = " + ".join(
            f"{hold_text(ms)} {_PARTS[part]}" for part, ms in told.hold_ms.items() if ms or part != "distance"
        )
        hold_ms, workers = sum(told.hold_ms.values()), curve.setting.workers
        each = " in each worker" if workers > 1 else ""
        yield (
            f"From the requests of {curve.source}: a hold takes {hold_text(hold_ms)} ({parts}). By Little's law "
            f"{number(told.in_use)} connections are out on average, so that it takes a pool of more than "
            f"{number(told.in_use / workers)}{each}."
        )
    for why in dict.fromkeys(own.declined for own in curve.predicted if own.declined is not None):
        of = "" if told is None else f" of pool_size {_sizes(curve, why)}"
        yield f"Nothing is predicted{of}: {WHY_DECLINED[why]}."
    for point in curve.points:
        if text := parted_text(point):
            yield text


def _sizes(curve: Curve, why: WhyDeclined) -> str:
    return ", ".join(str(own.setting.pool_size) for own in curve.predicted if own.declined == why)


def parted_text(point: Point) -> str:
    """Why a measured cell is not as predicted; "" where it is, or nothing was predicted."""
    if point.slowed is None:
        return ""
    said = (
        f"{point.label} has a p95 of {number(point.latency_ms_p95)} ms where {number(point.predicted.latency_ms_p95)} "
        "was predicted"
    )
    change = f"{hold_text(abs(point.by_ms))} {'longer' if point.by_ms > 0 else 'shorter'}"
    whys: Mapping[Slowed, str] = {
        "database": f"in the database its holds were {change}",
        "loop": f"in the service itself (its own work, its event loop, its CPU) its holds were {change}",
        "outside": f"what its requests take beside wait and hold was {change}",
        "spread": "its holds were as long on average, but others were the long ones",
        "cpu": "a worker used more than 70 % of its core, so that its requests waited for the CPU",
        "queue": f"its own requests, sent through its pool once more, come to {number(point.again_ms)} ms: "
        "it is the queue that went otherwise",
    }
    return f"{said}: {whys[point.slowed]}."


def size_rows(curve: Curve) -> list[SizeRow]:
    """Every size that was predicted, or measured with the same overflow."""
    measured = {point.predicted.setting: point for point in curve.points}
    settings = {own.setting: own for own in (*(point.predicted for point in curve.points), *curve.predicted)}
    ordered = sorted(settings.values(), key=lambda own: (own.setting.connections, own.setting.pool_size))
    return [_row(own, measured.get(own.setting)) for own in ordered]


def _row(own: Prediction, point: Point | None) -> SizeRow:
    setting = own.setting
    overflow = f" + {setting.max_overflow}" if setting.max_overflow else ""
    notes = [] if own.declined is None else [f"declined: {own.declined}"]
    if point is not None and point.is_source:
        notes.append("the source")
    return SizeRow(
        size=f"{setting.pool_size}{overflow}",
        wait=number(own.wait_ms_p95),
        latency=number(own.latency_ms_p95),
        failed=percent(own.failed),
        used=UNKNOWN if math.isnan(own.utilisation) else percent_text(own.utilisation),
        erlang=number(own.erlang_wait_ms_p95),
        measured=UNKNOWN if point is None else number(point.latency_ms_p95),
        note=", ".join(notes),
    )


def predict_page(curves: Sequence[Curve]) -> Iterator[RenderableType]:
    """The lines of the terminal, a table for each load."""
    for curve in curves:
        yield Text(curve_title(curve), style="bold")
        for text in curve_texts(curve):
            yield Text(text)
        if any(own.declined is None for own in curve.predicted):
            yield _table(size_rows(curve))
        yield Text("")


def _table(rows: Sequence[SizeRow]) -> FittingTable[SizeRow]:
    columns: tuple[Column[SizeRow], ...] = (
        Column(header="pool_size", of=lambda row: row.size, need=100),
        Column(header="p95\nms", of=lambda row: row.latency, need=100),
        Column(header="measured\np95, ms", of=lambda row: row.measured, need=90),
        Column(header="wait\np95, ms", of=lambda row: row.wait, need=80),
        Column(header="Erlang C\nwait, ms", of=lambda row: row.erlang, need=75),
        Column(header="failed\n%", of=lambda row: row.failed, need=70),
        Column(header="in use", of=lambda row: row.used, need=65),
        Column(header="", of=lambda row: row.note, need=50, left=True),
    )
    return FittingTable(rows=rows, columns=columns, label=7)


def predict_dict(curves: Sequence[Curve]) -> Mapping[str, Any]:
    """What `poolbench predict --json` prints."""
    return {"schema_version": PREDICT_SCHEMA_VERSION, "curves": [_curve(curve) for curve in curves]}


def _curve(curve: Curve) -> Mapping[str, Any]:
    return {
        "title": curve_title(curve),
        "factors": dict(curve.factors),
        "source": curve.source or None,
        "declined": curve.declined,
        "predicted": [_prediction(own) for own in curve.predicted],
        "measured": [{**asdict(own), "predicted": _prediction(own.predicted)} for own in curve.points],
        "texts": list(curve_texts(curve)),
    }


def _prediction(own: Prediction) -> Mapping[str, Any]:
    return {**asdict(own), "utilisation": own.utilisation}
