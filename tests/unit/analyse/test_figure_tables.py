from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analyse import analyse, summary_rows
from harness.domain.experiment import Load, Target
from harness.domain.tables import ACTIVITY_COLUMNS, COUNT_COLUMNS, OUTCOMES

SECOND = 1_000_000_000
COLUMNS = {
    "latency_percentiles": ["cell_id", "percentile", "latency_ms", "low_ms", "high_ms"],
    "latency_cdf": ["cell_id", "share", "latency_ms"],
    "latency_over_time": ["cell_id", "t_s", "p50_ms", "p95_ms"],
    "connections": ["cell_id", "t_s", "state", "connections"],
    "breakdown": ["cell_id", "pool_ms", "db_ms", "app_ms", "other_ms", "pool_share"],
    "holds": ["cell_id", "endpoint", "query", "idle_transaction", "idle", "after", "hold_ms"],
    "prediction": ["curve", "connections", "latency_ms", "wait_ms", "erlang_ms"],
    "outcomes": ["cell_id", *OUTCOMES],
    "exact": [
        "cell_id",
        "statements_per_request",
        "transactions_per_request",
        "checkouts_per_request",
        "round_trips_per_request",
    ],
}
FIXED = [
    "driver",
    "workers",
    "pool_size",
    "max_overflow",
    "pool_timeout_s",
    "pool_pre_ping",
    "pool_recycle_s",
    "expire_on_commit",
    "scenario",
    "model",
    "rate_rps",
    "launches",
    "requests",
    "achieved_rps",
    "carried_rps",
    "goodput_rps",
    "p50_ms",
    "p50_low_ms",
    "p50_high_ms",
    "p90_ms",
    "p95_ms",
    "p95_low_ms",
    "p95_high_ms",
    "p95_bound_low_ms",
    "p99_ms",
    "served_p99_ms",
    "error_rate",
    "dropped",
    "pool_wait_p95_ms",
    "connections_peak",
    "connections_active_mean",
    "cpu_ms_per_request",
    "binds",
    "slo_met",
    "saturated",
    "from_empty",
    "turns",
    "arm",
    "empty_tasks",
    "not_applied",
    "valid",
    "findings",
]


def test_every_figure_has_its_columns_with_and_without_data(build: ModuleType) -> None:
    for run in (build.blocked_run({1: [[1.0] * 20] * 2}), build.run([], [build.cell()])):
        assert {name: list(table.columns) for name, table in analyse(run).series.items()} == COLUMNS


def test_what_a_request_takes_is_of_a_launch_that_was_counted(build: ModuleType) -> None:
    counts = build.table(
        COUNT_COLUMNS,
        segment=[0],
        method=["GET"],
        route=["/heroes"],
        status=[200],
        requests=[50],
        statements=[100],
        transactions=[50.0],
        checkouts=[50],
        round_trips=[200.0],
    )
    seen, unseen = (build.trial(build.cell(), block, build.rows([1.0] * 50)) for block in (1, 2))
    table = analyse(build.run([unseen, replace(seen, counts=counts)])).series["exact"]
    assert table.to_dict("records") == [
        {
            "cell_id": "c1",
            "statements_per_request": 2.0,
            "transactions_per_request": 1.0,
            "checkouts_per_request": 1.0,
            "round_trips_per_request": 4.0,
        }
    ]


def test_the_curve_passes_through_the_summarys_percentiles(build: ModuleType, around: Any) -> None:
    report = analyse(build.blocked_run({1: [around(10.0, seed=seed) for seed in range(3)]}))
    curve = report.series["latency_cdf"]
    (summary,) = report.summary.cells
    assert curve["latency_ms"].is_monotonic_increasing
    assert len(curve) == pytest.approx(200, abs=3)
    for share, figure in ((0.5, summary.all.p50_ms), (0.9, summary.all.p90_ms), (0.99, summary.all.p99_ms)):
        nearest = curve.iloc[(curve["share"] - share).abs().argmin()]
        assert nearest["latency_ms"] == pytest.approx(figure.value)


def test_the_curve_ends_in_infinity_where_requests_failed(build: ModuleType) -> None:
    curve = analyse(build.blocked_run({1: [[1.0] * 95 + [math.inf] * 5]})).series["latency_cdf"]
    assert np.isfinite(curve.loc[curve["share"] <= 0.949, "latency_ms"]).all()
    assert np.isinf(curve.loc[curve["share"] > 0.951, "latency_ms"]).all()


def test_percentiles_carry_their_intervals(build: ModuleType) -> None:
    report = analyse(build.blocked_run({1: [[10.0] * 50, [12.0] * 50]}))
    table = report.series["latency_percentiles"].set_index("percentile")
    figure = report.summary.cells[0].all.p95_ms
    assert list(table.index) == [50, 90, 95, 99]
    assert tuple(table.loc[95, ["latency_ms", "low_ms", "high_ms"]]) == (figure.value, figure.low, figure.high)


@pytest.mark.parametrize(("measure_s", "bin_s"), [(2.0, 0.25), (8.0, 1.0)])
def test_latency_over_time_is_in_bins_of_measured_time(build: ModuleType, measure_s: float, bin_s: float) -> None:
    """A second of warm-up, and a turn that ends in the middle of the measurement, after which others have theirs."""
    segments = [build.segment(0, phase="warmup"), build.segment(1, duration_s=measure_s)]
    middle_s = 1 + measure_s / 2
    turns = [build.turn(0.0, middle_s), build.turn(middle_s, 1 + measure_s, at_s=middle_s + 7)]
    every_ms = 1000 * measure_s / 80
    second_ns = build.START_NS + round((middle_s + 7) * SECOND)
    parts = [
        build.rows([99.0] * 10, segment=0),
        build.rows([10.0] * 40, segment=1, every_ms=every_ms),
        build.rows([30.0] * 40, segment=1, every_ms=every_ms, start_ns=second_ns),
    ]
    trial = build.trial(build.cell(), 0, pd.concat(parts, ignore_index=True), segments=segments, turns=turns)
    table = analyse(build.run([trial])).series["latency_over_time"]
    count = round(measure_s / 2 / bin_s)
    assert table["t_s"].to_list() == pytest.approx([(number + 0.5) * bin_s for number in range(2 * count)])
    assert table["p50_ms"].to_list() == pytest.approx([10.0] * count + [30.0] * count)
    assert table["p95_ms"].to_list() == pytest.approx([10.0] * count + [30.0] * count)


def test_connections_are_those_of_the_launch_in_the_middle(build: ModuleType) -> None:
    def activity(count: int) -> pd.DataFrame:
        times = [build.start_ns + SECOND, build.start_ns + SECOND, build.start_ns + 2 * SECOND]
        return build.table(
            ACTIVITY_COLUMNS, t_ns=times, state=["active", "idle", "active"], connections=[count, 1, count]
        )

    trials = [
        build.trial(build.cell(), block, build.rows([latency] * 20), sitting=block, activity=activity(count))
        for block, (latency, count) in enumerate([(30.0, 3), (10.0, 1), (20.0, 2)])
    ]
    table = analyse(build.run(trials)).series["connections"]
    assert table[["t_s", "state", "connections"]].to_numpy().tolist() == [
        [1.0, "active", 2],
        [1.0, "idle", 1],
        [2.0, "active", 2],
        [2.0, "idle", 0],
    ]


def test_the_breakdown_adds_up_to_the_mean_latency(build: ModuleType) -> None:
    rows = build.rows([10.0, 20.0, math.inf], pool_ms=[1.0, 3.0, 99.0], db_ms=4.0, app_ms=2.0)
    (row,) = analyse(build.run([build.trial(build.cell(), 0, rows)])).series["breakdown"].to_dict("records")
    assert (row["pool_ms"], row["db_ms"], row["app_ms"], row["other_ms"]) == pytest.approx((2, 4, 2, 7))
    assert row["pool_share"] == pytest.approx(2 / 15)


def test_outcomes_are_counted(build: ModuleType) -> None:
    rows = build.rows([1.0] * 10, outcome=["ok"] * 5 + ["error", "timeout", "dropped", "dropped", "unfinished"])
    (row,) = analyse(build.run([build.trial(build.cell(), 0, rows)])).series["outcomes"].to_dict("records")
    assert row == {"cell_id": "c1", "ok": 5, "error": 1, "timeout": 1, "dropped": 2, "unfinished": 1}


def test_summary_rows_are_the_promised_columns_in_order(build: ModuleType) -> None:
    run = build.blocked_run({1: [[1.0] * 20] * 2, 2: [[9.0] * 20] * 2})
    table = summary_rows(run, analyse(run).summary)
    assert list(table.columns) == ["cell", "endpoint", *FIXED]
    assert table[["cell", "endpoint", "pool_size", "requests", "slo_met", "valid"]].to_numpy().tolist() == [
        ["c1", "*", 5, 40, True, True],
        ["c1", "GET /heroes/{id}", 5, 40, None, True],
        ["c2", "*", 10, 40, True, True],
        ["c2", "GET /heroes/{id}", 10, 40, None, True],
    ]
    assert table["connections_peak"].isna().all()  # nothing was seen of them
    assert set(table["rate_rps"]) == {100.0}


def test_what_a_service_decides_for_itself_is_left_empty(build: ModuleType) -> None:
    settings = ["driver", "workers", "pool_size", "max_overflow", "expire_on_commit"]
    for target, named, known in (
        (Target(), (), settings),
        (Target(app="mine:app"), ("pool.pool_size",), ["pool_size"]),
        (Target(url="http://127.0.0.1:1"), ("pool.pool_size",), []),
    ):
        cell = replace(build.cell(1, target=target), named=named)
        run = build.run([build.trial(cell, 0, build.rows([1.0] * 9))])
        (row, *_) = summary_rows(run, analyse(run).summary).to_dict("records")
        assert [name for name in settings if row[name] is not None] == known
        assert (row["scenario"], row["rate_rps"]) == ("mixed", 100.0)


def test_varied_settings_without_a_column_get_one(build: ModuleType) -> None:
    factors = (
        ("pool.pool_use_lifo", True),
        ("target.env.POOL", "a"),
        ("database.settings.model", "x"),
        ("target.driver", "asyncpg"),
    )
    cell = build.cell(1, factors=factors, load=Load(model="closed", users=3))
    run = build.run([build.trial(cell, 0, build.rows([1.0] * 9))])
    table = summary_rows(run, analyse(run).summary)
    # "model" is a column of its own, so that setting keeps its whole key
    assert list(table.columns) == ["cell", "endpoint", "pool_use_lifo", "POOL", "database.settings.model", *FIXED]
    assert table["model"].tolist() == ["closed", "closed"]
    assert table["rate_rps"].isna().all()
