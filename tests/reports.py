"""A report as the analysis would hand it over, in any size and with any of the things that can be missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.domain.binding import Binding
from harness.domain.cell import Cell
from harness.domain.certificate import Certificate, Reason
from harness.domain.events import RateChosen
from harness.domain.evidence import RunInfo
from harness.domain.experiment import DatabaseSpec, Design, Experiment, Load, Pool, Session, Slo, Target
from harness.domain.holds import PARTS, EndpointHolds
from harness.domain.prediction import Curve, HoldPart, Point, Prediction, Setting
from harness.domain.verdict import (
    Bounds,
    CellSummary,
    Coverage,
    EndpointSummary,
    Pair,
    Promise,
    Recommendation,
    Report,
    Summary,
    Verdict,
    WhyNot,
)
from harness.present.figures import FIGURES, Picture, draw

DRIVERS = ("asyncpg", "psycopg", "psycopg_sync", "psycopg_blocking")
SIZES = (2, 5, 10, 20, 40, 80)
ENDPOINTS = ("GET /heroes/{id}", "GET /heroes", "PATCH /heroes/{id}")


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    return build_report


@pytest.fixture(scope="session")
def pictures() -> Mapping[str, Picture]:
    """Each figure, drawn, of a report of two cells of which one fails."""
    report = build_report(drivers=1, failing=frozenset({1}))
    return {kind.series: draw(kind, report) for kind in FIGURES}


def build_report(
    *,
    drivers: int = 3,
    sizes: int = 2,
    launches: int = 3,
    label: str = "{driver}, pool {size}",
    failing: frozenset[int] = frozenset(),
    invalid: frozenset[int] = frozenset(),
    probe: bool = True,
    activity: bool = True,
    figures: bool = True,
    environment: Mapping[str, Any] | None = None,
    slo: Slo | None = None,
    kept: Mapping[str, Promise] | None = None,
) -> Report:
    """`failing` and `invalid` number cells by rank from 0; their p99 is infinite, or their launches do not count.

    Without `figures` there is no series to draw but the one that is a table as well: drawing takes a second. `kept` is
    what became of the SLO, by endpoint, in every cell.
    """
    cells = build_cells(drivers, sizes, label)
    summaries = tuple(
        summarise(cell, rank, launches=launches, failing=rank in failing, invalid=rank in invalid, probe=probe)
        for rank, cell in enumerate(cells)
    )
    if kept is not None:
        summaries = tuple(
            replace(
                own,
                all=replace(own.all, slo=kept.get("*")),
                endpoints=tuple(replace(each, slo=kept.get(each.endpoint)) for each in own.endpoints),
            )
            for own in summaries
        )
    if not activity:
        summaries = tuple(
            replace(summary, connections_peak=0, connections_active_mean=math.nan) for summary in summaries
        )
    series = {
        "latency_percentiles": percentile_frame(summaries),
        "latency_cdf": cdf_frame(summaries),
        "latency_over_time": time_frame(summaries),
        "connections": connection_frame(summaries) if activity else connection_frame(()),
        "breakdown": breakdown_frame(summaries if probe else ()),
        "prediction": prediction_frame(curves := build_curves() if probe else ()),
        "holds": hold_frame(summaries if probe else ()),
        "outcomes": outcome_frame(summaries),
    }
    if not figures:
        series = {"outcomes": series["outcomes"]}
    planned = len(cells) * launches
    pairs = build_pairs(summaries)
    to_best = {pair.second: pair for pair in pairs if pair.first == cells[0].id}
    ties = {cell.id: (cells[1 - place].id,) for place, cell in enumerate(cells[:2]) if len(cells) > 1}
    summaries = tuple(
        replace(own, versus_best=to_best.get(own.cell.id), ties=ties.get(own.cell.id, ()) if own.valid else ())
        for own in summaries
    )
    summary = Summary(
        cells=summaries,
        pairs=pairs,
        verdict=build_verdict(summaries),
        coverage=Coverage(
            measured=planned,
            planned=planned,
            excluded={"lag": launches * len(invalid)} if invalid else {},
            replaced=0,
            replaced_for=(),
            fewest_requests=3012,
            postgres_processes=True,
            relays=(),
        ),
        certificates=build_certificates(summaries, launches),
    )
    info = build_info(cells, launches, environment)
    if slo is not None:
        info = replace(info, experiment=replace(info.experiment, slo=slo))
    chosen = RateChosen(at_ns=0, rate_rps=298.8, capacity_rps=498.0, share=0.6, label="asyncpg", pilots=1)
    return Report(info=info, summary=summary, series=series, complete=True, chosen_rate=chosen, curves=curves)


def build_curves() -> tuple[Curve, ...]:
    """Two loads; of the first a size that was measured and failed, and the source."""
    setting = Setting(pool_size=2, max_overflow=0, pool_timeout_s=30.0, rate_rps=300.0, rtt_ms=0.0, workers=1)
    hold_ms: Mapping[HoldPart, float] = {"database": 6.0, "distance": 0.0, "loop": 2.0}
    told = [
        Prediction(
            setting=replace(setting, pool_size=size),
            wait_ms_p95=wait_ms,
            latency_ms_p95=math.inf if size == 2 else 12.0 + wait_ms,
            failed=0.0,
            in_use=2.4,
            hold_ms=hold_ms,
            cpu=0.5,
            erlang_wait_ms_p95=math.inf if size == 2 else 1.4 * wait_ms,
        )
        for size, wait_ms in ((2, 4000.0), (3, 30.0), (5, 2.0), (10, 0.0))
    ]
    points = tuple(
        Point(
            cell_id=f"c{own.setting.pool_size}",
            label=f"pool_size {own.setting.pool_size}",
            predicted=own,
            is_source=own is told[-1],
            wait_ms_p95=own.wait_ms_p95,
            latency_ms_p95=own.latency_ms_p95,
            failed=0.0,
            slowed=None,
        )
        for own in (told[0], told[2], told[-1])
    )
    first = Curve(setting=setting, factors=(), source="pool_size 10", declined=None, predicted=told, points=points)
    second = replace(first, setting=replace(setting, rate_rps=200.0), points=())
    return first, second


def prediction_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    rows = [
        (place, own.setting.connections, own.latency_ms_p95, own.wait_ms_p95, own.erlang_wait_ms_p95)
        for place, curve in enumerate(curves)
        for own in curve.predicted
    ]
    return pd.DataFrame(rows, columns=["curve", "connections", "latency_ms", "wait_ms", "erlang_ms"])


def build_pairs(summaries: tuple[CellSummary, ...]) -> tuple[Pair, ...]:
    """The first two are not told apart, all others are."""
    return tuple(
        Pair(
            first=one.cell.id,
            second=other.cell.id,
            ratio=1.25 ** (place - first),
            low=0.97 if (first, place) == (0, 1) else 1.25 ** (place - first) / 1.07,
            high=1.25 ** (place - first) * 1.07,
            told_apart=(first, place) != (0, 1),
        )
        for first, one in enumerate(summaries)
        for place, other in enumerate(summaries)
        if first < place and one.valid and other.valid
    )


def build_verdict(summaries: tuple[CellSummary, ...]) -> Verdict:
    """Run with the first; the others may open as many connections or more."""
    pick = summaries[0].cell
    if len(summaries) == 1:
        return Verdict(state="no_choice", cell_id=pick.id, recommendation=None, smallest_visible=None)
    others = [
        WhyNot(
            cell_id=other.cell.id,
            size=float(other.cell.connection_ceiling or 0),
            eligible=other.valid and not other.failing,
            slowdown_at_most=1.25**place * 1.07 - 1,
            against=pick.id,
            gain_at_most=0.0 if place > 1 else 0.031,
            told_apart=place > 1,
        )
        for place, other in enumerate(summaries[1:], start=1)
    ]
    size = pick.connection_ceiling or 0
    recommendation = Recommendation(
        margin=0.25,
        recommended=pick.id,
        best=pick.id,
        slowdown_at_most=0.12,
        larger=tuple(other for other in others if other.size > size),
        not_larger=tuple(other for other in others if other.size <= size),
        launches_to_decide=None,
    )
    return Verdict(state="recommended", cell_id=pick.id, recommendation=recommendation, smallest_visible=0.114)


def build_cells(drivers: int, sizes: int, label: str = "{driver}, pool {size}") -> tuple[Cell, ...]:
    pairs = [(driver, size) for driver in DRIVERS[:drivers] for size in SIZES[:sizes]]
    return tuple(
        Cell(
            id=f"c{number:02d}",
            label=label.format(driver=driver, size=size),
            factors=(("target.driver", driver), ("pool.pool_size", size)),
            pool=Pool(pool_size=size, max_overflow=size // 2),
            session=Session(),
            target=Target(driver=driver),  # type: ignore[arg-type]
            database=DatabaseSpec(),
            load=Load(rate="60%", rate_rps=298.8),
        )
        for number, (driver, size) in enumerate(pairs, start=1)
    )


def summarise(cell: Cell, rank: int, *, launches: int, failing: bool, invalid: bool, probe: bool = True) -> CellSummary:
    def bounds(value: float, spread: float) -> Bounds:
        if launches == 1:
            return Bounds(value=value, low=None, high=None)
        return Bounds(value=value, low=value / spread, high=value * spread)

    base = 3.1 * 1.25**rank
    infinite = Bounds(value=math.inf, low=None, high=None)
    everything = EndpointSummary(
        cell_id=cell.id,
        endpoint="*",
        launches=launches,
        requests=3012 * launches,
        achieved_rps=298.7,
        carried_rps=298.7 if not failing else 291.5,
        goodput_rps=298.7 if not failing else 287.1,
        p50_ms=bounds(base, 1.06),
        p90_ms=bounds(base * 1.6, 1.08),
        p95_ms=bounds(base * 2.003, 1.12),
        p99_ms=infinite if failing else bounds(base * 4.4, 1.3),
        p95_bound_low_ms=base * 1.95,
        served_p99_ms=base * 4.4,
        error_rate=0.0234 if failing else 0.0,
        dropped=41 if failing else 0,
        pool_ms_p95=base * 0.4 if probe else math.nan,
        pool_share=0.12 + 0.03 * rank if probe else math.nan,
        db_share=0.35 if probe else math.nan,
    )
    return CellSummary(
        cell=cell,
        rank=rank + 1,
        ties=(),
        all=everything,
        endpoints=tuple(replace(everything, endpoint=name, requests=1004 * launches) for name in ENDPOINTS),
        versus_best=None,
        connections_peak=min(cell.connection_ceiling or 0, 9),
        connections_active_mean=1.234,
        pool_used_share=0.4 if probe else math.nan,
        cpu_ms_per_request=1.41,
        binding=Binding(resource="load"),
        slo=None if invalid else "not_met" if failing else "met",
        failing=failing,
        saturated=False,
        near_its_limit=False,
        from_empty=False,
        utilisation=0.4,
        empty_tasks=0,
        own_mean_ms=0.02,
        late_p99_ms=0.4,
        leg_p95_ms=0.5,
        slo_instrument=False,
        turns=10 * launches,
        valid=not invalid,
        invalid_launches=launches if invalid else 0,
        findings=("dropped", "errors") if failing else (),
        holds=build_holds() if probe else (),
    )


def build_holds() -> tuple[EndpointHolds, ...]:
    """One endpoint that keeps its connection while it waits for something else, and one that does not."""
    usual = EndpointHolds(
        endpoint="GET /heroes/{hero_id}",
        requests=1004,
        connections=1,
        left=0,
        holds=1004,
        on_loop=0,
        threads=0,
        statements=1004,
        seconds={"query": 2.1, "idle_transaction": 0.3, "idle": 0.1, "after": 0.6},
        in_use=0.31,
    )
    waiting = {"query": 4.2, "idle_transaction": 20.0, "idle": 0.5, "after": 0.6}
    keeps = replace(usual, endpoint="PATCH /heroes/{hero_id}", statements=2008, seconds=waiting, in_use=2.53)
    return keeps, usual


def build_certificates(summaries: tuple[CellSummary, ...], launches: int) -> dict[str, Certificate]:
    lag = Reason(kind="instrument", code="lag", message="arrivals started late", value=7.412, threshold=5.0)
    drops = Reason(kind="finding", code="dropped", message="arrivals dropped at the cap", value=41, threshold=0)
    certificates = {}
    for summary in summaries:
        for block in range(1, launches + 1):
            reasons = ((lag,) if not summary.valid else ()) + ((drops,) if summary.all.dropped else ())
            certificates[f"b{block}-{summary.cell.id}"] = Certificate(valid=summary.valid, reasons=reasons)
    return certificates


def build_info(
    cells: tuple[Cell, ...],
    launches: int = 3,
    environment: Mapping[str, Any] | None = None,
) -> RunInfo:
    experiment = Experiment(
        schema_version=1,
        name="quickstart",
        question="Which driver and pool size serve the hero API best?",
        matrix={"target.driver": DRIVERS[:3], "pool.pool_size": SIZES[:2]},
        load=Load(rate="60%"),
        design=Design(launches=launches),
        slo=Slo(p95_ms=25),
    )
    known = {
        "machine": {
            "system": "Linux",
            "kernel": "6.1.0-28-cloud-amd64",
            "cpu": "AMD EPYC 7B13",
            "cores": 2,
            "cgroup_cpu_max": None,
            "memory_bytes": 25_112_223_744,
        },
        "python": "CPython 3.11.9",
        "packages": {"sqlalchemy": "2.1.0", "asyncpg": "0.31.0", "locust": "2.47.0"},
        "postgres": {"version": "18.6", "transport": "tcp, scram-sha-256, no TLS", "max_connections": 100},
    }
    return RunInfo(
        schema_version=1,
        run_id="20261122T144155Z-quickstart-4f1a",
        created_utc="2026-11-22T14:41:55Z",
        poolbench_version="0.1.0",
        experiment=experiment,
        cells=cells,
        strategy="fixed",
        environment=known if environment is None else environment,
    )


def percentile_frame(summaries: tuple[CellSummary, ...]) -> pd.DataFrame:
    rows = [
        (summary.cell.id, percentile, figure.value, _or_nan(figure.low), _or_nan(figure.high))
        for summary in summaries
        for percentile, figure in (
            (50, summary.all.p50_ms),
            (90, summary.all.p90_ms),
            (95, summary.all.p95_ms),
            (99, summary.all.p99_ms),
        )
    ]
    return pd.DataFrame(rows, columns=["cell_id", "percentile", "latency_ms", "low_ms", "high_ms"])


def _or_nan(bound: float | None) -> float:
    return math.nan if bound is None else bound


def hold_frame(summaries: tuple[CellSummary, ...]) -> pd.DataFrame:
    rows = [
        (summary.cell.id, own.endpoint, *(own.in_use * own.share(part) for part in PARTS), own.hold_ms)
        for summary in summaries
        for own in summary.holds
    ]
    return pd.DataFrame(rows, columns=["cell_id", "endpoint", *PARTS, "hold_ms"])


def cdf_frame(summaries: tuple[CellSummary, ...]) -> pd.DataFrame:
    return _cdfs(tuple((own.cell.id, own.all.p50_ms.value, own.all.error_rate) for own in summaries))


@cache
def _cdfs(cells: tuple[tuple[str, float, float], ...]) -> pd.DataFrame:
    share = np.concatenate([np.linspace(0, 0.98, 99), np.linspace(0.981, 0.999, 19)])
    frames = []
    for cell_id, p50_ms, error_rate in cells:
        latency_ms = p50_ms * np.exp(0.55 * -np.log(1 / (share + 1e-3) - 1 + 1e-4) / 1.7)
        latency_ms[share > 1 - error_rate] = np.inf
        frames.append(pd.DataFrame({"cell_id": cell_id, "share": share, "latency_ms": latency_ms}))
    return pd.concat(frames, ignore_index=True)


def time_frame(summaries: tuple[CellSummary, ...]) -> pd.DataFrame:
    return _over_time(
        tuple((own.cell.id, own.all.p50_ms.value, own.all.p95_ms.value, own.all.dropped) for own in summaries)
    )


@cache
def _over_time(cells: tuple[tuple[str, float, float, int], ...]) -> pd.DataFrame:
    t_s = np.arange(0.25, 10, 0.5)
    frames = []
    for number, (cell_id, p50, p95, dropped) in enumerate(cells):
        noise = np.random.default_rng(number).lognormal(0, 0.12, (2, t_s.size))
        p50_ms, p95_ms = p50 * noise[0], p95 * noise[1]
        if dropped:
            p95_ms[5:8] = np.inf
        frames.append(pd.DataFrame({"cell_id": cell_id, "t_s": t_s, "p50_ms": p50_ms, "p95_ms": p95_ms}))
    return pd.concat(frames, ignore_index=True)


def connection_frame(summaries: tuple[CellSummary, ...]) -> pd.DataFrame:
    return _connections(tuple((summary.cell.id, summary.connections_peak) for summary in summaries))


@cache
def _connections(peaks: tuple[tuple[str, int], ...]) -> pd.DataFrame:
    rows = []
    for number, (cell_id, open_now) in enumerate(peaks):
        draw = np.random.default_rng(number)
        for t_s in np.arange(0, 10, 0.1):
            active = int(draw.integers(0, min(3, open_now) + 1))
            waiting = int(draw.integers(0, open_now - active + 1) > 1)
            counts = {"active": active, "idle in transaction": waiting, "idle": open_now - active - waiting}
            rows += [(cell_id, t_s, state, held) for state, held in counts.items()]
    return pd.DataFrame(rows, columns=["cell_id", "t_s", "state", "connections"])


def breakdown_frame(summaries: tuple[CellSummary, ...]) -> pd.DataFrame:
    rows = []
    for summary in summaries:
        total = summary.all.p50_ms.value * 1.3
        share = summary.all.pool_share
        rows.append((summary.cell.id, total * share, total * 0.35, total * 0.3, total * (0.35 - share), share))
    return pd.DataFrame(rows, columns=["cell_id", "pool_ms", "db_ms", "app_ms", "other_ms", "pool_share"])


def outcome_frame(summaries: tuple[CellSummary, ...]) -> pd.DataFrame:
    rows = []
    for summary in summaries:
        failed = summary.all.dropped
        rows.append(
            (summary.cell.id, summary.all.requests - failed, 17 if failed else 0, 3 if failed else 0, failed, 0)
        )
    return pd.DataFrame(rows, columns=["cell_id", "ok", "error", "timeout", "dropped", "unfinished"])
