"""What a launch used, counted within its own turns and on its own load clock."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import pandas as pd
import pytest

from harness.analyse import analyse
from harness.analyse.resources import connection_readings, cores_of, neighbours, role_cpu_s
from harness.analyse.windows import Windows, windows
from harness.domain.tables import ACTIVITY_COLUMNS, PROCESS_COLUMNS, SERVER_COLUMNS

SECOND = 1_000_000_000


def two_turns(build: ModuleType) -> Windows:
    """Two seconds of load, with a second of somebody else's between them."""
    return windows([build.segment(0, duration_s=2.0)], [build.turn(0.0, 1.0), build.turn(1.0, 2.0, at_s=2.0)])


def test_connections_are_counted_within_measured_stretches(build: ModuleType) -> None:
    at_s = [0.5, 0.5, 1.5, 2.5, 2.5, 2.5, 2.9]
    activity = build.table(
        ACTIVITY_COLUMNS,
        t_ns=[build.START_NS + int(t * SECOND) for t in at_s],
        state=["active", "idle", "active", "active", "active", "idle", ""],
        connections=[2, 3, 90, 4, 1, 2, 0],
    )
    readings = connection_readings(activity, two_turns(build))
    assert readings.peak == 7  # the 90 came between the turns
    assert readings.active_mean == pytest.approx((2 + 5 + 0) / 3)
    assert readings.time_s.tolist() == [0.5, 1.5, 1.9]
    assert readings.states == ("active", "idle")
    assert readings.counts.tolist() == [[2, 3], [5, 2], [0, 0]]


def test_without_readings_nothing_is_claimed(build: ModuleType) -> None:
    for empty in (build.table(ACTIVITY_COLUMNS), pd.DataFrame(columns=list(ACTIVITY_COLUMNS))):
        readings = connection_readings(empty, two_turns(build))
        assert readings.peak == 0
        assert math.isnan(readings.active_mean)
    assert math.isnan(role_cpu_s(build.table(PROCESS_COLUMNS), "target", two_turns(build)))


def test_what_ran_beside_the_target_is_counted_within_its_turns_as_a_share_of_all_cores(build: ModuleType) -> None:
    """Two cores: the generator uses half of one, Postgres a quarter; a quarter of the machine's time is idle."""
    t_s = [-1.0, 0.2, 0.9, 2.3, 2.4, 4.0]
    rates = {"generator": 0.5, "postgres": 0.25, "target": 0.7}
    process = build.table(
        PROCESS_COLUMNS,
        t_ns=[build.START_NS + int(t * SECOND) for t in t_s * 3],
        role=[role for role in rates for _ in t_s],
        pid=[pid for pid in range(3) for _ in t_s],
        cpu_s=[10 + rate * t for rate in rates.values() for t in t_s],
    )
    server = build.table(
        SERVER_COLUMNS,
        t_ns=[build.START_NS + int(t * SECOND) for t in t_s * 2],
        key=["host_cpu_s"] * 6 + ["host_idle_s"] * 6,
        value=[10 + 2 * t for t in t_s] + [10 + 0.5 * t for t in t_s],
    )
    found = neighbours(process, server, two_turns(build))
    assert found is not None
    assert found.cores == pytest.approx(2.0)
    assert found.busy == pytest.approx(0.75)
    assert found.by_role == pytest.approx({"generator": 0.25, "postgres": 0.125})
    assert neighbours(process, server[server["key"] == "host_cpu_s"], two_turns(build)) is None
    assert neighbours(build.table(PROCESS_COLUMNS), server, two_turns(build)) == replace(found, by_role={})


def test_what_a_process_used_in_turns_is_not_lost_to_the_idle_time_around_them(build: ModuleType) -> None:
    """Two turns of a second, a core each, read three times a second and never at their bounds."""
    t_s = [number / 3 + 0.1 for number in range(-1, 10)]
    worked_s = [min(max(t, 0.0), 1.0) + min(max(t - 2.0, 0.0), 1.0) for t in t_s]
    process = build.table(
        PROCESS_COLUMNS,
        t_ns=[build.START_NS + int(t * SECOND) for t in t_s],
        role="target",
        pid=7,
        cpu_s=worked_s,
    )
    assert cores_of(process, "target", two_turns(build)) == pytest.approx([1.0])
    assert role_cpu_s(process, "target", two_turns(build)) < 1.95
    assert cores_of(process, "postgres", two_turns(build)) == []


def test_cpu_is_interpolated_at_the_bounds_and_summed_over_processes(build: ModuleType) -> None:
    t_s = [-1.0, 0.2, 0.9, 2.3, 2.4, 4.0]
    rates = {7: 0.5, 8: 0.25}
    process = build.table(
        PROCESS_COLUMNS,
        t_ns=[build.START_NS + int(t * SECOND) for t in t_s * 2] + [build.START_NS] * 2,
        role=["target"] * 12 + ["postgres"] * 2,
        pid=[pid for pid in rates for _ in t_s] + [9, 9],
        cpu_s=[10 + rate * t for rate in rates.values() for t in t_s] + [0.0, 99.0],
    )
    assert role_cpu_s(process, "target", two_turns(build)) == pytest.approx((0.5 + 0.25) * 2.0)

    segments = [build.segment(0, duration_s=2.0)]
    turns = [build.turn(0.0, 1.0), build.turn(1.0, 2.0, at_s=2.0)]
    trial = build.trial(
        build.cell(),
        0,
        build.rows([1.0] * 30),
        segments=segments,
        turns=turns,
        process=process.sample(frac=1, random_state=3),
    )
    (summary,) = analyse(build.run([trial])).summary.cells
    assert summary.cpu_ms_per_request == pytest.approx(1500 / 30)
