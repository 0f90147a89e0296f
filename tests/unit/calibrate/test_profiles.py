"""A machine profile holds for the machine it was measured on, and is used by plan and certificates."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import plan, profiles, schedule
from harness.calibrate import read_observer, sentences
from harness.calibrate.noise import LaunchLatencies, noise_of
from harness.domain.profile import PROFILE_SCHEMA_VERSION, MachineProfile, Noise, Rung
from harness.errors import MeasurementError, UsageError
from harness.outline import outline
from harness.profiles import load_profile, profile_path, save_profile, this_machine

EXPERIMENT = """
schema_version = 1
name = "e"
[matrix]
pool.pool_size = [1, 2]
[load]
rate_rps = {rate_rps}
measure_s = 10.0
[design]
kind = "{kind}"
launches = 5
"""


def rung(rate_rps: float, *, kept_up: bool = True) -> Rung:
    return Rung(rate_rps=rate_rps, offered=100, served=100, dropped=0, lag_p50_ms=0.1, lag_p99_ms=1.0, kept_up=kept_up)


def profile(**changes: object) -> MachineProfile:
    noise = tuple(
        Noise(percentile=name, within_sd=0.02, launch_sd=0.06, ratio_sd=0.05) for name in ("p50", "p95", "p99")
    )
    made = MachineProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        measured_utc="2026-01-02T03:04:05Z",
        poolbench_version="0",
        machine=this_machine(),
        generator=(rung(1000), rung(2000), rung(4000, kept_up=False)),
        noise=noise,
        launches=5,
        requests_per_launch=1e9,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_there_is_none_until_the_machine_is_calibrated() -> None:
    assert load_profile() is None


def test_what_is_saved_is_loaded(state: Path) -> None:
    made = profile()
    path = save_profile(made)
    assert path.parent == state / "poolbench"
    assert load_profile() == made


def test_another_machine_has_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save_profile(profile())
    monkeypatch.setattr(profiles, "this_machine", lambda: {**this_machine(), "machine": {"cpu": "another"}})
    assert load_profile() is None


def test_a_profile_copied_from_another_machine_is_refused() -> None:
    foreign = profile(machine={**this_machine(), "python": "CPython 2.7"})
    save_profile(foreign).rename(profile_path(this_machine()))
    with pytest.raises(UsageError, match=r"measured on another machine: python differ"):
        load_profile()


@pytest.mark.parametrize(
    ("content", "said"), [("{", "damaged"), ("{}", "damaged"), ('{"schema_version": 99}', "format 99")]
)
def test_a_profile_that_cannot_be_used_says_so(content: str, said: str) -> None:
    path = save_profile(profile())
    path.write_text(content)
    with pytest.raises(UsageError, match=said) as raised:
        load_profile()
    assert "poolbench calibrate" in raised.value.next_step


def test_the_ceiling_is_the_highest_rate_it_kept_up_with() -> None:
    assert profile().generator_ceiling_rps == 2000
    assert profile(generator=(rung(1000, kept_up=False),)).generator_ceiling_rps is None


def test_plan_uses_the_noise_of_this_machine() -> None:
    experiment = plan.parse_experiment(EXPERIMENT.format(rate_rps=100, kind="interleaved"), source="e")
    typical, calibrated = outline(experiment), outline(experiment, profile())
    assert calibrated.detectable["p95"] < typical.detectable["p95"]  # type: ignore[operator]
    assert "typical noise assumed" in typical.notes[0]
    assert "poolbench calibrate" in typical.notes[-1]
    assert "noise calibrated 2026-01-02" in calibrated.notes[0]
    assert not any("poolbench calibrate" in note for note in calibrated.notes)


@pytest.mark.parametrize("kind", ["interleaved", "blocked"])
def test_the_difference_grows_with_the_noise(kind: str) -> None:
    experiment = plan.parse_experiment(EXPERIMENT.format(rate_rps=100, kind=kind), source="e")
    once = outline(experiment, profile(requests_per_launch=1000.0)).detectable["p95"]  # as many as this plan has
    noisier = tuple(replace(own, launch_sd=own.launch_sd * 2, ratio_sd=own.ratio_sd * 2) for own in profile().noise)
    twice = outline(experiment, profile(noise=noisier, requests_per_launch=1000.0)).detectable["p95"]
    assert once is not None
    assert twice is not None
    assert math.log1p(twice) == pytest.approx(2 * math.log1p(once), rel=0.02)


def test_the_noise_of_a_launch_is_that_of_the_design() -> None:
    """Two launches measured in turns share the drift of the minutes; one at a time they do not."""
    made = profile(requests_per_launch=1000.0)
    assert schedule.launch_noise_sd("interleaved", 1000.0, "p95", made) == pytest.approx(0.05 / math.sqrt(2))
    assert schedule.launch_noise_sd("blocked", 1000.0, "p95", made) == pytest.approx(0.06)


def test_chance_for_want_of_requests_is_not_counted_twice() -> None:
    """What calibration measured holds for as many requests as it had; only fewer of them add to the noise."""
    measured = profile(requests_per_launch=1000.0)
    fewer, as_many, more, unknown = (
        schedule.launch_noise_sd("interleaved", requests, "p95", measured) for requests in (100.0, 1e3, 1e6, None)
    )
    assert as_many == more == unknown
    assert fewer > as_many


def test_a_calibration_of_more_launches_finds_smaller_differences() -> None:
    experiment = plan.parse_experiment(EXPERIMENT.format(rate_rps=100, kind="interleaved"), source="e")
    few, many = (outline(experiment, profile(launches=launches)).detectable["p95"] for launches in (2, 20))
    assert few is not None
    assert many is not None
    assert many < few


def test_plan_warns_of_a_rate_beyond_the_generator() -> None:
    for rate_rps, processes, warned in ((1799, 1, False), (1801, 1, True), (1801, 2, False)):
        text = EXPERIMENT.format(rate_rps=rate_rps, kind="blocked")
        experiment = plan.parse_experiment(text, source="e", overrides=[f"load.processes={processes}"])
        notes = outline(experiment, profile()).notes
        assert any("will be invalid" in note for note in notes) is warned


def launches(draw: np.random.Generator, *, launch_sd: float, within_sd: float, blocks: int) -> list[LaunchLatencies]:
    """Two equal cells; a launch has a level of its own, and each half of it scatters around that."""
    made = []
    for block in range(blocks):
        for cell_id in ("c1", "c2"):
            level = draw.normal(0, launch_sd)
            halves = level + draw.normal(0, within_sd * math.sqrt(2), 2)
            whole, *parts = ({"p95": 10 * math.exp(log)} for log in (halves.mean(), *halves))
            made.append(
                LaunchLatencies(
                    cell_id=cell_id, block=block, requests=100, whole_ms=whole, halves_ms=(parts[0], parts[1])
                )
            )
    return made


def test_noise_is_divided_into_within_and_between_launches() -> None:
    found = noise_of("p95", launches(np.random.default_rng(3), launch_sd=0.08, within_sd=0.03, blocks=400))
    assert found.within_sd == pytest.approx(0.03, rel=0.1)
    assert found.launch_sd == pytest.approx(math.hypot(0.08, 0.03), rel=0.1)
    assert found.ratio_sd == pytest.approx(math.sqrt(2) * math.hypot(0.08, 0.03), rel=0.1)


def test_too_few_launches_tell_no_noise() -> None:
    made = launches(np.random.default_rng(3), launch_sd=0.1, within_sd=0.1, blocks=2)
    failed = replace(made[0], whole_ms={"p95": math.inf})
    with pytest.raises(MeasurementError, match="too few launches"):
        noise_of("p95", [failed, *made[1:]])


def test_what_the_observer_benchmark_found_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "observer.json"
    figures = {"p50_effect": 0.011, "throughput_effect": 0.004, "p50_ci": [0, 0.02], "throughput_ci": [0, 0.01]}
    file.write_text(json.dumps({**figures, "rounds": 100}))
    assert read_observer(file) == figures
    assert "+1.1%" in " ".join(sentences(profile(observer=read_observer(file))))
    file.write_text("{}")
    with pytest.raises(UsageError, match="does not say what"):
        read_observer(file)


def test_sentences_name_every_figure() -> None:
    text = " ".join(sentences(profile()))
    assert "2000 arrivals/s" in text
    assert all(name in text for name in ("p50: 6.0%", "p95: 6.0%", "p99: 6.0%", "5 launches"))


def test_without_a_request_there_is_no_percentile() -> None:
    from harness.calibrate.noise import _percentiles

    assert all(math.isnan(value) for value in _percentiles(np.array([])).values())
