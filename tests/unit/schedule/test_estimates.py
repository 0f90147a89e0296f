"""What a run is said to cost and to tell apart, against the schedule, the comments and a simulation."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.domain.experiment import Design, Experiment
from harness.domain.load import Sitting
from harness.plan import expand, load_experiment, shipped, shipped_names
from harness.schedule import (
    detectable_difference,
    expected_arrivals,
    expected_duration_s,
    requests_per_launch,
    run_duration_s,
    sittings,
    staircase_sitting,
)
from harness.schedule.estimate import LAUNCH_OVERHEAD_S, RUN_OVERHEAD_S, SITTING_OVERHEAD_S, sampling_sd

STATED = re.compile(r"Takes about (\d+(?:\.\d+)?) (seconds|minutes)\.")


def planned(experiment: Experiment, rate_rps: float | None) -> tuple[Sitting, ...]:
    cells = expand(experiment)
    first = staircase_sitting(experiment, cells)
    return (*([first] if first else []), *sittings(experiment, cells, rate_rps))


def shipped_files() -> list[Path]:
    return [shipped("experiments") / f"{name}.toml" for name in shipped_names("experiments")]


@pytest.mark.parametrize("file", shipped_files(), ids=lambda file: file.stem)
def test_a_shipped_experiment_opens_with_its_question_and_its_duration(file: Path) -> None:
    comment = "".join(line for line in file.read_text().splitlines(keepends=True)[:4] if line.startswith("#"))
    assert "?" in comment
    found = STATED.search(comment)
    assert found, comment
    stated_s = float(found[1]) * (60 if found[2] == "minutes" else 1)
    assert run_duration_s(planned(load_experiment(file), None)) == pytest.approx(stated_s, rel=0.3)


def test_the_quickstart_is_quick_and_compares_three_drivers_with_two_pools() -> None:
    experiment = load_experiment(None)
    assert run_duration_s(planned(experiment, None)) < 100
    assert len(expand(experiment)) == 6
    assert (experiment.design.launches, experiment.design.kind) == (3, "interleaved")


def test_an_estimate_adds_load_and_overheads() -> None:
    run = planned(load_experiment(None, ["load.rate_rps=100"]), None)
    load_s = 3 * 6 * (0.5 + 2.0 + 3 * 0.1)  # three turns a launch, each with its pause
    overhead_s = RUN_OVERHEAD_S + 3 * SITTING_OVERHEAD_S + 18 * LAUNCH_OVERHEAD_S
    assert run_duration_s(run) == pytest.approx(load_s + overhead_s)
    assert expected_arrivals(run) == 3 * 6 * 250
    assert requests_per_launch(run) == pytest.approx(200)


def test_a_staircase_is_expected_to_end_before_its_top() -> None:
    experiment = load_experiment(None)
    sitting = staircase_sitting(experiment, expand(experiment))
    assert sitting is not None
    assert 0 < expected_duration_s(sitting) < sitting.duration_s / 2


@pytest.mark.parametrize("overrides", [[], ["load.model=closed", "load.users=4"]])
def test_what_is_not_known_is_not_guessed(overrides: list[str]) -> None:
    run = planned(load_experiment(None, overrides), None)
    assert requests_per_launch(run) is None
    assert expected_arrivals(run) == (0 if overrides else None)
    assert expected_arrivals(planned(load_experiment(None), 240.0)) == 3 * 6 * 600


def design(**values: Any) -> Experiment:
    return Experiment(schema_version=1, name="x", design=Design(**values))


def test_one_launch_tells_nothing_apart() -> None:
    assert detectable_difference(design(launches=1), 1000.0) is None


def test_more_launches_and_more_requests_tell_smaller_differences_apart() -> None:
    by_launches = [detectable_difference(design(launches=n), 1000.0) or math.nan for n in range(2, 12)]
    assert by_launches == sorted(by_launches, reverse=True)
    by_requests = [detectable_difference(design(launches=5), n) or math.nan for n in (100.0, 1000.0, 1e5, 1e7, None)]
    assert by_requests == sorted(by_requests, reverse=True)
    assert by_requests[-2] == pytest.approx(by_requests[-1], rel=0.01)


@pytest.mark.parametrize("kind", ["blocked", "interleaved"])
def test_the_median_is_told_apart_sooner_than_the_tail(kind: str) -> None:
    median = detectable_difference(design(kind=kind), None, "p50")
    tail = detectable_difference(design(kind=kind), None, "p95")
    assert median is not None
    assert tail is not None
    assert median < tail


@pytest.mark.parametrize(("launches", "sd"), [(3, 0.10), (5, 0.10), (8, 0.10)])
def test_a_difference_of_that_size_is_found_four_times_in_five(launches: int, sd: float) -> None:
    shift = math.log1p(detectable_difference(design(kind="interleaved", launches=launches), None) or math.nan)
    draws = np.random.default_rng(7).normal(shift, sd, size=(20_000, launches))
    found = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.80, abs=0.015)  # five standard errors


def test_the_noise_is_that_of_the_design_which_is_really_run() -> None:
    """Left to itself a design takes turns, unless something keeps it from them."""
    turns, blocked = (detectable_difference(design(kind=kind), None) for kind in ("interleaved", "blocked"))
    experiment = design(kind="auto")
    cells = expand(load_experiment(None))
    recycled = [replace(cell, pool=replace(cell.pool, pool_recycle_s=10)) for cell in cells]
    assert detectable_difference(experiment, None, cells=cells) == turns
    assert detectable_difference(experiment, None, cells=recycled) == blocked != turns


def test_few_requests_scatter_as_an_exponential_tail_does() -> None:
    rng = np.random.default_rng(3)
    samples = np.quantile(rng.exponential(size=(4000, 500)), 0.95, axis=1, method="inverted_cdf")
    assert sampling_sd("p95", 500) == pytest.approx(float(np.log(samples).std()), rel=0.1)
