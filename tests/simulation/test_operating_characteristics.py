"""What comparing and recommending promise, on simulated launches: how often they claim what is not so, or find what is.

The simulation draws whole runs without a missing launch, and works out all of them at once: means, residuals, their
variances. It shares with `compare` how variances are weighed and the critical values, and one test holds the two
against each other run by run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from harness.analyse.arrays import Floats
from harness.analyse.compare import compare
from harness.analyse.critical import against_one, all_pairs, each
from harness.analyse.power import smallest_findable
from harness.analyse.recommend import Candidate, recommend
from harness.analyse.spread import Prior, weigh

DRIFT = 0.20
MARGIN = 0.25
SLOWDOWNS = (0.60, 0.25, 0.05, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Runs, by run and cell, or by run, first and second cell."""

    mean: Floats
    difference: Floats
    all_pairs_half: Floats
    against_best_half: Floats

    @property
    def told_apart(self) -> np.ndarray:
        return np.abs(self.difference) > self.all_pairs_half


def draw(runs: int, launches: int, sds: Sequence[float], effects: Sequence[float] | float = 0.0) -> Floats:
    """Runs x launches x cells."""
    draws = np.random.default_rng(len(sds) * 1000 + launches)
    drift = draws.normal(scale=DRIFT, size=(runs, launches, 1))
    return drift + effects + draws.normal(size=(runs, launches, len(sds))) * np.asarray(sds)


def judge(y: Floats, prior: Prior | None = None) -> Judged:
    _, launches, cells = y.shape
    mean = y.mean(axis=1)
    residual = y - mean[:, None, :] - y.mean(axis=2, keepdims=True) + y.mean(axis=(1, 2))[:, None, None]
    squares = np.square(residual).sum(axis=1)
    own_freedom, freedom = (launches - 1) * (1 - 1 / cells), (launches - 1) * (cells - 1)
    spread = weigh(squares / own_freedom, own_freedom, squares.sum(axis=1) / freedom, freedom, prior)
    one, other = spread.cells[:, :, None], spread.cells[:, None, :]
    f_one, f_other = spread.cells_freedom[:, :, None], spread.cells_freedom[:, None, :]
    shared = (one + other) ** 2 / (one**2 / f_one + other**2 / f_other)
    shared = np.minimum(shared, spread.run_freedom[:, None, None])
    shared[:, np.arange(cells), np.arange(cells)] = np.nan
    error = np.sqrt((one + other) / launches)
    return Judged(
        mean=mean,
        difference=mean[:, None, :] - mean[:, :, None],
        all_pairs_half=each(all_pairs, cells, shared) * error,
        against_best_half=each(against_one, cells, shared) * error,
    )


def noises(cells: int, noise: float, noisy: bool) -> list[float]:
    """A quarter of the cells three times as noisy as the others, or none."""
    loud = max(1, round(cells / 4)) if noisy else 0
    return [3 * noise] * loud + [noise] * (cells - loud)


def as_logs(y: Floats) -> dict[str, dict[int, float]]:
    return {f"cell{cell}": dict(enumerate(map(float, y[:, cell]))) for cell in range(y.shape[1])}


@pytest.mark.parametrize("prior", [None, Prior(sd=0.1, freedom=5)])
def test_the_simulation_judges_as_the_comparison_does(prior: Prior | None) -> None:
    runs = draw(6, 3, noises(5, 0.1, noisy=True))
    for y in runs:
        judged, compared = judge(y[None], prior), compare(as_logs(y), prior)
        for name in ("difference", "all_pairs_half", "against_best_half"):
            assert getattr(judged, name)[0] == pytest.approx(getattr(compared, name), rel=5e-3, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("launches", [3, 5])
@pytest.mark.parametrize("noisy", [False, True], ids=["alike", "a quarter noisy"])
@pytest.mark.parametrize("cells", [3, 6, 12])
def test_equal_cells_yield_any_difference_in_at_most_7_percent(cells: int, noisy: bool, launches: int) -> None:
    found = judge(draw(4000, launches, noises(cells, 0.1, noisy))).told_apart.any(axis=(1, 2))
    assert found.mean() <= 0.07


@pytest.mark.parametrize("launches", [2, 3, 5])
def test_a_calibration_that_holds_keeps_that_promise(launches: int) -> None:
    prior = Prior(sd=0.1, freedom=8)
    found = judge(draw(4000, launches, noises(6, 0.1, noisy=False)), prior).told_apart.any(axis=(1, 2))
    assert found.mean() <= 0.05


@pytest.mark.parametrize("launches", [3, 5])
def test_a_calibration_on_a_quieter_hour_is_overruled(launches: int) -> None:
    prior = Prior(sd=0.05, freedom=8)
    found = judge(draw(4000, launches, noises(6, 0.1, noisy=False)), prior).told_apart.any(axis=(1, 2))
    assert found.mean() <= 0.085


@pytest.mark.parametrize(("prior", "least"), [(None, 0.55), (Prior(sd=0.1, freedom=8), 0.80)])
def test_one_cell_in_six_that_is_30_percent_slower_is_told_apart_from_the_fastest(
    prior: Prior | None, least: float
) -> None:
    judged = judge(draw(4000, 3, [0.1] * 6, [0, 0, 0, 0, 0, math.log(1.3)]), prior)
    fastest = judged.mean[:, :5].argmin(axis=1)
    assert judged.told_apart[np.arange(4000), fastest, 5].mean() >= least


@pytest.mark.parametrize("noisy", [False, True], ids=["alike", "a quarter noisy"])
def test_intervals_of_all_pairs_hold_at_once(noisy: bool) -> None:
    effects = np.log1p(SLOWDOWNS)
    judged = judge(draw(4000, 3, noises(5, 0.1, noisy), effects))
    missed = np.abs(judged.difference - (effects[None, :] - effects[:, None])) > judged.all_pairs_half
    assert 1 - missed.any(axis=(1, 2)).mean() >= 0.93


@pytest.mark.parametrize(
    ("noise", "prior", "no_answer"),
    [
        (0.1, None, 0.30),
        (0.1, Prior(sd=0.1, freedom=8), 0.10),
        (0.2, None, 0.85),
        (0.2, Prior(sd=0.2, freedom=8), 0.80),
    ],
)
@pytest.mark.parametrize("slowdowns", [SLOWDOWNS, (0.26, 0.26, 0.26, 0.26, 0.0)], ids=["steps", "all just too slow"])
def test_a_size_that_is_too_slow_is_recommended_in_at_most_5_percent(
    slowdowns: Sequence[float], noise: float, prior: Prior | None, no_answer: float
) -> None:
    judged = judge(draw(4000, 3, [noise] * 5, np.log1p(slowdowns)), prior)
    # sizes grow with their place; a cell's slowdown against each other one stands in its column
    good_enough = np.nanmax(judged.difference + judged.against_best_half, axis=1) <= math.log1p(MARGIN)
    answered = good_enough.any(axis=1)
    wrong = np.asarray(slowdowns)[good_enough.argmax(axis=1)] > MARGIN
    assert (answered & wrong).mean() <= 0.05
    assert 1 - answered.mean() <= no_answer


@pytest.mark.parametrize("slowdowns", [SLOWDOWNS, (9.0, 0.04, 0.0)], ids=["steps", "two good ones"])
def test_what_larger_sizes_buy_at_most_holds_for_all_of_them_at_once(slowdowns: Sequence[float]) -> None:
    effects, runs = np.log1p(slowdowns), np.arange(4000)
    judged = judge(draw(4000, 3, [0.1] * len(slowdowns), effects))
    bound = judged.difference + judged.against_best_half
    good_enough = np.nanmax(bound, axis=1) <= math.log1p(MARGIN)
    picked = good_enough.argmax(axis=1)
    larger = np.arange(len(slowdowns))[None, :] > picked[:, None]
    broken = larger & (bound[runs, :, picked] < effects[picked][:, None] - effects[None, :])
    assert (broken.any(axis=1) & good_enough.any(axis=1)).mean() <= 0.05


def test_recommendations_are_those_of_the_simulation() -> None:
    runs = draw(12, 3, [0.1] * 5, np.log1p(SLOWDOWNS))
    judged = judge(runs)
    within = np.nanmax(judged.difference + judged.against_best_half, axis=1) <= math.log1p(MARGIN)
    for y, good_enough in zip(runs, within, strict=True):
        candidates = [Candidate(cell_id=f"cell{place}", size=float(place), eligible=True) for place in range(5)]
        expected = f"cell{good_enough.argmax()}" if good_enough.any() else None
        assert recommend(candidates, compare(as_logs(y)), MARGIN).recommended == expected


@pytest.mark.parametrize(("cells", "launches", "freedom"), [(2, 5, 0), (6, 3, 0), (6, 3, 8), (12, 5, 0)])
def test_what_a_plan_promises_to_find_is_found_4_times_in_5(cells: int, launches: int, freedom: float) -> None:
    share = smallest_findable(cells, launches, 0.1, freedom)
    assert share is not None
    effects = [math.log1p(share)] + [0.0] * (cells - 1)
    prior = Prior(sd=0.1, freedom=freedom) if freedom else None
    judged = judge(draw(4000, launches, [0.1] * cells, effects), prior)
    assert judged.told_apart[:, 0, 1].mean() == pytest.approx(0.80, abs=0.03)
