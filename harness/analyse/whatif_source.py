"""What one measured launch tells of itself, so that its requests can be sent through another pool: see `whatif`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.analyse.arrays import Bools, Floats, Times
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.measured import ALL, MEASURED_COLUMNS, category_codes
from harness.analyse.queueing import judge_queue
from harness.analyse.resources import increase
from harness.analyse.windows import Windows, loaded_segments, measured_segments, windows
from harness.domain.evidence import Evidence, Run, Trial
from harness.domain.load import Segment
from harness.domain.prediction import HoldPart, Setting, WhyDeclined

FAILED_MOST = 0.01
SEVERAL = 1.02
"""connections a request from which on it does not take one, once"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """The requests of one segment by their number in its schedule; what one has not is that of the one before."""

    segment: Segment
    hold_s: Floats
    """0 of those that take no connection"""
    rest_s: Floats
    """of its latency, all but the wait for a connection"""
    worker: Times
    """which of the workers it came to"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTimes:
    """What a launch's pools took for a connection beside its hold, on average; 0 of what did not happen."""

    dials: float
    """connections that were opened while the launch was measured: the first of a process take far longer"""
    dial_s: float
    """to open one then"""
    ping_s: float
    """to test one at checkout"""
    handovers: int
    """to requests that were waiting"""
    handover_s: float
    """from a connection's return until such a request had it, and so for which nobody used it"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """One launch. Times in ms are means of its requests that take a connection."""

    trial_id: str
    label: str
    """of its cell"""
    spoilt: WhyDeclined | None
    """why nothing else may be predicted from it, although its own holds were seen"""
    setting: Setting
    stretches: tuple[Stretch, ...]
    hold_ms: Mapping[HoldPart, float]
    outside_ms: float
    """of a latency neither wait nor hold"""
    round_trips: float
    """of a hold; NaN where not known"""
    cpu: float
    """of a core, used by the busiest worker"""
    pool: PoolTimes
    loop_lag_s: float
    """by which the event loop ran a timer late, on average; 0 where that was not seen"""
    patience_s: float
    """of the client"""
    threads: int | None
    """of a worker whose requests keep a thread while they wait for a connection; None of others"""

    @property
    def worker_rps(self) -> float:
        return self.setting.rate_rps / self.setting.workers


def sources_of(run: Run, launches: Sequence[LaunchFigures]) -> list[Source | WhyDeclined]:
    """Look at the requests of launches that count, or say why they tell nothing."""
    evidence = {own.trial.id: own for own in run.trials}
    return [_refusal(own) or _source(evidence[own.trial.id], own) for own in launches]


def _refusal(own: LaunchFigures) -> WhyDeclined | None:
    cell, holds, process = own.trial.launch.cell, own.holds, own.process
    if own.queue is None:
        return "closed"
    if not len(holds) or own.probe_times is None or "worker_cpu" not in own.waits.used:
        return "no_probe"
    taken = max(holds["holds"].sum() + holds["left"].sum(), (holds["connections"] * holds["requests"]).sum())
    found: dict[WhyDeclined, bool] = {
        "no_pool": process is None,
        "pgbouncer": cell.target.pgbouncer,
        "several_connections": taken > SEVERAL * holds["requests"].sum(),
        "blocking": bool(holds["on_loop"].sum()),
    }
    return next((why for why, is_so in found.items() if is_so), None)


def spoilt(own: LaunchFigures) -> WhyDeclined | None:
    """Why nothing else may be predicted from a launch, although its own holds may have been seen."""
    if own.queue is not None and judge_queue([own.queue]).saturated:
        return "saturated"
    return "failing" if own.all.error_rate > FAILED_MOST else None


def setting_of(trial: Trial) -> Setting:
    """What a launch had; of its pool what took effect, where that was seen."""
    cell = trial.launch.cell
    asked = Setting(
        pool_size=cell.pool.pool_size,
        max_overflow=cell.pool.max_overflow,
        pool_timeout_s=cell.pool.pool_timeout_s,
        rate_rps=measured_segments(trial.segments)[0].rate_rps or math.nan,
        rtt_ms=cell.network.rtt_ms,
        workers=cell.target.workers,
    )
    for own in trial.applied:
        if own.pool_size is not None and own.max_overflow is not None:
            timeout_s = asked.pool_timeout_s if own.pool_timeout_s is None else own.pool_timeout_s
            return replace(asked, pool_size=own.pool_size, max_overflow=own.max_overflow, pool_timeout_s=timeout_s)
    return asked


def _source(evidence: Evidence, figures: LaunchFigures) -> Source | WhyDeclined:
    trial, process, times = evidence.trial, figures.process, figures.probe_times
    rows = evidence.table("requests", MEASURED_COLUMNS)
    rows = rows[_within(rows, loaded_segments(trial.segments))]
    if rows["sequence"].any():
        return "several_requests"
    rows = rows[(category_codes(rows["outcome"], {"ok": 0}) == 0) & rows["pool_ms"].notna().to_numpy()]
    pool_ms, db_ms, app_ms = (rows[name].to_numpy(dtype=np.float64) for name in ("pool_ms", "db_ms", "app_ms"))
    takes_one = pool_ms > 0
    counted = takes_one & _within(rows, measured_segments(trial.segments))
    sums = figures.holds[["holds", "query", "idle_transaction", "idle", "after"]].sum()
    if not counted.any() or not sums["holds"]:
        return "no_probe"
    query_ms, idle_ms, after_ms = (
        float(own) * 1000 / float(sums["holds"])
        for own in (sums["query"], sums["idle_transaction"] + sums["idle"], sums["after"])
    )
    pool = _pool_times(evidence.probe, windows(measured_segments(trial.segments), trial.ledger.turns))
    ping_ms = 1000 * pool.ping_s  # a connection is out then, but held from then on
    own_ms = _scaled(db_ms, counted, query_ms) + _scaled(app_ms, counted, idle_ms) + after_ms + ping_ms
    hold_ms = np.where(takes_one, own_ms, 0.0)
    rest_ms = (rows["finished_ns"] - rows["intended_ns"]).to_numpy() / 1e6 - pool_ms + ping_ms
    trips = figures.exact.get(ALL, {}).get("round_trips_per_request", math.nan) / takes_one.mean()
    distance_ms = 0.0 if trial.relay is None or math.isnan(trips) else trial.relay.rtt_ms_measured * float(trips)
    held_ms = query_ms + idle_ms + after_ms + ping_ms
    database_ms = max(0.0, min(_database_ms(evidence, query_ms - distance_ms), held_ms - distance_ms))
    worker = np.unique(rows["pid"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    return Source(
        trial_id=trial.id,
        label=trial.launch.cell.label,
        spoilt=spoilt(figures),
        setting=setting_of(trial),
        stretches=tuple(
            _stretch(segment, rows, hold_ms, rest_ms, worker)
            for segment in sorted(loaded_segments(trial.segments), key=lambda own: own.start_s)
        ),
        hold_ms={
            "database": database_ms,
            "distance": distance_ms,
            "loop": held_ms - database_ms - distance_ms,
        },
        outside_ms=float(rest_ms[counted].mean()) - query_ms - idle_ms - ping_ms,
        round_trips=trips,
        cpu=figures.waits.used["worker_cpu"],
        pool=pool,
        loop_lag_s=0.0 if times is None or math.isnan(times.loop_lag_ms) else times.loop_lag_ms / 1000,
        patience_s=trial.launch.cell.load.request_timeout_s,
        threads=process.threads if process is not None and process.waits_in_threads else None,
    )


def _scaled(times_ms: Floats, counted: Bools, mean_ms: float) -> Floats:
    """These times, made longer or shorter alike so that those counted have this mean."""
    seen_ms = float(times_ms[counted].mean())
    return times_ms * (mean_ms / seen_ms) if seen_ms else np.full(len(times_ms), mean_ms)


def _within(rows: pd.DataFrame, segments: list[Segment]) -> Bools:
    return rows["segment"].isin([own.index for own in segments]).to_numpy()


def _stretch(segment: Segment, rows: pd.DataFrame, hold_ms: Floats, rest_ms: Floats, worker: Times) -> Stretch:
    """Of a segment without an answer all that the launch has."""
    own = np.flatnonzero(rows["segment"].to_numpy() == segment.index)
    own = own if len(own) else np.arange(len(rows))
    own = own[np.argsort(rows["arrival"].to_numpy()[own], kind="stable")]
    numbers = rows["arrival"].to_numpy()[own]
    wanted = np.arange(int(numbers[-1]) + 1)
    place = own[np.maximum(np.searchsorted(numbers, wanted, side="right") - 1, 0)]
    return Stretch(segment=segment, hold_s=hold_ms[place] / 1000, rest_s=rest_ms[place] / 1000, worker=worker[place])


def _database_ms(evidence: Evidence, otherwise_ms: float) -> float:
    """For how long Postgres was active for a hold, over the whole life of the launch's database: its last reading is
    exact. What is given otherwise where it did not say."""
    server, holds = evidence.server, int(evidence.holds["holds"].sum())
    active_s = server["value"].to_numpy()[(server["key"] == "active_s").to_numpy()]
    return 1000 * float(active_s[-1] - active_s[0]) / holds if len(active_s) > 1 and holds else otherwise_ms


def _pool_times(probe: pd.DataFrame, spans: Windows) -> PoolTimes:
    """Over the whole lives of the launch's processes, but for dials."""
    last = probe.sort_values("t_ns").groupby("pid", observed=True).last().sum()
    dials = increase(probe, "connection_connects", spans)

    def each_s(total: str, count: str) -> float:
        return float(last[total] / last[count]) if last[count] > 0 else 0.0

    return PoolTimes(
        dials=dials,
        dial_s=increase(probe, "connection_create_time_s", spans) / dials if dials > 0 else 0.0,
        ping_s=each_s("connection_ping_time_s", "connection_checkouts"),
        handovers=int(last["connection_handovers"]),
        handover_s=each_s("connection_handover_time_s", "connection_handovers"),
    )
