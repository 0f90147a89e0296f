"""Calibrating for real, with durations as short as they can be."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest

from harness import calibrate as calibration
from harness.calibrate.ceiling import measure_ceiling


def test_the_staircase_ends_where_the_generator_cannot_keep_up(tmp_path: Path) -> None:
    rungs = measure_ceiling(tmp_path, rung_s=0.3, rates_rps=(100.0, 60_000.0, 90_000.0))
    assert [rung.rate_rps for rung in rungs] == [100.0, 60_000.0]
    assert rungs[0].served == rungs[0].offered
    assert rungs[0].dropped == 0
    assert not rungs[1].kept_up
    assert rungs[1].lag_p99_ms > rungs[0].lag_p50_ms


@pytest.mark.postgres
def test_a_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.calibrate.ceiling.LAG_P99_MS_MAX", 1000.0)  # whoever else is busy here
    monkeypatch.setattr(calibration, "measure_ceiling", partial(measure_ceiling, rates_rps=(250.0, 500.0)))
    profile = calibration.calibrate(rung_s=0.2, measure_s=1.0, launches=2, observer={}, emit=lambda _event: None)
    assert profile.generator_ceiling_rps
    assert profile.generator_ceiling_rps >= 250
    assert [noise.percentile for noise in profile.noise] == ["p50", "p95", "p99"]
    for noise in profile.noise:
        assert all(math.isfinite(sd) and sd > 0 for sd in (noise.within_sd, noise.launch_sd, noise.ratio_sd))
    assert profile.requests_per_launch == pytest.approx(60, rel=0.5)
    assert len(calibration.sentences(profile)) == 5
