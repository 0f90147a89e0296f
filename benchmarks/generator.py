"""How much load one generator process makes, beside Locust's own FastHttpUser at equal connections.

Rounds alternate between the two, so that a slow minute of the machine touches both; figures are medians over rounds
and `spread` is the interquartile range as a share. The engine is offered half as much again as it can send: all the
connections that its cap allows are in use, as in Locust's closed loop, and what it drops costs it extra.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import others
from benchmarks.driving import Driven, drive_plan, open_segment
from benchmarks.fast_stub import serving_fast
from harness.analyse.estimate import quantile_of

CONNECTIONS = (16, 128)
ROUNDS = 5
WARMUP_S = 1.0
MEASURE_S = 4.0
OVERLOAD = 1.5
FIRST_GUESS_RPS = 6000.0
LAG_RATE_RPS = 1000.0
LAG_CAP = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one round yielded."""

    rps: float
    cpu_us_per_request: float


def measure() -> Mapping[str, Any]:
    """Medians for 16 connections, those for 128 beside them, and the lag at 1000 arrivals a second."""
    engine: dict[int, list[Speed]] = {count: [] for count in CONNECTIONS}
    stock: dict[int, list[Speed]] = {count: [] for count in CONNECTIONS}
    lags_ms: list[tuple[float, float]] = []
    with serving_fast() as stub:
        for _ in range(ROUNDS):
            for count in CONNECTIONS:
                stock[count].append(_stock_speed(stub.url, count))
                engine[count].append(_engine_speed(stub.url, count, _guess_rps(engine[count])))
            lags_ms.append(_lag_ms(stub.url))
    by_connections = {count: _figures(engine[count], stock[count]) for count in CONNECTIONS}
    return {
        **by_connections[CONNECTIONS[0]],
        "lag_p50_ms_at_1000": statistics.median(p50 for p50, _ in lags_ms),
        "lag_p99_ms_at_1000": statistics.median(p99 for _, p99 in lags_ms),
        "lag_p99_ms_at_1000_range": [min(p99 for _, p99 in lags_ms), max(p99 for _, p99 in lags_ms)],
        "by_connections": by_connections,
        "rounds": ROUNDS,
        "stub": stub.name,
    }


def _guess_rps(so_far: Sequence[Speed]) -> float:
    return OVERLOAD * (max(speed.rps for speed in so_far) if so_far else FIRST_GUESS_RPS)


def _figures(engine: Sequence[Speed], stock: Sequence[Speed]) -> Mapping[str, Any]:
    ratios = [one.rps / other.rps for one, other in zip(engine, stock, strict=True)]
    return {
        "engine_rps": statistics.median(speed.rps for speed in engine),
        "locust_fast_rps": statistics.median(speed.rps for speed in stock),
        "ratio": statistics.median(ratios),
        "cpu_us_per_request": statistics.median(speed.cpu_us_per_request for speed in engine),
        "locust_cpu_us_per_request": statistics.median(speed.cpu_us_per_request for speed in stock),
        "spread": {
            "engine_rps": _spread([speed.rps for speed in engine]),
            "locust_fast_rps": _spread([speed.rps for speed in stock]),
            "ratio": _spread(ratios),
        },
    }


def _spread(values: Sequence[float]) -> float:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / statistics.median(values)


def _stock_speed(url: str, connections: int) -> Speed:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["-u", str(connections), "-r", "1000", "-t", f"{round(WARMUP_S + MEASURE_S)}s"]
        others.run_locust(others.STOCK_LOCUSTFILE, url, options, {"STOCK_REPORT": str(report)})
        return Speed(**json.loads(report.read_text()))


def _engine_speed(url: str, connections: int, rate_rps: float) -> Speed:
    """What is answered in the segment's second to last second, and the CPU time that took."""
    with tempfile.TemporaryDirectory() as folder:
        segment = open_segment(rate_rps=rate_rps, duration_s=WARMUP_S + MEASURE_S)
        driven = drive_plan(url, [segment], Path(folder), max_in_flight=connections)
    start_ns = driven.output.start_ns + round(WARMUP_S * 1e9)
    end_ns = start_ns + round(MEASURE_S * 1e9)
    return Speed(
        rps=_answered(driven, start_ns, end_ns) / MEASURE_S,
        cpu_us_per_request=_cpu_us_per_request(driven, start_ns, end_ns),
    )


def _answered(driven: Driven, start_ns: int, end_ns: int) -> int:
    rows = driven.rows[driven.rows["outcome"] == "ok"]
    return int(rows["finished_ns"].between(start_ns, end_ns).sum())


def _cpu_us_per_request(driven: Driven, start_ns: int, end_ns: int) -> float:
    """Over the stretches between the generator's own readings, one a second."""
    log = driven.generator
    spans_ns = log["t_ns"].diff()
    inside = (log["t_ns"] - spans_ns >= start_ns) & (log["t_ns"] <= end_ns)
    first_ns, last_ns = (log["t_ns"] - spans_ns)[inside].min(), log["t_ns"][inside].max()
    cpu_ns = float((log["cpu_share"] * spans_ns)[inside].sum())
    return cpu_ns / 1e3 / _answered(driven, int(first_ns), int(last_ns))


def _lag_ms(url: str) -> tuple[float, float]:
    """Median and p99 of how late arrivals were sent, after a second's warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        segment = open_segment(rate_rps=LAG_RATE_RPS, duration_s=WARMUP_S + MEASURE_S)
        driven = drive_plan(url, [segment], Path(folder), max_in_flight=LAG_CAP)
    rows = driven.rows[driven.rows["intended_ns"] >= driven.output.start_ns + round(WARMUP_S * 1e9)]
    lag_ms = ((rows["started_ns"] - rows["intended_ns"]) / 1e6).to_numpy()
    return quantile_of(lag_ms, 0.5), quantile_of(lag_ms, 0.99)
