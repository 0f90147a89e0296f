from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from lengths import THOROUGH

from harness.analyse.critical import against_one, all_pairs, each


@pytest.mark.parametrize(
    ("cells", "freedom"),
    list(product([2, 3, 6, 20], [2, 4.5, 10, 1000])) if THOROUGH else [(2, 4.5), (3, 1000), (6, 10), (20, 2)],
)
def test_all_pairs_are_judged_by_the_studentized_range(cells: int, freedom: float) -> None:
    from scipy import stats

    expected = stats.studentized_range.ppf(0.95, cells, freedom) / math.sqrt(2)
    assert all_pairs(cells, freedom) == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize(("freedom", "published"), [(10, [1.81, 2.15, 2.34, 2.47, 2.56]), (20, [1.72, 2.03, 2.19])])
def test_all_against_one_are_judged_by_dunnetts_table(freedom: float, published: list[float]) -> None:
    found = [against_one(cells, freedom) for cells in range(2, 2 + len(published))]
    assert found == pytest.approx(published, abs=0.006)


@pytest.mark.parametrize("freedom", [1, 3, 30])
def test_two_cells_are_judged_by_students_t(freedom: float) -> None:
    from scipy import stats

    assert all_pairs(2, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=5e-4)
    assert against_one(2, freedom) == pytest.approx(stats.t.ppf(0.95, freedom), rel=5e-4)


def test_between_degrees_of_freedom_values_are_interpolated() -> None:
    freedom = np.array([2.0, 2.9, 5.5, 17.0, math.nan, 76.0])
    exact = [math.nan if math.isnan(one) else all_pairs(6, one) for one in freedom]
    assert each(all_pairs, 6, freedom) == pytest.approx(exact, rel=3e-3, nan_ok=True)
    assert np.isnan(each(all_pairs, 1, np.full(3, math.nan))).all()
