from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.verdict import Bounds, Promise
from harness.present import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (1.2, "1.20"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (99.96, "100"),
        (999.6, "1\u202f000"),
        (1234, "1\u202f230"),
        (9_876_543, "9\u202f880\u202f000"),
        (-12.34, "-12.3"),
        (1e-9, "<0.0001"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (math.nan, "\u2013"),
        (None, "\u2013"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@given(st.floats(min_value=1e-3, max_value=1e12))
def test_number_is_within_half_of_its_third_digit(value: float) -> None:
    shown = float(numbers.number(value).replace("\u202f", ""))
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    assert abs(shown - value) <= unit / 2 * (1 + 1e-9)


@given(st.floats(min_value=1e-3, max_value=1e12))
def test_number_is_never_in_powers_of_ten_and_shows_three_digits(value: float) -> None:
    text = numbers.number(value)
    assert set(text) <= set("0123456789.\u202f")
    if value < 99.9:
        assert len(text.replace(".", "").lstrip("0")) == 3


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (18_432, "18\u202f432"), (math.nan, "\u2013"), (None, "\u2013")])
def test_count(value: float | None, text: str) -> None:
    assert numbers.count(value) == text


@pytest.mark.parametrize(("share", "text"), [(0.01234, "1.23"), (0, "0"), (1, "100"), (None, "\u2013")])
def test_percent(share: float | None, text: str) -> None:
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (11.94, 12.81, "11.9\u201312.8"),
        (0.0, 12.8, "0\u201312.8"),
        (None, None, "\u2013"),
    ],
)
def test_interval(low: float | None, high: float | None, text: str) -> None:
    assert numbers.interval(Bounds(value=12.3, low=low, high=high)) == text


def test_interval_of_nothing_is_unknown() -> None:
    assert numbers.interval(None) == "\u2013"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.5 s"),
        (2, "2 s"),
        (9.996, "10 s"),
        (42.4, "42 s"),
        (59.6, "1 min"),
        (117.3, "1 min 57 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (math.inf, "∞"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("promise", "text"), [("met", "yes"), ("not_met", "no"), ("unclear", "unclear"), (None, "\u2013")]
)
def test_promise(promise: Promise | None, text: str) -> None:
    assert numbers.promise_word(promise) == text
