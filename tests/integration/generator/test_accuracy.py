"""The golden accuracy suite, shortened: the real generator against servers that say what they really did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy import CASES, Case, compare, error
from benchmarks.driving import Driven, drive_plan, open_segment
from benchmarks.stubs import Behaviour, Stub, serving

BY_NAME = {case.name: case for case in CASES}


def measured(case: Case, folder: Path) -> tuple[Driven, Stub]:
    with serving(case.behaviour) as stub:
        segment = open_segment(rate_rps=case.rate_rps, duration_s=case.duration_s, arrivals=case.arrivals)
        driven = drive_plan(stub.url, [segment], folder, max_in_flight=case.max_in_flight)
    return driven, stub


def test_a_freeze_is_in_the_percentiles_as_long_as_it_was(tmp_path: Path) -> None:
    """0.5 s of 3 s: one arrival in six waits, evenly between no time and all of it, so p95 is about 0.35 s."""
    behaviour = Behaviour(kind="freeze", delay_s=0.002, freeze_at_s=1.5, freeze_s=0.5)
    case = replace(BY_NAME["freeze"], behaviour=behaviour, duration_s=3.0)
    driven, stub = measured(case, tmp_path)
    expected, found = compare(case, driven, stub)
    assert 250 < expected["p95_ms"] < 450
    assert expected["p99_ms"] > 430
    for name in ("p95_ms", "p99_ms"):
        assert found[name] >= expected[name] - 0.5, "nobody gets an answer before it is given"
        assert found[name] == pytest.approx(expected[name], rel=0.1)


def test_every_arrival_beyond_the_cap_is_counted_exactly(tmp_path: Path) -> None:
    case = replace(BY_NAME["slower_than_offered"], duration_s=3.0)
    driven, stub = measured(case, tmp_path)
    expected, found = compare(case, driven, stub)
    assert found["dropped"] == expected["dropped"]
    assert 60 < found["dropped"] < 90  # 150 offered, 25 at a time for 0.99 s each
    (count,) = driven.output.ledger.tasks
    assert (count.dropped, count.offered) == (found["dropped"], 150)


def test_an_error_is_what_goes_beyond_a_millisecond() -> None:
    assert error({"p50_ms": 20.0, "p99_ms": 100.0}, {"p50_ms": 20.9, "p99_ms": 100.0}) == 0
    assert error({"p50_ms": 20.0, "p99_ms": 100.0}, {"p50_ms": 20.0, "p99_ms": 96.0}) == pytest.approx(0.03)
    assert error({"p50_ms": 20.0, "dropped": 10}, {"p50_ms": 20.0, "dropped": 11}) == pytest.approx(0.1)
