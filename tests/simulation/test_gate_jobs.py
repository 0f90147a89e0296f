"""How often a gate is wrong: jobs drawn from a law whose truth is known."""

from __future__ import annotations

import math

from jobs import CELLS, lognormal, outcome, run_job
from lengths import length

from harness.analyse.gate import judge, smallest_visible_before
from harness.domain.experiment import Gate

RATIO_8 = 0.08 / math.sqrt(2)
"""a launch's noise where the log ratio of two scatters by 8 %"""


def verdicts(*, jobs: int, noise: float, effect: float, head_noise: float | None = None, most: int = 11) -> list[str]:
    draws = (lognormal(seed, noise=noise, effect=effect, head_noise=head_noise) for seed in range(jobs))
    return [run_job(draw, most=most)[0].verdict for draw in draws]


def test_jobs_without_a_difference_fail_once_in_a_hundred_at_most() -> None:
    # binomial: of 400 jobs with a true rate of 1 % more than 10 fail in 0.3 % of cases, of 100 more than 4
    found = verdicts(jobs=length(400, 100), noise=RATIO_8, effect=0.0)
    assert found.count("regressed") <= length(10, 4)


def test_a_head_that_is_noisier_than_the_base_is_not_taken_for_a_slower_one() -> None:
    found = verdicts(jobs=length(400, 100), noise=0.05, effect=0.0, head_noise=0.15)
    assert found.count("regressed") <= length(10, 4)


def test_ten_percent_more_is_found_by_nine_of_ten_jobs_where_the_noise_allows_it() -> None:
    # of 200 jobs with a true power of 90 % fewer than 168 find it in 0.3 % of cases, of 60 fewer than 47
    found = verdicts(jobs=length(200, 60), noise=RATIO_8, effect=0.10)
    assert found.count("regressed") >= length(168, 47)


def test_ten_percent_less_is_no_regression() -> None:
    found = verdicts(jobs=length(100, 40), noise=RATIO_8, effect=-0.10)
    assert found.count("regressed") == 0
    assert found.count("improved") >= length(30, 10)


def test_what_is_said_to_be_visible_is_found_by_nine_of_ten_such_jobs() -> None:
    noise, blocks = 0.10, 9
    visible = smallest_visible_before(Gate(), noise, blocks)
    assert visible is not None
    # the job decides how many launches it takes, so the stage is held to them from both sides
    found = 0
    for seed in range(length(200, 60)):
        draw = lognormal(seed, noise=noise, effect=visible)
        outcomes = [outcome(arm, block, draw(arm, block)) for block in range(1, 2 * blocks + 1) for arm in CELLS]
        found += judge(Gate(margin="1%"), outcomes, most=blocks).verdict == "regressed"
    assert length(168, 47) <= found <= length(194, 60)
