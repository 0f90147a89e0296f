"""What a run is said to cost and to tell apart, against the schedule, the comments and a simulation."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.domain.experiment import DatabaseSpec, Experiment
from harness.domain.load import Sitting
from harness.outline import outline
from harness.plan import expand, load_experiment, shipped, shipped_names
from harness.schedule import (
    expected_arrivals,
    expected_duration_s,
    launch_noise_sd,
    requests_per_launch,
    run_duration_s,
)
from harness.schedule.estimate import (
    LAUNCH_OVERHEAD_S,
    RUN_OVERHEAD_S,
    SERVER_OVERHEAD_S,
    SITTING_OVERHEAD_S,
    sampling_sd,
)
from harness.schedule.sittings import sittings
from harness.schedule.staircase import staircase_sitting
from harness.strategies import comparison

STATED = re.compile(r"Takes (?:about|less than) (\d+(?:\.\d+)?|two) (seconds|minutes)\.")


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
    stated_s = (2.0 if found[1] == "two" else float(found[1])) * (60 if found[2] == "minutes" else 1)
    experiment = load_experiment(file)
    expected_s = run_duration_s(
        planned(comparison(experiment) if set(experiment.arms) == {"base", "head"} else experiment, None)
    )
    assert expected_s < stated_s if "less than" in found[0] else expected_s == pytest.approx(stated_s, rel=0.3)


def test_a_server_that_comes_anew_takes_its_time() -> None:
    sittings_ = planned(load_experiment(shipped("experiments") / "expire_on_commit.toml"), 50.0)[-3:]
    other = DatabaseSpec(rows=7)
    moved = [
        replace(own, launches=tuple(replace(o, cell=replace(o.cell, database=other)) for o in own.launches))
        for own in sittings_
    ]
    same = run_duration_s(sittings_)
    assert run_duration_s([moved[0], *sittings_[1:]]) == same + SERVER_OVERHEAD_S
    assert run_duration_s([sittings_[0], moved[1], sittings_[2]]) == same + 2 * SERVER_OVERHEAD_S
    assert run_duration_s(moved) == same


def test_the_quickstart_is_quick_and_compares_three_pools_in_turns() -> None:
    experiment = load_experiment(None)
    planned_whole = outline(experiment)
    assert planned_whole.duration_s < 120
    assert [cell.connection_ceiling for cell in planned_whole.cells] == [1, 8, 20]
    assert planned_whole.why_blocked == ""
    measured = [sitting for sitting in planned_whole.sittings if sitting.purpose == "measure"]
    assert [len(sitting.launches) for sitting in measured] == [3, 3, 3, 3, 3]


def test_an_estimate_adds_load_and_overheads() -> None:
    settings = [
        "load.rate_rps=100",
        "load.warmup_s=0.5",
        "load.measure_s=2",
        "design.segment_s=1",
        "design.guard_s=0.1",
        "design.launches=3",
    ]
    run = planned(load_experiment(None, settings), None)
    load_s = 3 * 3 * (0.5 + 2.0 + 3 * 0.1)  # three turns a launch, each with its pause
    overhead_s = RUN_OVERHEAD_S + 3 * SITTING_OVERHEAD_S + 9 * LAUNCH_OVERHEAD_S
    assert run_duration_s(run) == pytest.approx(load_s + overhead_s)
    assert expected_arrivals(run) == 3 * 3 * 250
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
    experiment = load_experiment(None)
    per_launch = 240 * (experiment.load.warmup_s + experiment.load.measure_s)
    assert expected_arrivals(planned(experiment, 240.0)) == 3 * experiment.design.launches * per_launch


PLAN = ["load.rate_rps=100", "load.measure_s=10"]


def detectable(*settings: str) -> dict[str, float | None]:
    return dict(outline(load_experiment(None, [*PLAN, *settings])).detectable)


def test_one_launch_or_one_cell_tells_nothing_apart() -> None:
    assert detectable("design.launches=1") == {"p50": None, "p95": None}
    assert detectable("pool.pool_size=5") == {"p50": None, "p95": None}


def test_more_launches_tell_smaller_differences_apart() -> None:
    by_launches = [detectable(f"design.launches={n}")["p95"] or math.nan for n in (2, 3, 5, 8)]
    assert by_launches == sorted(by_launches, reverse=True)


def test_more_requests_leave_less_to_chance() -> None:
    noise = [launch_noise_sd("blocked", requests) for requests in (100.0, 1000.0, 1e5, 1e7, None)]
    assert noise == sorted(noise, reverse=True)
    assert noise[-2] == pytest.approx(noise[-1], rel=0.01)


@pytest.mark.parametrize("kind", ["blocked", "interleaved"])
def test_the_median_is_told_apart_sooner_than_the_tail(kind: str) -> None:
    found = detectable(f"design.kind={kind}")
    assert (found["p50"] or math.nan) < (found["p95"] or math.nan)


def test_the_noise_is_that_of_the_design_which_is_really_run() -> None:
    """Left to itself a design takes turns, unless something keeps it from them."""
    turns, blocked = (detectable(f"design.kind={kind}") for kind in ("interleaved", "blocked"))
    assert turns != blocked
    assert detectable("design.kind=auto") == turns
    assert detectable("design.kind=auto", "pool.pool_recycle_s=10") == blocked


def test_few_requests_scatter_as_an_exponential_tail_does() -> None:
    rng = np.random.default_rng(3)
    samples = np.quantile(rng.exponential(size=(4000, 500)), 0.95, axis=1, method="inverted_cdf")
    assert sampling_sd("p95", 500) == pytest.approx(float(np.log(samples).std()), rel=0.1)
