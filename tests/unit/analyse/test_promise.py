from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analyse.compare import compare
from harness.analyse.promise import all_of, error_rate_bounds, error_rate_promise, latency_promise
from harness.domain.verdict import Promise


@pytest.mark.parametrize(
    ("limit_ms", "promise"), [(None, None), (30.0, "met"), (20.5, "unclear"), (19.0, "unclear"), (12.0, "not_met")]
)
def test_a_latency_is_judged_by_its_bounds_over_launches(limit_ms: float | None, promise: Promise | None) -> None:
    compared = compare({"a": {0: math.log(19), 1: math.log(21), 2: math.log(20)}})
    assert latency_promise(compared, "a", limit_ms) == promise


def test_one_launch_keeps_no_promise_and_breaks_none() -> None:
    once = compare({"a": {0: math.log(20)}})
    assert latency_promise(once, "a", 1000) == "unclear"
    assert latency_promise(once, "not measured", 1000) == "unclear"
    assert error_rate_promise([(0, 10_000)], 0.01) == "unclear"


def test_a_launch_that_fails_too_often_breaks_the_promise() -> None:
    assert latency_promise(compare({}), "a", 1000, failing=True) == "not_met"
    assert latency_promise(compare({}), "a", None, failing=True) is None


@pytest.mark.parametrize(
    ("launches", "limit", "promise"),
    [
        ([(0, 1000)] * 3, 0.01, "met"),
        ([(0, 50)] * 3, 0.01, "unclear"),
        ([(0, 1000)] * 3, None, None),
        ([(100, 1000)] * 3, 0.01, "not_met"),
        ([(40, 1000), (0, 1000), (0, 1000)], 0.01, "unclear"),
        ([(9, 1000), (11, 1000), (10, 1000)], 0.01, "unclear"),
        ([(1000, 1000)] * 3, 0.01, "not_met"),
        ([(0, 1000), (0, 0)], 0.01, "unclear"),
        ([], 0.01, "unclear"),
    ],
)
def test_an_error_rate_is_judged_by_its_bounds_over_launches(
    launches: list[tuple[int, int]], limit: float | None, promise: Promise | None
) -> None:
    assert error_rate_promise(launches, limit) == promise


@pytest.mark.parametrize("launches", [2, 3, 5])
@pytest.mark.parametrize("clustered", [False, True])
def test_error_rates_are_bounded_at_95_percent(launches: int, clustered: bool) -> None:
    draws, true, missed = np.random.default_rng(4), 0.01, np.zeros(2)
    for _ in range(1500):
        rates = draws.beta(4, 4 / true - 4, size=launches) if clustered else np.full(launches, true)
        bounds = error_rate_bounds([(int(draws.binomial(1000, rate)), 1000) for rate in rates])
        assert bounds.low is not None
        assert bounds.high is not None
        missed += [bounds.low > true, bounds.high < true]
    assert (missed / 1500 <= 0.065).all()


def test_the_worst_of_several_promises_counts() -> None:
    assert all_of(["met", "unclear", None]) == "unclear"
    assert all_of(["met", "not_met", "unclear"]) == "not_met"
    assert all_of(["met", None]) == "met"
    assert all_of([None]) is None
