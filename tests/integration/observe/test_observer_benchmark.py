"""The benchmark of what observing costs runs, and does not go on when the service answers otherwise than it should."""

from __future__ import annotations

import pytest

from benchmarks import observer


def short(path: str) -> observer.Workload:
    return observer.Workload(path=path, rounds={"open": 2, "closed": 3}, pilot_rounds=2, warmup_segments=2)


def test_it_measures_both_models() -> None:
    figures = observer._measure_workload(short(observer.PAGE.path))
    assert (figures["p50_rounds"], figures["throughput_rounds"]) == (2, 3)
    for effect, interval in (("p50_effect", "p50_ci"), ("throughput_effect", "throughput_ci")):
        low, high = figures[interval]
        assert low <= figures[effect] <= high
    assert figures["unobserved_p50_ms"] > 0
    assert figures["unobserved_rps"] > 0


def test_an_answer_but_200_ends_it() -> None:
    with pytest.raises(RuntimeError, match="before its work was done, with exit code 1"):
        observer._measure_workload(short("/nothing"))
