"""The gate's benchmark counts what its jobs hold: made-up recordings whose verdicts are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gate
from benchmarks.gate import replay, swaps, upper_bound
from benchmarks.gate_record import MOST
from benchmarks.gate_recordings import NOTHING, Job, Recording, as_line, cells_of, read_recordings
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure, Taken
from harness.domain.load import launch_of
from harness.domain.strategy import Outcome

EFFECTS = {NOTHING: 0.0, "p95+20%": 0.2, "statement": 0.0}


def recording(
    seed: int, effects: Mapping[str, float] = EFFECTS, *, shared: float = 0.0, live: bool = False
) -> Recording:
    """Launches that scatter by 4 %; `shared` is what a head's launches have in common in this recording alone."""
    random = np.random.default_rng(seed)
    cells = cells_of(tuple(effects))
    luck = {arm: random.normal(0, shared) if arm in effects else 0.0 for arm in cells}
    outcomes = []
    for block in range(1, 2 * MOST + 1):
        drift = random.normal(0, 0.1)
        for arm, cell in cells.items():
            more = math.log1p(effects.get(arm, 0.0)) + luck[arm]
            figures = {
                name: {"*": Figure(value=scale * math.exp(drift + more + random.normal(0, 0.04)))}
                for name, scale in (("p95_ms", 20.0), ("p50_ms", 5.0), ("p99_ms", 40.0), ("cpu_ms_per_request", 1.0))
            }
            counted = 3.0 if arm == "statement" else 2.0
            figures |= {
                "error_rate": {"*": Figure(value=0.0)},
                "statements_per_request": {
                    "GET /a 200": Figure(value=counted, taken=Taken(used=((counted, 120),), fresh=((counted, 3),))),
                    "GET /b 200": Figure(value=counted),
                },
            }
            outcomes.append(Outcome(launch=launch_of(cell, block), sitting=block, figures=figures))
    return Recording(
        recorded_utc=f"2026-11-27T{seed % 24:02d}:00:00Z",
        machine={"machine": "m"},
        load_average=0.5,
        seconds=840.0,
        rate_rps=100.0,
        measure_s=5.0,
        live=live,
        most=MOST,
        injected={kind: {} for kind in effects},
        outcomes=tuple(outcomes),
    )


def job(seed: int, kind: str, **more: Any) -> Job:
    return recording(seed, {kind: EFFECTS[kind]}, **more).job(kind)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "jobs.jsonl"
    made = [recording(seed) for seed in (1, 2)]
    made += [recording(3, EFFECTS | {"p95+20%": 0.0}), recording(4, {NOTHING: 0.0}, live=True)]
    path.write_text("".join(as_line(own) + "\n" for own in made))
    monkeypatch.setattr(gate, "RECORDED", path)
    monkeypatch.setattr(gate, "DRAWN", 5)
    return path


def test_a_recording_is_read_as_it_was_measured(recorded: Path) -> None:
    first, made = next(read_recordings(recorded)), recording(1)
    assert replace(first, outcomes=()) == replace(made, outcomes=())
    assert {own.launch.id for own in first.outcomes} == {own.launch.id for own in made.outcomes}
    one, other = (own.outcomes[5].figures["p95_ms"]["*"].value for own in (first, made))
    assert one == pytest.approx(other, rel=1e-4)
    counted = [own.outcomes[5].figures["statements_per_request"] for own in (first, made)]
    assert counted[0] == counted[1]


def test_a_job_has_the_base_and_one_head() -> None:
    whole = recording(1)
    own = whole.job("statement")
    assert {launch.launch.cell.arm for launch in own.outcomes} == {BASE, BASE_AGAIN, HEAD}
    heads = [launch.figures for launch in own.outcomes if launch.launch.cell.arm == HEAD]
    assert heads == [launch.figures for launch in whole.outcomes if launch.launch.cell.arm == "statement"]


def test_what_is_found_and_missed_is_counted(recorded: Path) -> None:
    figures = gate.measure()
    assert (figures["aa_jobs"], figures["false_alarms"], figures["live_jobs"]) == (4, 0, 1)
    assert figures["power"]["20%"] == {"jobs": 3, "found": 2}
    assert figures["power_cpu"]["5%"] == {"jobs": 0, "found": 0}
    assert (figures["exact_found"], figures["exact_invented"]) == ({"jobs": 3, "found": 3}, 0)
    assert figures["noise"]["p95_ms"] == pytest.approx(0.04 * math.sqrt(2), rel=0.2)
    assert (figures["recordings"], figures["hours"]) == (4, 4)
    # five blocks of 14, three sides of five: 840 s * 5 / 14 * 3 / 5 are three minutes
    assert figures["job_minutes"][NOTHING] == pytest.approx(3.0, rel=0.5)


def test_without_a_recorded_job_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gate, "RECORDED", tmp_path / "none.jsonl")
    with pytest.raises(RuntimeError, match="has no job"):
        gate.measure()


def test_a_job_is_given_the_blocks_that_its_gate_asks_for() -> None:
    clean, alarmed = replay(job(1, NOTHING)), replay(job(1, "p95+20%"))
    assert clean[1] < alarmed[1] <= 2 * MOST
    assert alarmed[0].fresh_blocks == alarmed[0].blocks


def test_swapped_labels_hide_what_a_sides_launches_share() -> None:
    lucky = [job(seed, NOTHING, shared=0.3) for seed in range(20)]
    whole = sum(replay(own)[0].verdict == "regressed" for own in lucky)
    swapped = [replay(drawn)[0].verdict == "regressed" for own in lucky for drawn in swaps(own, 5)]
    assert whole >= 5
    assert sum(swapped) <= 5


def test_noise_that_the_null_requests_share_is_taken_out() -> None:
    random = np.random.default_rng(1)
    legs = random.normal(0, 0.1, size=(2 * MOST, 2))
    own = job(1, NOTHING)
    slowed = [
        replace(launch, figures={"p95_ms": {"*": Figure(value=10 * math.exp(leg + noise), leg=leg)}})
        for launch in own.outcomes
        if (side := {BASE: 0, BASE_AGAIN: 1}.get(launch.launch.cell.arm)) is not None
        for leg, noise in ((legs[launch.launch.block - 1][side], random.normal(0, 0.02)),)
    ]
    shared = replace(own, outcomes=tuple(slowed))
    assert gate._noise([shared], "p95_ms") > 2 * gate._noise_without_leg([shared])
    assert gate._noise_without_leg([shared]) == pytest.approx(0.02 * math.sqrt(2), rel=0.5)


def test_the_upper_bound_of_a_share() -> None:
    assert upper_bound(0, 299) == pytest.approx(0.01, abs=1e-4)  # 1 - 0.05 ** (1 / 299)
    assert upper_bound(3, 3) == 1.0
