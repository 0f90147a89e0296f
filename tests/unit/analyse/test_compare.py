from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.compare import Comparison, compare
from harness.analyse.power import smallest_findable
from harness.analyse.spread import Prior

Logs = dict[str, dict[int, float]]


def run_of(
    cells: int, launches: int, *, sd: float = 0.1, slower: dict[int, float] | None = None, seed: int = 3
) -> Logs:
    """Cells "c0", "c1", ... around 20 ms, with drift; `slower` maps a place to a share."""
    draws = np.random.default_rng(seed)
    y = 3 + draws.normal(scale=0.2, size=(launches, 1)) + draws.normal(scale=sd, size=(launches, cells))
    for place, share in (slower or {}).items():
        y[:, place] += math.log1p(share)
    return {f"c{cell}": {block: float(y[block, cell]) for block in range(launches)} for cell in range(cells)}


@st.composite
def runs(draw: st.DrawFn) -> Logs:
    """Two to five cells in up to five blocks, any launch of which may be missing."""
    log = st.floats(min_value=-5, max_value=15)
    blocks = st.dictionaries(st.integers(0, 4), log, max_size=5)
    return draw(st.dictionaries(st.sampled_from("abcde"), blocks, min_size=2, max_size=5))


def claims(compared: Comparison) -> dict[tuple[str, str], tuple[float | None, ...]]:
    found = {}
    for first in compared.cells:
        for second in compared.cells:
            pair = compared.pair(first, second)
            found[first, second] = (pair.ratio, pair.low, pair.high, compared.slowdown_at_most(second, than=first))
    return found


def same(one: tuple[float | None, ...], other: tuple[float | None, ...]) -> bool:
    return all(
        (a is None) == (b is None) and (a is None or b is None or a == pytest.approx(b, rel=1e-4, nan_ok=True))
        for a, b in zip(one, other, strict=True)
    )


def test_without_a_missing_launch_the_ratio_is_the_mean_of_the_paired_ones() -> None:
    logs = run_of(4, 3)
    paired = np.mean([logs["c2"][block] - logs["c1"][block] for block in range(3)])
    assert compare(logs).pair("c1", "c2").ratio == pytest.approx(math.exp(paired))


def test_a_cell_twice_as_slow_is_told_apart_and_equal_ones_are_not() -> None:
    compared = compare(run_of(6, 3, slower={5: 1.0}))
    assert compared.not_told_apart("c5") == frozenset()
    assert compared.not_told_apart("c0") == {"c1", "c2", "c3", "c4"}
    assert compared.smallest_visible == pytest.approx(0.3, abs=0.15)


def test_ties_are_pairs_and_not_groups() -> None:
    compared = compare(run_of(3, 5, sd=0.02, slower={1: 0.03, 2: 0.06}))
    assert compared.pair("c0", "c2").told_apart
    assert "c1" in compared.not_told_apart("c0") & compared.not_told_apart("c2")


@given(runs())
def test_nothing_crashes_and_no_bound_is_infinite(logs: Logs) -> None:
    compared = compare(logs, Prior(sd=0.1, freedom=5))
    for cell in compared.cells:
        for bounds in (compared.own(cell), compared.one_sided(cell)):
            assert (bounds.low is None) == (bounds.high is None)
            assert bounds.low is None or bounds.low <= bounds.value <= (bounds.high or 0) < math.inf
    for (first, second), (ratio, low, high, bound) in claims(compared).items():
        pair = compared.pair(first, second)
        assert low is None or (high is not None and 0 < low <= (ratio or 0) <= high < math.inf)
        assert pair.told_apart == (low is not None and high is not None and not low <= 1 <= high)
        assert bound is None or math.isfinite(bound)
    assert compared.launches_until(compared.cells, 0.25) is None or compared.cells


@given(runs(), st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_what_a_whole_block_shares_makes_no_difference(logs: Logs, drift: list[float]) -> None:
    shifted = {cell: {block: log + drift[block] for block, log in own.items()} for cell, own in logs.items()}
    before, after = claims(compare(logs)), claims(compare(shifted))
    for pair, claimed in before.items():
        assert same(claimed, after[pair])


@given(runs(), st.permutations("abcde"))
def test_neither_names_nor_their_order_matter(logs: Logs, names: list[str]) -> None:
    renamed = dict(zip("abcde", names, strict=True))
    other = {renamed[cell]: logs[cell] for cell in reversed(logs)}
    before, after = claims(compare(logs)), claims(compare(other))
    for (first, second), claimed in before.items():
        assert same(claimed, after[renamed[first], renamed[second]])


@given(runs())
def test_a_pair_the_other_way_round_says_the_same(logs: Logs) -> None:
    compared = compare(logs)
    for first in compared.cells:
        for second in compared.cells:
            pair, back = compared.pair(first, second), compared.pair(second, first)
            assert pair.told_apart == back.told_apart
            assert math.isnan(pair.ratio) == math.isnan(back.ratio)
            assert math.isnan(pair.ratio) or pair.ratio * back.ratio == pytest.approx(1)
            assert (pair.low or 0) * (back.high or 0) == pytest.approx(0 if pair.low is None else 1)


@pytest.mark.parametrize("prior", [None, Prior(sd=0.01, freedom=50)])
def test_one_launch_tells_nothing_apart(prior: Prior | None) -> None:
    compared = compare({"a": {0: 1.0}, "b": {0: 9.0}, "c": {0: 2.0}}, prior)
    assert compared.not_told_apart("a") == {"b", "c"}
    assert (compared.pair("a", "b").low, compared.own("a").low, compared.smallest_visible) == (None, None, None)
    assert compared.slowdown_at_most("a", than="b") is None
    assert compared.launches_until(["a"], 0.25) is None


def test_a_cell_with_one_launch_of_several_is_not_judged_and_does_not_spoil_the_others() -> None:
    logs = run_of(4, 3, slower={2: 1.0})
    logs["c3"] = {1: logs["c3"][1] + 5}
    compared = compare(logs)
    assert compared.not_told_apart("c3") == {"c0", "c1", "c2"}
    assert compared.own("c3").low is None
    assert compared.pair("c0", "c2").told_apart


def test_cells_that_no_launch_connects_have_no_ratio() -> None:
    pair = compare({"a": {0: 1.0, 1: 1.1}, "b": {2: 3.0, 3: 3.1}}).pair("a", "b")
    assert math.isnan(pair.ratio)
    assert (pair.low, pair.told_apart) == (None, False)


def test_launches_that_came_out_alike_by_chance_prove_nothing() -> None:
    logs = {"a": {0: 1.0, 1: 1.0, 2: 1.0}, "b": {0: 1.001, 1: 1.001, 2: 1.001}}
    assert not compare(logs).pair("a", "b").told_apart


def test_a_stalled_launch_leaves_its_cell_unknown_instead_of_a_wild_interval() -> None:
    # seen in a run: 437 ms was the mean of a stalled launch and a normal one, "0.000000 to 5.5e19"
    compared = compare({"stalled": {0: math.log(21_000), 1: math.log(9)}, "fine": {0: math.log(28), 1: math.log(28.1)}})
    assert compared.own("stalled").value == pytest.approx(math.sqrt(21_000 * 9))
    assert (compared.own("stalled").low, compared.own("stalled").high) == (None, None)
    assert compared.pair("fine", "stalled").low is None
    assert compared.slowdown_at_most("fine", than="stalled") is None
    assert compared.smallest_visible is None


def test_the_interval_of_a_cell_holds_for_other_days_as_well() -> None:
    missed = 0
    for seed in range(100):
        compared = compare(run_of(4, 3, seed=seed))
        bounds = [compared.own(cell) for cell in compared.cells]
        missed += any(not (own.low or 0) <= math.exp(3) <= (own.high or math.inf) for own in bounds)
    assert missed <= 7


def test_a_cell_alone_has_the_t_interval_of_its_launches() -> None:
    own = compare({"a": {0: 1.0, 1: 1.2, 2: 1.4}}).own("a")
    half = 4.302653 * 0.2 / math.sqrt(3)
    assert (own.low, own.high) == pytest.approx((math.exp(1.2 - half), math.exp(1.2 + half)))


def test_launches_until_a_bound_is_reached_are_more_than_there_are_and_fewer_the_wider_it_is() -> None:
    compared = compare(run_of(4, 3, sd=0.2))
    best = min(compared.cells, key=lambda cell: compared.own(cell).value)
    tight, wide = (compared.launches_until([best], share) for share in (0.2, 0.4))
    assert tight is not None
    assert wide is not None
    assert 3 < wide < tight <= 100
    assert compared.launches_until(["c0", "c1", "c2", "c3"], 0.4) == wide
    assert compared.launches_until([], 0.25) is None


def test_no_launches_shrink_a_difference_that_is_there() -> None:
    assert compare(run_of(4, 3, slower={3: 2.0})).launches_until(["c3"], 0.25) is None


def test_a_calibration_narrows_what_three_launches_leave_open() -> None:
    logs = run_of(3, 3, sd=0.1)
    without, calibrated = compare(logs), compare(logs, Prior(sd=0.1, freedom=8))
    assert calibrated.prior_freedom > 0
    assert (calibrated.smallest_visible or math.inf) < (without.smallest_visible or math.inf)


def test_a_calibration_that_the_run_contradicts_is_hardly_heard() -> None:
    assert compare(run_of(6, 3, sd=0.3), Prior(sd=0.05, freedom=50)).prior_freedom < 0.01


@pytest.mark.parametrize(("sd", "freedom"), [(0.0, 5), (math.nan, 5), (0.1, 0)])
def test_a_calibration_without_noise_is_refused(sd: float, freedom: float) -> None:
    with pytest.raises(ValueError, match="sd above 0"):
        Prior(sd=sd, freedom=freedom)


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(KeyError):
        compare(run_of(2, 2)).pair("c0", "nowhere")


def test_nothing_to_compare_is_a_comparison_of_nothing() -> None:
    assert compare({}).cells == ()
    assert compare({"a": {}}).smallest_visible is None


def test_more_launches_and_less_noise_find_smaller_differences() -> None:
    found = [smallest_findable(6, launches, sd) for launches, sd in ((3, 0.1), (5, 0.1), (5, 0.05))]
    assert found == sorted(found, reverse=True)
    assert smallest_findable(6, 3, 0.1, 8) < smallest_findable(6, 3, 0.1)
    assert smallest_findable(1, 3, 0.1) is None
    assert smallest_findable(6, 1, 0.1) is None


def test_twenty_cells_are_compared_while_nobody_waits() -> None:
    logs = run_of(20, 5, slower={place: place / 10 for place in range(20)})
    compare(logs)  # imports
    started = time.process_time()
    compared = compare(logs)
    claims(compared)
    assert time.process_time() - started < 0.25  # 0.03 on an idle machine


def test_the_way_to_a_service_is_the_machines_and_moves_all_cells_alike() -> None:
    logs = {"a": {1: 0.0, 2: 0.02, 3: -0.02}, "b": {1: 0.1, 2: 0.09, 3: 0.11}}
    plain = compare(logs)
    alike = compare(logs, leg={"a": 0.2, "b": 0.2})
    assert alike.pair("a", "b") == plain.pair("a", "b")
    assert alike.slowdown_at_most("b", than="a") == plain.slowdown_at_most("b", than="a")
    own, own_plain = alike.own("a"), plain.own("a")
    assert own.low is not None
    assert own_plain.low is not None
    assert math.log(own.low) == pytest.approx(math.log(own_plain.low) - 0.2), "of a figure alone nobody knows"

    more = compare(logs, leg={"a": 0.3, "b": 0.2})
    bound, bound_plain = more.slowdown_at_most("b", than="a"), plain.slowdown_at_most("b", than="a")
    assert bound is not None
    assert bound_plain is not None
    assert math.log1p(bound) == pytest.approx(math.log1p(bound_plain) + 0.1), "what is beyond the other's share counts"
    assert more.slowdown_at_most("a", than="b") == plain.slowdown_at_most("a", than="b")
    assert compare(logs, leg={"a": math.inf, "b": math.inf}).slowdown_at_most("b", than="a") is None


@pytest.mark.parametrize(
    ("a_ms", "b_ms", "leg_ms"), [(19.0, 18.6, 3.7), (3.0, 4.0, 2.9), (40.0, 5.0, 4.0), (7.0, 7.0, 1.0)]
)
def test_a_ratio_holds_however_much_of_the_way_is_real(a_ms: float, b_ms: float, leg_ms: float) -> None:
    """Against every part of the leg between none and all, taken off both figures."""
    noise = {1: 0.0, 2: 0.01, 3: -0.01}
    logs = {
        "a": {block: math.log(a_ms) + drawn for block, drawn in noise.items()},
        "b": {block: math.log(b_ms) - drawn for block, drawn in noise.items()},
    }
    leg = {"a": -math.log1p(-leg_ms / a_ms), "b": -math.log1p(-leg_ms / b_ms)}
    parts = [leg_ms * part / 1000 for part in range(1001)]
    most = max(math.log((b_ms - real) / (a_ms - real)) for real in parts) - math.log(b_ms / a_ms)
    with_leg = compare(logs, leg=leg).slowdown_at_most("b", than="a")
    plain = compare(logs).slowdown_at_most("b", than="a")
    assert with_leg is not None
    assert plain is not None
    assert math.log1p(with_leg) - math.log1p(plain) == pytest.approx(most, abs=1e-9)
