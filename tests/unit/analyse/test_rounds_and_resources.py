from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from harness.analyse.rounds import took_turns, windows

from harness.analyse import analyse
from harness.analyse.resources import connection_readings, target_cpu_s
from harness.domain.evidence import ACTIVITY_COLUMNS, PROCESS_COLUMNS, Run

SECOND = 1_000_000_000


def interleaved(build: SimpleNamespace, *, undrained: tuple[int, ...]) -> Run:
    """Two cells, four rounds in turns: cell 1 has the even plan numbers. Round 2 is slow for both."""
    trials = []
    for number in (1, 2):
        cell = build.cell(number)
        segments = [build.segment(2 * turn + number - 1, f"b0-c{number}", round=turn) for turn in range(4)]
        rows = pd.concat(
            [
                build.rows(
                    [100.0 * number if segment.round == 2 else 10.0] * 20,
                    segment=segment.index,
                    start_ns=build.start_ns + segment.index * SECOND,
                )
                for segment in segments
            ],
            ignore_index=True,
        )
        ledger = build.ledger(segments, undrained=undrained)
        trials.append(build.trial(cell, 0, rows, segments=segments, ledger=ledger, sitting=0))
    return build.run(trials)


def test_a_round_entered_undrained_is_left_out_for_all_launches(build: SimpleNamespace) -> None:
    whole = analyse(interleaved(build, undrained=())).summary
    assert [own.all.p95_ms.value for own in whole.cells] == [pytest.approx(100), pytest.approx(200)]

    cut = analyse(interleaved(build, undrained=(5,))).summary  # cell 2 in round 2, right after cell 1
    assert [own.all.requests for own in cut.cells] == [60, 60]
    assert [own.all.p95_ms.value for own in cut.cells] == [pytest.approx(10)] * 2
    (note,) = [note for note in cut.notes if "left out" in note]
    assert note.startswith("1 of 4 rounds of sitting 0")
    assert "after pool_size 5" in note


def test_a_sitting_that_loses_most_of_its_rounds_is_invalid(build: SimpleNamespace) -> None:
    summary = analyse(interleaved(build, undrained=(1, 3, 5))).summary
    assert [own.valid for own in summary.cells] == [False, False]
    assert summary.verdict.endswith("invalid in all 2 launches (undrained 2x).")
    assert [own.findings for own in summary.cells] == [("undrained",)] * 2


def test_a_launch_alone_keeps_its_backlog(build: SimpleNamespace) -> None:
    segments = [build.segment(0, phase="warmup"), build.segment(1)]
    ledger = build.ledger(segments, undrained=(1,))
    trial = build.trial(build.cell(), 0, build.rows([300.0] * 10, segment=1), segments=segments, ledger=ledger)
    (summary,) = analyse(build.run([trial])).summary.cells
    assert summary.all.p50_ms.value == pytest.approx(300)


def test_turns_show_as_missing_plan_numbers(build: SimpleNamespace) -> None:
    assert took_turns([build.segment(0), build.segment(2)])
    assert not took_turns([build.segment(4), build.segment(5)])
    assert not took_turns([])


def test_measured_time_is_glued_and_skips_what_is_left_out(build: SimpleNamespace) -> None:
    segments = [build.segment(0, round=0), build.segment(3, round=1), build.segment(6, round=2)]
    spans = windows(segments, build.ledger(segments), frozenset({1}))
    assert spans.seconds == 2
    inside, time_s = spans.locate(build.start_ns + np.array([0.25, 3.5, 6.5, 9.0]) * SECOND)
    assert inside.tolist() == [True, False, True, False]
    assert time_s[inside].tolist() == [0.25, 2.5]


def test_connections_are_counted_within_measured_stretches(build: SimpleNamespace) -> None:
    segments = [build.segment(0), build.segment(2)]
    at_s = [0.5, 0.5, 1.5, 2.5, 2.5, 2.5, 2.9]
    activity = build.table(
        ACTIVITY_COLUMNS,
        t_ns=[build.start_ns + int(t * SECOND) for t in at_s],
        state=["active", "idle", "active", "active", "active", "idle", ""],
        connections=[2, 3, 90, 4, 1, 2, 0],
    )
    spans = windows(segments, build.ledger(segments))
    readings = connection_readings(activity, spans)
    assert readings.peak == 7  # the 90 came between the segments
    assert readings.active_mean == pytest.approx((2 + 5 + 0) / 3)
    assert readings.time_s.tolist() == [0.5, 1.5, 1.9]
    assert readings.states == ("active", "idle")
    assert readings.counts.tolist() == [[2, 3], [5, 2], [0, 0]]


def test_without_readings_nothing_is_claimed(build: SimpleNamespace) -> None:
    spans = windows([build.segment(0)], build.ledger([build.segment(0)]))
    for empty in (build.table(ACTIVITY_COLUMNS), pd.DataFrame(columns=list(ACTIVITY_COLUMNS))):
        readings = connection_readings(empty, spans)
        assert readings.peak == 0
        assert math.isnan(readings.active_mean)
    assert math.isnan(target_cpu_s(build.table(PROCESS_COLUMNS), spans))


def test_cpu_is_interpolated_at_the_bounds_guard_included_and_summed_over_processes(build: SimpleNamespace) -> None:
    segments = [build.segment(0, duration_s=1.0, guard_s=0.5), build.segment(2, duration_s=1.0, guard_s=0.5)]
    t_s = [-1.0, 0.2, 0.9, 2.3, 2.4, 4.0]
    rates = {7: 0.5, 8: 0.25}
    process = build.table(
        PROCESS_COLUMNS,
        t_ns=[build.start_ns + int(t * SECOND) for t in t_s * 2] + [build.start_ns] * 2,
        role=["target"] * 12 + ["postgres"] * 2,
        pid=[pid for pid in rates for _ in t_s] + [9, 9],
        cpu_s=[10 + rate * t for rate in rates.values() for t in t_s] + [0.0, 99.0],
    )
    spans = windows(segments, build.ledger(segments))
    assert target_cpu_s(process, spans) == pytest.approx((0.5 + 0.25) * 3.0)

    rows = build.rows([1.0] * 30)
    trial = build.trial(build.cell(), 0, rows, segments=segments, process=process.sample(frac=1, random_state=3))
    (summary,) = analyse(build.run([trial])).summary.cells
    assert summary.cpu_ms_per_request == pytest.approx(2250 / 30)
