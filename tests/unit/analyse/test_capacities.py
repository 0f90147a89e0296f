from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from harness.analyse import choose_rate, staircase_capacity_rps
from harness.domain.load import Ledger
from harness.errors import MeasurementError

SECOND = 1_000_000_000


def staircase(build: SimpleNamespace, capacity_rps: float, rates: list[float], *, length_s: float = 1.0):  # type: ignore[no-untyped-def]
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


def test_the_capacity_of_a_server_is_found(build: SimpleNamespace) -> None:
    rows, segments, ledger = staircase(build, 437.0, [100, 200, 400, 600, 900])
    assert staircase_capacity_rps(rows, segments, ledger) == pytest.approx(437, rel=0.01)


def test_a_rung_is_credited_with_no_more_than_its_rate(build: SimpleNamespace) -> None:
    rows, _, ledger = staircase(build, 5000.0, [120.0])
    generous = [build.segment(0, phase="staircase", rate_rps=100.0)]
    assert staircase_capacity_rps(rows, generous, ledger) == 100


def test_failures_and_late_answers_are_no_throughput(build: SimpleNamespace) -> None:
    segments = [build.segment(0, phase="staircase")]
    failing = build.rows([1.0] * 100, outcome=["ok"] * 60 + ["error"] * 40)
    assert staircase_capacity_rps(failing, segments, build.ledger(segments)) == pytest.approx(60)
    late = build.rows([2000.0] * 100)
    assert staircase_capacity_rps(late, segments, build.ledger(segments)) == 0


def test_skipped_rungs_and_other_phases_do_not_count(build: SimpleNamespace) -> None:
    segments = [
        build.segment(0, phase="warmup", rate_rps=900.0),
        build.segment(1, phase="staircase", rate_rps=80.0),
        build.segment(2, phase="staircase", rate_rps=900.0),
    ]
    went = (build.went(segments[0]), build.went(segments[1]), build.went(segments[2], skipped=True))
    warmup = build.rows([1.0] * 900, segment=0)
    rung = build.rows([1.0] * 80, segment=1, start_ns=build.start_ns + SECOND)
    rows = pd.concat([warmup, rung], ignore_index=True)
    assert staircase_capacity_rps(rows, segments, Ledger(tasks=(), endpoints=(), segments=went)) == 80


def test_a_handful_of_answers_does_not_outrank_a_well_filled_rung(build: SimpleNamespace) -> None:
    rows, segments, ledger = staircase(build, 5000.0, [100.0, 400.0])
    short = build.went(segments[1], length_s=0.05)  # 20 answers, nominally 400 a second
    ledger = Ledger(tasks=(), endpoints=(), segments=(ledger.segments[0], short))
    assert staircase_capacity_rps(rows, segments, ledger) == pytest.approx(100)


def test_the_real_duration_counts(build: SimpleNamespace) -> None:
    segments = [build.segment(0, phase="staircase", rate_rps=400.0)]
    ledger = Ledger(tasks=(), endpoints=(), segments=(build.went(segments[0], length_s=0.5),))
    rows = build.rows([1.0] * 100)  # all answered within 101 ms
    assert staircase_capacity_rps(rows, segments, ledger) == pytest.approx(200)


@pytest.mark.parametrize(
    ("capacities", "share", "rate_rps"),
    [
        ({"a": 437.0, "b": 900.0}, 0.6, 260.0),
        ({"a": 4370.0}, 0.6, 2600.0),
        ({"a": 10.4}, 0.5, 5.2),
        ({"a": 0.5}, 0.5, 0.25),
    ],
)
def test_the_rate_is_a_share_of_the_weakest_in_two_digits(
    capacities: dict[str, float], share: float, rate_rps: float
) -> None:
    assert choose_rate(capacities, share)[0] == rate_rps


def test_the_source_of_the_rate_names_the_weakest_pilot() -> None:
    _, source = choose_rate({"asyncpg": 900.0, "psycopg_sync": 437.0}, 0.6)
    assert source == "60% of the 437 arrivals/s that the weakest of 2 pilots sustained in a staircase (psycopg_sync)"


def test_a_pilot_without_an_answer_is_an_error_with_a_next_step() -> None:
    with pytest.raises(MeasurementError, match=r"psycopg gave no good answer.*load\.rate_rps"):
        choose_rate({"asyncpg": 900.0, "psycopg": 0.0}, 0.6)
