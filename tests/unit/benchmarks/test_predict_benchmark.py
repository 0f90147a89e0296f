"""What counts as a prediction that came true, and what the shares are of."""

from __future__ import annotations

import math

import pytest

from benchmarks.predict import GROUPS, Case, judge
from harness.domain.prediction import Prediction, Setting, WhyDeclined, is_near

SETTING = Setting(pool_size=2, max_overflow=0, pool_timeout_s=30.0, rate_rps=60.0, rtt_ms=0.0, workers=1)


def case(
    wait_ms: tuple[float, float], latency_ms: tuple[float, float] = (30.0, 30.0), declined: WhyDeclined | None = None
) -> Case:
    """Of each figure what was predicted and what was measured."""
    predicted = Prediction(
        setting=SETTING, declined=declined, wait_ms_p95=wait_ms[0], latency_ms_p95=latency_ms[0], in_use=1.0
    )
    return Case(name="own", predicted=predicted, wait_ms=wait_ms[1], latency_ms=latency_ms[1])


@pytest.mark.parametrize(
    ("predicted", "measured", "is_so"),
    [
        (12.0, 10.0, True),
        (12.1, 10.0, False),
        (8.0, 10.0, True),
        (7.9, 10.0, False),
        (0.0, 0.9, True),
        (0.0, 1.1, False),
        (math.inf, math.inf, True),
        (math.inf, 10.0, False),
        (10.0, math.inf, False),
    ],
)
def test_near_is_a_fifth_of_what_was_measured_or_a_millisecond(predicted: float, measured: float, is_so: bool) -> None:
    assert is_near(predicted, measured) is is_so


def test_both_figures_have_to_come_true_and_what_was_declined_counts_apart() -> None:
    told = judge(
        [
            case((11.0, 10.0)),
            case((20.0, 10.0)),
            case((10.0, 10.0), (50.0, 30.0)),
            case((math.nan, 9.0), (math.nan, 30.0), declined="worker_cpu"),
        ]
    )
    assert (told["cells"], told["declined"], told["within_20_percent_or_1ms"]) == (4, 0.25, pytest.approx(1 / 3))
    assert told["waiting_10_ms_or_more"] == 0.75
    assert [own["within"] for own in told["each"]] == [True, False, False, None]


def test_twenty_cells_and_more_are_predicted_that_were_not_predicted_from() -> None:
    assert sum(len(group.sizes) * len(group.rates_rps) - 2 for group in GROUPS) >= 20
    assert len({group.hold_ms for group in GROUPS}) == 3
