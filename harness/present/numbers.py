"""How every figure is written, in the terminal and in the report alike: three significant digits, units in headers.

Infinite means "failed", NaN and None mean "not known"; neither is ever shown as a number.
"""

from __future__ import annotations

import math

from harness.domain.verdict import Bounds, Promise

INFINITE = "∞"
UNKNOWN = _RANGE = "\u2013"  # an en dash, alone or between two figures
_THIN_SPACE = "\u202f"
_DIGITS = 3


def number(value: float | None) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 123, 12 300."""
    special = _special(value)
    if special is not None or value is None:
        return special or UNKNOWN
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    rounded = round(value, _DIGITS - 1 - exponent)
    if abs(rounded) >= 10 ** (exponent + 1):  # 9.996 became 10.0
        exponent += 1
    decimals = max(0, _DIGITS - 1 - exponent)
    if decimals > 6:
        return "<0.0001" if value > 0 else ">-0.0001"
    return f"{rounded:,.{decimals}f}".replace(",", _THIN_SPACE)


def count(value: float | None) -> str:
    """A whole number in full: 18 432."""
    special = _special(value)
    if special is not None or value is None:
        return special or UNKNOWN
    return f"{round(value):,}".replace(",", _THIN_SPACE)


def percent(share: float | None) -> str:
    """A share of one as a percentage without its sign: 0.0123 is "1.23"."""
    return number(None if share is None else share * 100)


def interval(estimate: Bounds | None) -> str:
    """The 95 % interval alone: "11.9-12.8" with an en dash; unknown where the launches leave it open."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return UNKNOWN
    return f"{number(estimate.low)}{_RANGE}{number(estimate.high)}"


def estimate_text(estimate: Bounds | None) -> str:
    """A figure with its interval when there is one: "12.3 (11.9-12.8)"."""
    if estimate is None:
        return UNKNOWN
    bounds = interval(estimate)
    return number(estimate.value) if bounds == UNKNOWN else f"{number(estimate.value)} ({bounds})"


def duration(seconds: float) -> str:
    """A length of time for people: 0.5 s, 42 s, 1 min 58 s, 2 h 5 min."""
    if not math.isfinite(seconds):
        return _special(seconds) or UNKNOWN
    if seconds < 10:
        return f"{number(seconds).rstrip('0').rstrip('.') if seconds % 1 else round(seconds)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def hold_text(milliseconds: float) -> str:
    """A time that is usually a matter of milliseconds: 8.2 ms, 210 ms, 1.5 s."""
    if milliseconds >= 1000:
        return duration(milliseconds / 1000)
    digits = number(milliseconds)
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits} ms"


def promise_word(promise: Promise | None) -> str:
    """ "yes", "no", "unclear", or a dash where nothing was promised."""
    return UNKNOWN if promise is None else {"met": "yes", "not_met": "no", "unclear": "unclear"}[promise]


def _special(value: float | None) -> str | None:
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return INFINITE if value > 0 else f"-{INFINITE}"
    return None
