"""The gate's benchmark counts what its jobs hold: made-up recordings whose verdicts are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gate
from benchmarks.gate import BLOCKS, Job, as_line, read_jobs, replay, swaps, upper_bound
from harness import plan
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure
from harness.domain.load import launch_of
from harness.domain.strategy import Outcome


def job(kind: str, seed: int, *, effect: float = 0.0, shared: float = 0.0, statements: float = 0.0) -> Job:
    """Launches that scatter by 4 %; `shared` is what the head's launches have in common in this job alone."""
    random = np.random.default_rng(seed)
    cells = {cell.arm: cell for cell in plan.expand(gate._template())}
    luck = random.normal(0, shared)
    outcomes = []
    for block in range(1, BLOCKS + 1):
        drift = random.normal(0, 0.1)
        for arm in (BASE, BASE_AGAIN, HEAD):
            more = math.log1p(effect) + luck if arm == HEAD else 0.0
            figures = {
                name: {"*": Figure(value=scale * math.exp(drift + more + random.normal(0, 0.04)))}
                for name, scale in (("p95_ms", 20.0), ("p50_ms", 5.0), ("p99_ms", 40.0), ("cpu_ms_per_request", 1.0))
            }
            counted = 2.0 + (statements if arm == HEAD else 0.0)
            figures |= {
                "error_rate": {"*": Figure(value=0.0)},
                "statements_per_request": {"GET /a 200": Figure(value=counted)},
            }
            outcomes.append(Outcome(launch=launch_of(cells[arm], block), sitting=block, figures=figures))
    return Job(
        kind=kind,
        recorded_utc=f"2026-11-27T{seed % 24:02d}:00:00Z",
        machine={"machine": "m"},
        seconds=300.0,
        rate_rps=100.0,
        injected={},
        outcomes=tuple(outcomes),
    )


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "jobs.jsonl"
    jobs = [job("none", seed) for seed in range(3)]
    jobs += [job("p95+20%", 7, effect=0.2), job("p95+20%", 8, effect=0.0), job("statement", 9, statements=1)]
    path.write_text("".join(as_line(own) + "\n" for own in jobs))
    monkeypatch.setattr(gate, "RECORDED", path)
    monkeypatch.setattr(gate, "DRAWN", 5)
    return path


def test_a_recorded_job_is_read_as_it_was_measured(recorded: Path) -> None:
    first = next(read_jobs(recorded))
    made = job("none", 0)
    assert (first.kind, len(first.outcomes)) == ("none", 3 * BLOCKS)
    assert {own.launch.id for own in first.outcomes} == {own.launch.id for own in made.outcomes}
    one, other = (own.outcomes[5].figures["p95_ms"]["*"].value for own in (first, made))
    assert one == pytest.approx(other, rel=1e-6)


def test_what_is_found_and_missed_is_counted(recorded: Path) -> None:
    figures = gate.measure()
    assert (figures["aa_jobs"], figures["false_alarms"], figures["live_jobs"]) == (3, 0, 6)
    assert figures["power"]["p95+20%"] == {"jobs": 2, "found": 1}
    assert figures["power"]["cpu+5%"] == {"jobs": 0, "found": 0}
    assert (figures["exact_found"], figures["exact_invented"]) == ({"jobs": 1, "found": 1}, 0)
    assert figures["noise"]["p95_ms"] == pytest.approx(0.04 * math.sqrt(2), rel=0.2)
    assert figures["hours"] == 6


def test_without_a_recorded_job_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gate, "RECORDED", tmp_path / "none.jsonl")
    with pytest.raises(RuntimeError, match="has no job"):
        gate.measure()


def test_a_job_is_given_the_blocks_that_its_gate_asks_for() -> None:
    clean, alarmed = replay(job("none", 1).outcomes), replay(job("p95+20%", 1, effect=0.2).outcomes)
    assert clean[1] < alarmed[1] <= BLOCKS
    assert alarmed[0].fresh_blocks == alarmed[0].blocks


def test_swapped_labels_hide_what_a_sides_launches_share() -> None:
    lucky = [job("none", seed, shared=0.3) for seed in range(20)]
    whole = sum(replay(own.outcomes)[0].verdict == "regressed" for own in lucky)
    swapped = [replay(drawn)[0].verdict == "regressed" for own in lucky for drawn in swaps(own, 5)]
    assert whole >= 5
    assert sum(swapped) <= 5


def test_the_upper_bound_of_a_share() -> None:
    assert upper_bound(0, 299) == pytest.approx(0.01, abs=1e-4)  # 1 - 0.05 ** (1 / 299)
    assert upper_bound(3, 3) == 1.0
