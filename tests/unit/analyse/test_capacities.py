from __future__ import annotations

from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from harness.analyse.staircase import staircase_capacity_rps

SECOND = 1_000_000_000


def staircase(build: ModuleType, capacity_rps: float, rates: list[float], *, length_s: float = 1.0):  # type: ignore[no-untyped-def]
    """A single server of fixed capacity, evenly loaded: what is beyond it is answered after the rung."""
    segments, tables = [], []
    for number, rate in enumerate(rates):
        start_s = number * 10.0
        segments.append(build.segment(number, phase="staircase", rate_rps=rate, start_s=start_s, duration_s=length_s))
        arrivals = np.arange(int(rate * length_s))
        sent_s = arrivals / rate
        done_s = np.maximum.accumulate(np.maximum(sent_s, arrivals / capacity_rps)) + 1 / capacity_rps
        start_ns = build.start_ns + round(start_s * SECOND)
        rows = build.rows([1.0] * len(arrivals), segment=number, start_ns=start_ns)
        rows["finished_ns"] = start_ns + (done_s * SECOND).astype(np.int64)
        tables.append(rows)
    return pd.concat(tables, ignore_index=True), segments, build.ledger(segments)


def test_the_capacity_of_a_server_is_found(build: ModuleType) -> None:
    rows, segments, ledger = staircase(build, 437.0, [100, 200, 400, 600, 900])
    assert staircase_capacity_rps(rows, segments, ledger) == pytest.approx(437, rel=0.01)


def test_a_rung_is_credited_with_no_more_than_its_rate(build: ModuleType) -> None:
    rows, _, ledger = staircase(build, 5000.0, [120.0])
    generous = [build.segment(0, phase="staircase", rate_rps=100.0)]
    assert staircase_capacity_rps(rows, generous, ledger) == 100


def test_failures_and_late_answers_are_no_throughput(build: ModuleType) -> None:
    segments = [build.segment(0, phase="staircase")]
    failing = build.rows([1.0] * 100, outcome=["ok"] * 60 + ["error"] * 40)
    assert staircase_capacity_rps(failing, segments, build.ledger(segments)) == pytest.approx(60)
    late = build.rows([2000.0] * 100)
    assert staircase_capacity_rps(late, segments, build.ledger(segments)) == 0


def test_a_rung_counts_over_the_time_of_its_launchs_own_turn(build: ModuleType) -> None:
    """Pilots climb one after the other: wall time is far from the load clock, on which all of them begin at zero."""
    segments = [build.segment(0, "b0-c2", phase="staircase", rate_rps=400.0)]
    others = build.turn(0.0, 30.0, "b0-c1")
    own = build.turn(0.0, 1.0, "b0-c2", at_s=31.0)
    rows = build.rows([1.0] * 300, start_ns=build.START_NS + 31 * SECOND, every_ms=3.0)
    assert staircase_capacity_rps(rows, segments, build.ledger(segments, [others, own])) == pytest.approx(300)


def test_skipped_rungs_and_other_phases_do_not_count(build: ModuleType) -> None:
    segments = [
        build.segment(0, phase="warmup", rate_rps=900.0),
        build.segment(1, phase="staircase", rate_rps=80.0),
        build.segment(2, phase="staircase", rate_rps=900.0),
    ]
    climbed = build.turn(0.0, 2.0)  # it ended after the first rung
    warmup = build.rows([1.0] * 900, segment=0, every_ms=1.0)
    rung = build.rows([1.0] * 80, segment=1)
    rows = pd.concat([warmup, rung], ignore_index=True)
    assert staircase_capacity_rps(rows, segments, build.ledger(segments, [climbed])) == 80


def test_a_handful_of_answers_does_not_outrank_a_well_filled_rung(build: ModuleType) -> None:
    rows, segments, _ = staircase(build, 5000.0, [100.0, 400.0])
    short = build.turn(0.0, 10.05)  # 20 answers on the second rung, nominally 400 a second
    assert staircase_capacity_rps(rows, segments, build.ledger(segments, [short])) == pytest.approx(100)


def test_the_real_duration_counts(build: ModuleType) -> None:
    segments = [build.segment(0, phase="staircase", rate_rps=400.0)]
    rows = build.rows([1.0] * 100, every_ms=1.0)  # all answered within 101 ms
    ledger = build.ledger(segments, [build.turn(0.0, 0.5)])
    assert staircase_capacity_rps(rows, segments, ledger) == pytest.approx(200)
