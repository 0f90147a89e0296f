from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from harness.analyse.compare import Comparison, compare
from harness.analyse.recommend import Candidate, recommend

NOISE = ((0.01, -0.02, 0.01), (-0.01, 0.0, 0.01), (0.02, -0.01, -0.01), (0.0, 0.015, -0.015), (-0.02, 0.01, 0.01))


def compared(latencies_ms: Mapping[str, float], *, noise: float = 1.0) -> Comparison:
    return compare(
        {
            cell: {block: math.log(ms) + noise * NOISE[place][block] for block in range(3)}
            for place, (cell, ms) in enumerate(latencies_ms.items())
        }
    )


def candidates(sizes: Mapping[str, float], *, without: tuple[str, ...] = ()) -> list[Candidate]:
    return [Candidate(cell_id=cell, size=size, eligible=cell not in without) for cell, size in sizes.items()]


SIZES = {"one": 1, "four": 4, "twenty": 20, "any": math.inf}
LATENCIES = {"one": 300.0, "four": 21.0, "twenty": 20.0, "any": 20.5}


def test_the_smallest_size_shown_to_be_good_enough_is_recommended() -> None:
    found = recommend(candidates(SIZES), compared(LATENCIES), 0.25)
    assert (found.recommended, found.best, found.launches_to_decide) == ("four", "twenty", None)
    assert 0.05 < (found.slowdown_at_most or 0) < 0.25
    assert [other.cell_id for other in found.larger] == ["twenty", "any"]
    assert all(0 < (other.gain_at_most or 0) < 0.25 for other in found.larger)
    (smaller,) = found.not_larger
    assert (smaller.cell_id, smaller.told_apart, smaller.eligible) == ("one", True, True)
    assert (smaller.slowdown_at_most or 0) > 10


def test_a_tie_is_no_proof() -> None:
    latencies = {"four": 20.5, "twenty": 20.0}
    noisy = compared(latencies, noise=8)
    assert not noisy.pair("four", "twenty").told_apart
    found = recommend(candidates({"four": 4, "twenty": 20}), noisy, 0.25)
    assert (found.recommended, found.best) == (None, "twenty")
    assert found.slowdown_at_most is None
    assert found.launches_to_decide is not None
    assert found.launches_to_decide > 3
    assert [other.cell_id for other in found.not_larger] == ["four"]


def test_a_margin_that_is_wide_enough_lets_a_smaller_size_win() -> None:
    latencies = {"one": 30.0, "four": 20.0}
    sizes = candidates({"one": 1, "four": 4})
    assert recommend(sizes, compared(latencies), 0.25).recommended == "four"
    assert recommend(sizes, compared(latencies), 1.0).recommended == "one"


def test_a_failing_or_saturated_cell_is_never_recommended_and_still_compared_against() -> None:
    without_four = recommend(candidates(SIZES, without=("four",)), compared(LATENCIES), 0.25)
    assert without_four.recommended == "twenty"
    assert [(other.cell_id, other.eligible) for other in without_four.not_larger] == [("one", True), ("four", False)]
    # the fast one may not be run with, but what it shows to be possible counts
    fast = {"one": 10.0, "four": 20.0, "twenty": 20.0}
    sizes = {"one": 1, "four": 4, "twenty": 20}
    found = recommend(candidates(sizes, without=("one",)), compared(fast), 0.25)
    assert found.recommended is None
    assert found.best in {"four", "twenty"}


def test_a_cell_without_a_figure_is_not_eligible_and_does_not_stand_in_the_way() -> None:
    known = {cell: ms for cell, ms in LATENCIES.items() if cell != "one"}
    found = recommend(candidates(SIZES), compared(known), 0.25)
    assert found.recommended == "four"
    (smaller,) = found.not_larger
    assert (smaller.eligible, smaller.slowdown_at_most, smaller.told_apart) == (False, None, False)


def test_of_equal_sizes_the_faster_one_is_recommended() -> None:
    found = recommend(candidates({"a": 5, "b": 5}), compared({"a": 21.0, "b": 20.0}), 0.25)
    assert found.recommended == "b"
    assert [other.cell_id for other in found.not_larger] == ["a"]


@pytest.mark.parametrize("launches", [1, 3])
def test_a_cell_alone_is_named_and_not_recommended(launches: int) -> None:
    alone = compare({"only": {block: 3.0 + block / 100 for block in range(launches)}})
    found = recommend(candidates({"only": 5}), alone, 0.25)
    assert (found.recommended, found.best, found.launches_to_decide) == (None, "only", None)


def test_one_launch_recommends_nothing() -> None:
    once = compare({"four": {0: 3.0}, "twenty": {0: 3.0}})
    found = recommend(candidates({"four": 4, "twenty": 20}), once, 0.25)
    assert (found.recommended, found.best, found.launches_to_decide) == (None, "four", None)


def test_nothing_eligible_names_nothing() -> None:
    found = recommend(candidates(SIZES, without=tuple(SIZES)), compared(LATENCIES), 0.25)
    assert (found.recommended, found.best) == (None, None)
    assert len(found.not_larger) == 4
    assert recommend([], compare({}), 0.25).best is None
