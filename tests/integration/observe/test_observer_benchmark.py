"""The benchmark of what observing costs runs, and does not go on when the service answers otherwise than it should."""

from __future__ import annotations

import math

import pytest

from benchmarks import observer
from benchmarks.light_client import Turn


def short(path: str) -> observer.Workload:
    return observer.Workload(path=path, rounds={"open": 2, "closed": 3}, pilot_rounds=2, warmup_segments=2)


def test_it_measures_both_models() -> None:
    figures = observer._measure_workload(short(observer.PAGE.path))
    assert (figures["p50_rounds"], figures["throughput_rounds"]) == (2, 3)
    for part in (figures, figures["probe"], figures["samplers"]):
        for effect, interval in (("p50_effect", "p50_ci"), ("throughput_effect", "throughput_ci")):
            low, high = part[interval]
            assert low <= part[effect] <= high
    assert figures["unobserved_p50_ms"] > 0
    assert figures["unobserved_rps"] > 0


def test_each_part_is_told_from_the_other() -> None:
    """4 % more with the probe, 1 % more with the samplers, nothing more with both: by hand, of two rounds."""
    turns = [
        Turn(model="closed", round=round_, probe=probe, samplers=samplers, figure=100 * 1.04**probe * 1.01**samplers)
        for round_ in range(2)
        for probe in (True, False)
        for samplers in (True, False)
    ]
    for part, factor in (("probe", 1.04), ("samplers", 1.01), ("both", 1.04 * 1.01)):
        assert observer._log_ratios(turns, "closed", part) == pytest.approx([math.log(factor)] * 2)
    assert observer._log_ratios(turns, "open", "both") == []


def test_an_answer_but_200_ends_it() -> None:
    with pytest.raises(RuntimeError, match="before its work was done, with exit code 1"):
        observer._measure_workload(short("/nothing"))
