from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.estimate import geometric_mean, over_launches, quantile, quantile_of

LATENCIES = st.lists(st.floats(min_value=0.001, max_value=1e6) | st.just(math.inf), min_size=1, max_size=200)
SHARES = (0.5, 0.9, 0.95, 0.99)


@given(LATENCIES)
def test_a_quantile_is_numpys_inverted_cdf(latencies: list[float]) -> None:
    ascending = np.sort(np.array(latencies))
    for share in SHARES:
        expected = np.quantile(ascending, share, method="inverted_cdf")
        assert quantile(ascending, share) == quantile_of(np.array(latencies), share) == expected


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
    assert math.isnan(quantile_of(np.array([]), 0.5))


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([], math.nan),
        ([7.0], 7.0),
        ([10.0, 12.0, 15.0, 11.0], statistics.geometric_mean([10.0, 12.0, 15.0, 11.0])),
        ([7.0, math.inf, 8.0], math.inf),
        ([math.nan, 7.0], 7.0),
        ([1e-3, 1e300], math.sqrt(1e-3 * 1e300)),
        ([0.0, 4.0], math.sqrt(1e-6 * 4.0)),  # one tick of the clock
    ],
)
def test_launches_combine_to_their_geometric_mean(values: list[float], value: float) -> None:
    assert over_launches(values) == pytest.approx(value, nan_ok=True)


@given(st.lists(st.floats(min_value=0.1, max_value=1e4), min_size=2, max_size=9), st.randoms())
def test_the_order_of_launches_does_not_matter(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert over_launches(values) == pytest.approx(over_launches(shuffled))


def test_curves_combine_point_by_point() -> None:
    curves = np.array([[1.0, 10.0, math.inf], [4.0, 10.0, 10.0]])
    assert geometric_mean(curves).tolist() == pytest.approx([2.0, 10.0, math.inf])
