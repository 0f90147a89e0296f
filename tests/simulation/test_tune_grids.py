"""A tune against grids that are drawn: how often it finds the knee, what it costs, how often it throws the knee away.

The figures that are promised are measured on more of them: python -m benchmarks tune.
"""

from __future__ import annotations

from benchmarks.tune import CURVES, HELD_SIZES, knees, simulate


def test_a_tune_finds_the_knee_for_a_third_of_the_grid() -> None:
    found = simulate(240, seed=3)
    assert found["within_one_of_knee"] > 0.84
    assert found["cost_share_of_grid"] < 0.40
    assert found["knee_dropped"] < 0.09
    assert found["too_slow"] < 0.05
    assert set(found["by_curve"]) == set(CURVES)


def test_holds_of_forty_milliseconds_at_a_hundred_a_second_want_some_eight_connections() -> None:
    """Four are in use on average, so that four are never enough; M/D/c."""
    assert knees(HELD_SIZES) == [6, 8, 10]
