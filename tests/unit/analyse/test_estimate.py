from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analyse.estimate import half_width, over_launches, paired_logs, paired_ratio, quantile

LATENCIES = st.lists(st.floats(min_value=0.001, max_value=1e6) | st.just(math.inf), min_size=1, max_size=200)
SHARES = (0.5, 0.9, 0.95, 0.99)


@given(LATENCIES)
def test_a_quantile_is_numpys_inverted_cdf(latencies: list[float]) -> None:
    ascending = np.sort(np.array(latencies))
    for share in SHARES:
        assert quantile(ascending, share) == np.quantile(ascending, share, method="inverted_cdf")


@given(LATENCIES)
def test_quantiles_grow_with_their_share(latencies: list[float]) -> None:
    found = [quantile(np.sort(np.array(latencies)), share) for share in SHARES]
    assert found == sorted(found)


@pytest.mark.parametrize("count", [20, 100, 300, 1000, 7000])
def test_a_whole_rank_is_not_pushed_up_by_rounding(count: int) -> None:
    ascending = np.arange(1.0, count + 1)
    for share in SHARES:
        assert quantile(ascending, share) == round(count * share)


def test_failures_are_the_tail() -> None:
    # 94 answers and 6 failures: p50 is an answer, p95 is a failure
    ascending = np.array([*range(1, 95), *[math.inf] * 6], dtype=float)
    assert quantile(ascending, 0.5) == 50
    assert quantile(ascending, 0.95) == math.inf


def test_no_values_have_no_quantile() -> None:
    assert math.isnan(quantile(np.array([]), 0.5))


def test_launches_combine_to_their_geometric_mean_with_a_t_interval_of_the_logs() -> None:
    values = [10.0, 12.0, 15.0, 11.0]
    found = over_launches(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(np.log(values)), scale=stats.sem(np.log(values)))
    assert found.value == pytest.approx(stats.gmean(values))
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))


@pytest.mark.parametrize(
    ("values", "value", "has_interval"),
    [
        ([], math.nan, False),
        ([7.0], 7.0, False),
        ([7.0, 7.0], 7.0, True),
        ([7.0, math.inf, 8.0], math.inf, False),
        ([math.nan, 7.0], 7.0, False),
        ([1e-3, 1e300], math.sqrt(1e-3 * 1e300), True),
    ],
)
def test_degenerate_launches(values: list[float], value: float, has_interval: bool) -> None:
    found = over_launches(values)
    assert found.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(found.low) is not has_interval
    assert math.isnan(found.high) is not has_interval


@given(st.lists(st.floats(min_value=0.1, max_value=1e4), min_size=2, max_size=9), st.randoms())
def test_the_order_of_launches_does_not_matter(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = over_launches(values), over_launches(shuffled)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_pairing_removes_what_blocks_share() -> None:
    base = {1: 10.0, 2: 100.0, 3: 1000.0}
    found = paired_ratio(base, {block: 2 * value for block, value in base.items()})
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_a_ratio_uses_common_blocks_only() -> None:
    assert paired_ratio({1: 10.0, 2: 10.0}, {2: 30.0, 3: 99.0}).value == pytest.approx(3)
    assert math.isnan(paired_ratio({1: 10.0}, {2: 10.0}).value)


def test_a_ratio_to_a_failing_launch_is_infinite() -> None:
    assert paired_ratio({1: 10.0, 2: 10.0}, {1: 10.0, 2: math.inf}).value == math.inf


def test_one_value_has_no_width() -> None:
    assert math.isnan(half_width([1.0]))


@pytest.mark.parametrize("launches", [3, 7])
def test_equal_cells_are_told_apart_about_as_seldom_as_promised(launches: int) -> None:
    draws = np.random.default_rng(7)
    alarms = 0
    for _ in range(1000):
        drift = draws.lognormal(sigma=0.5, size=launches)  # shared by both cells of a block
        base, other = (dict(enumerate(drift * draws.lognormal(sigma=0.1, size=launches))) for _ in range(2))
        differences = paired_logs(base, other)
        alarms += abs(differences.mean()) > half_width(differences)
    assert 30 <= alarms <= 70  # 50 expected at 5 %, with a standard deviation of 7
