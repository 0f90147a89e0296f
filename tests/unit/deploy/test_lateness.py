"""The relay's own record of how exactly it kept its time."""

from __future__ import annotations

import pytest

from harness.relay.lateness import Lateness


def test_nothing_passed_on_is_not_late() -> None:
    assert (Lateness().quantile_ms(0.5), Lateness().quantile_ms(0.99), Lateness().max_ms) == (0, 0, 0)


def test_quantiles_are_exact_to_a_step() -> None:
    late = Lateness()
    for us in range(1, 1001):
        late.add(us * 1000)
    assert late.quantile_ms(0.5) == pytest.approx(0.5, abs=0.011)
    assert late.quantile_ms(0.99) == pytest.approx(0.99, abs=0.011)
    assert late.quantile_ms(1) == late.max_ms == 1.0


def test_a_quantile_is_never_above_the_largest() -> None:
    late = Lateness()
    late.add(3_000)
    assert late.quantile_ms(0.5) == late.max_ms == 0.003


def test_a_long_stall_is_kept_as_it_was() -> None:
    late = Lateness()
    for _ in range(9):
        late.add(1000)
    late.add(700_000_000)
    assert late.max_ms == 700
    assert late.quantile_ms(0.9) == 0.01
    assert late.quantile_ms(0.99) == pytest.approx(20, abs=0.02)
