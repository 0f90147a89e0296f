"""Each metric of a launch whose every figure is known, and what is said of a metric that there is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS, compare_by, metric_named
from harness.domain.experiment import Slo
from harness.domain.tables import ACTIVITY_COLUMNS, COUNT_COLUMNS, PROBE_COLUMNS, PROCESS_COLUMNS
from harness.errors import UsageError

SECOND = 1_000_000_000
PATCH = "PATCH /heroes/{id}"
READ = "GET /heroes/{id}"

KNOWN: Mapping[str, float] = {
    "p50_ms": 50.0,
    "p90_ms": 90.0,
    "p95_ms": 95.0,
    "p99_ms": math.inf,  # 98 of 100 were answered well
    "served_p99_ms": 98.0,
    "achieved_rps": 9.9,  # the error is an answer too
    "carried_rps": 9.8,
    "goodput_rps": 6.0,  # within the 60 ms of the SLO
    "error_rate": 0.02,
    "dropped": 1.0,
    "pool_wait_p95_ms": 4.0,
    "connections_peak": 7.0,
    "connections_active_mean": 2.5,
    "cpu_ms_per_request": 1000 * 0.5 / 99,
}


BESIDE_THE_SUMMARY: Mapping[str, float] = {
    "connections_idle_in_transaction_mean": 2.0,  # 4 and none
    "connections_used_mean": 1.5,
    "connects_per_s": 3.0,
    "connects_per_checkout": 0.25,
    "loop_lag_max_ms": 7.0,
    "gc_pause_max_ms": 6.0,
    "hold_ms": 30.0,
    "max_ms": math.inf,
    "probe_user_max_ms": 40.0,
    "postgres_cpu_ms_per_request": 1000 * 9.0 / 99,
}
"""what claims need and no column has, of the same launch with a probe"""


@pytest.fixture(scope="module")
def launch(build: ModuleType) -> LaunchFigures:
    """Ten seconds, an arrival each tenth of one: 98 answered in 1 to 98 ms, one error and one drop."""
    rows = build.rows(
        [*range(1, 99), math.inf, math.inf],
        every_ms=100.0,
        outcome=["ok"] * 98 + ["error", "dropped"],
        endpoint=[READ] * 80 + [PATCH] * 19 + [""],
        task=["read"] * 80 + ["patch"] * 20,
        pool_ms=[4.0] * 99 + [math.nan],
        db_ms=[2.0] * 99 + [math.nan],
        app_ms=[1.0] * 99 + [math.nan],
    )
    begun = build.START_NS
    activity = build.table(
        ACTIVITY_COLUMNS,
        t_ns=[begun + SECOND, begun + SECOND, begun + 2 * SECOND, begun + 2 * SECOND, begun + 60 * SECOND],
        state=["active", "idle", "active", "idle", "active"],
        connections=[2, 5, 3, 1, 99],  # the last one after the measurement
    )
    process = build.table(
        PROCESS_COLUMNS,
        t_ns=[begun, begun + 10 * SECOND, begun, begun + 10 * SECOND],
        pid=[7, 7, 8, 8],
        role=["target", "target", "postgres", "postgres"],
        cpu_s=[1.0, 1.5, 0.0, 9.0],
    )
    trial = build.trial(build.cell(), 0, rows, activity=activity, process=process)
    (counted,) = measure_launches(build.run([trial], slo=Slo(p95_ms=60.0))).counted
    return counted


@pytest.mark.parametrize("name", KNOWN)
def test_a_metric_of_a_launch_that_is_known(launch: LaunchFigures, name: str) -> None:
    metric = metric_named(name)
    assert metric.name == name
    assert metric.of(launch, ALL) == pytest.approx(KNOWN[name])


@pytest.mark.parametrize("name", BESIDE_THE_SUMMARY)
def test_a_metric_that_no_column_has(build: ModuleType, launch: LaunchFigures, name: str) -> None:
    begun, end = build.START_NS, build.START_NS + 10 * SECOND
    probe = build.table(
        PROBE_COLUMNS,
        t_ns=[begun, begun + 5 * SECOND, end, end + SECOND],  # the last one after the measurement
        pid=7,
        connection_connects=[10, 30, 40, 900],
        connection_checkouts=[100, 200, 220, 900],
        connection_used_integral_s=[2.0, 12.0, 17.0, 90.0],
        connection_use_time_s=[2.0, 12.0, 17.0, 90.0],
        loop_lag_max_ms=[1.0, 7.0, 2.0, 99.0],
        gc_pause_max_ms=[6.0, 0.0, 1.0, 99.0],
    )
    activity = build.table(
        ACTIVITY_COLUMNS,
        t_ns=[begun + SECOND, begun + SECOND, begun + 2 * SECOND],
        state=["active", "idle in transaction", "active"],
        connections=[1, 4, 1],
    )
    known = build.trial(
        build.cell(),
        0,
        build.rows([1.0] * 99, every_ms=100.0),
        activity=activity,
        probe=probe,
        process=build.table(PROCESS_COLUMNS),
    )
    (probed,) = measure_launches(build.run([known])).counted
    holds = pd.DataFrame(
        {
            "endpoint": [READ, PATCH],
            "connections": [1, 1],
            **{part: [0, 0] for part in ("requests", "left", "on_loop", "threads", "statements")},
            "holds": [3, 1],
            "query": [0.03, 0.05],
            "idle_transaction": [0.0, 0.01],
            "idle": [0.01, 0.0],
            "after": [0.02, 0.0],
        }
    )
    whole = replace(
        launch,
        probe_times=probed.probe_times,
        connections=probed.connections,
        pool_used_mean=probed.pool_used_mean,
        holds=holds,
        probe_user_ms=np.array([5.0, 40.0]),
    )
    assert metric_named(name).of(whole, ALL) == pytest.approx(BESIDE_THE_SUMMARY[name])
    if name == "hold_ms":
        assert METRICS[name].of(whole, READ) == pytest.approx(20.0)
        assert math.isnan(METRICS[name].of(whole, "GET /nowhere"))


def test_every_metric_with_noise_is_a_column_of_the_summary(build: ModuleType) -> None:
    from harness.analyse import analyse, summary_rows

    run = build.blocked_run({1: [[1.0] * 100] * 2})
    noisy = {name for name, metric in METRICS.items() if not metric.exact}
    assert noisy - set(BESIDE_THE_SUMMARY) <= set(summary_rows(run, analyse(run).summary).columns)
    assert {name for name in METRICS if name not in noisy} == {
        "statements_per_request",
        "transactions_per_request",
        "checkouts_per_request",
        "round_trips_per_request",
    }


def test_exact_metrics_are_of_the_measured_segments_alone(build: ModuleType) -> None:
    segments = [build.segment(0, phase="warmup"), build.segment(1)]
    counts = build.table(
        COUNT_COLUMNS,
        segment=[0, 1, 1],
        method=["GET"] * 3,
        route=["/heroes/{hero_id}", "/heroes/{hero_id}", "/heroes"],
        status=[200, 200, 500],
        requests=[100, 30, 10],
        statements=[900, 30, 50],
        transactions=[100.0, 30.0, 10.0],
        checkouts=[100, 30, 10],
        round_trips=[300.0, 90.0, math.nan],
    )
    made = build.trial(build.cell(), 1, build.rows([1.0] * 40, segment=1), segments=segments)
    (launch,) = measure_launches(build.run([replace(made, counts=counts)])).counted
    assert METRICS["statements_per_request"].of(launch, ALL) == 2.0
    assert METRICS["transactions_per_request"].of(launch, ALL) == 1.0
    assert math.isnan(METRICS["round_trips_per_request"].of(launch, ALL)), "unknown of one, unknown of the sum"
    assert METRICS["statements_per_request"].of(launch, "GET /heroes/{hero_id}") == 1.0
    assert METRICS["statements_per_request"].of(launch, "GET /heroes 500") == 5.0
    assert math.isnan(METRICS["statements_per_request"].of(launch, "GET /nowhere"))
    assert set(KNOWN) <= set(METRICS)


def test_endpoints_have_their_own_figures_and_launches_theirs(launch: LaunchFigures) -> None:
    assert METRICS["p50_ms"].of(launch, READ) == 40.0
    assert METRICS["p95_ms"].of(launch, PATCH) == math.inf
    assert METRICS["error_rate"].of(launch, PATCH) == pytest.approx(2 / 20)
    assert METRICS["dropped"].of(launch, PATCH) == 1
    assert METRICS["achieved_rps"].of(launch, READ) == pytest.approx(8.0)
    for of_the_launch in ("connections_peak", "connections_active_mean", "cpu_ms_per_request"):
        assert math.isnan(METRICS[of_the_launch].of(launch, READ))


def test_of_an_endpoint_that_was_never_called_nothing_is_known(launch: LaunchFigures) -> None:
    for name, metric in METRICS.items():
        assert math.isnan(metric.of(launch, "GET /nowhere")), name


def test_whether_less_is_better_is_known_of_each() -> None:
    higher = {name for name, metric in METRICS.items() if not metric.lower_is_better}
    assert higher == {"achieved_rps", "carried_rps", "goodput_rps"}
    assert {metric.unit for metric in METRICS.values()} <= {"ms", "/s", ""}


def test_what_a_percentile_is_at_least_is_known_of_arrivals_and_of_each_endpoint(build: ModuleType) -> None:
    rows = build.rows([20.0] * 100, every_ms=100.0)
    rows["handed_ns"] += 3_000_000
    (late,) = measure_launches(build.run([build.trial(build.cell(), 0, rows)])).counted
    least = METRICS["p95_ms"].least
    assert least is not None
    assert least(late, ALL) == pytest.approx(17.0)
    assert least(late, READ) == pytest.approx(17.0)
    assert METRICS["carried_rps"].least is None


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("p95", "Did you mean 'p95_ms'?"),
        ("goodput", "Did you mean 'goodput_rps'?"),
        ("cpu_per_request", "Did you mean 'cpu_ms_per_request'?"),
        ("", "Use one of p50_ms, "),
        ("latency of the tail", "Use one of p50_ms, "),
    ],
)
def test_an_unknown_metric_names_the_nearest(name: str, advice: str) -> None:
    with pytest.raises(UsageError) as raised:
        metric_named(name)
    assert raised.value.cause == f"There is no metric {name!r}."
    assert raised.value.next_step.startswith(advice)


def test_cells_are_compared_by_any_metric_that_is_positive(build: ModuleType) -> None:
    run = build.blocked_run({1: [[10.0] * 100] * 3, 2: [[20.0] * 100] * 3})
    launches = measure_launches(run).counted
    assert compare_by(METRICS["p95_ms"], launches).pair("c1", "c2").ratio == pytest.approx(2.0)
    assert compare_by(METRICS["carried_rps"], launches).pair("c1", "c2").ratio == pytest.approx(1.0)
    assert compare_by(METRICS["p95_ms"], launches, READ).pair("c1", "c2").ratio == pytest.approx(2.0)
    assert compare_by(METRICS["dropped"], launches).cells == (), "of nothing there is no logarithm"


def test_a_cell_that_failed_in_one_launch_has_no_ratio(build: ModuleType) -> None:
    failing = [[10.0] * 100, [10.0] * 90 + [math.inf] * 10, [10.0] * 100]
    launches = measure_launches(build.blocked_run({1: failing, 2: [[20.0] * 100] * 3})).counted
    assert compare_by(METRICS["p95_ms"], launches).cells == ("c2",)
    assert set(compare_by(METRICS["p50_ms"], launches).cells) == {"c1", "c2"}


def test_a_probe_that_saw_nothing_leaves_the_pool_unknown(build: ModuleType) -> None:
    rows = pd.concat([build.rows([10.0] * 50), build.rows([10.0] * 50, start_ns=build.START_NS + SECOND)])
    (launch,) = measure_launches(build.run([build.trial(build.cell(), 0, rows)])).counted
    assert np.isnan(METRICS["pool_wait_p95_ms"].of(launch, ALL))
