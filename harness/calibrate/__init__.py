"""Measures the machine that poolbench runs on: what its generator can send, and how much equal things differ."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import __version__, deploy, profiles
from harness.calibrate.ceiling import RATES_RPS, measure_ceiling
from harness.calibrate.noise import measure_noise
from harness.domain.events import Emit, StageStarted
from harness.domain.profile import PROFILE_SCHEMA_VERSION, MachineProfile
from harness.errors import MeasurementError, UsageError

__all__ = ["calibrate", "read_observer", "sentences"]

RATE_RPS = 60.0
"""of the equal cells: far below what any of them can carry"""


def calibrate(
    *, rung_s: float, measure_s: float, launches: int, observer: Mapping[str, Any], emit: Emit
) -> MachineProfile:
    """Measure this machine; nothing is saved.

    Args:
        rung_s: how long each rate of the generator's staircase lasts.
        measure_s: how long each of the two equal cells is measured in each launch.
        launches: fresh starts of each of the two.
        observer: what probe and samplers cost, from `read_observer`.
        emit: is told what is going on.

    Raises:
        MeasurementError: the generator kept up at no rate, or too few launches could be used.
        PoolbenchError: as `run_experiment`.
    """
    with deploy.log_folder("calibrate") as folder:
        emit(StageStarted(stage="generator", count=len(RATES_RPS)))
        generator = measure_ceiling(folder / "generator", rung_s=rung_s)
        if not any(rung.kept_up for rung in generator):
            raise MeasurementError(
                f"The load generator was late even at {RATES_RPS[0]} arrivals/s.",
                next_step="Something else keeps this machine busy; see `poolbench doctor`, and calibrate again.",
            )
        emit(StageStarted(stage="noise", count=launches))
        noise, requests = measure_noise(folder, rate_rps=RATE_RPS, measure_s=measure_s, launches=launches, emit=emit)
    return MachineProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        measured_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        poolbench_version=__version__,
        machine=profiles.this_machine(),
        generator=generator,
        noise=noise,
        launches=launches,
        requests_per_launch=requests,
        observer=observer,
    )


def read_observer(path: Path) -> Mapping[str, Any]:
    """What `python -m benchmarks observer --json FILE` wrote.

    Raises:
        UsageError: it cannot be read, or is something else.
    """
    try:
        figures = json.loads(path.read_text())
        kept = {name: figures[name] for name in ("p50_effect", "throughput_effect", "p50_ci", "throughput_ci")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not say what probe and samplers cost: {type(error).__name__}.",
            next_step=f"Make it: python -m benchmarks observer --json {path}",
        ) from error
    return kept


def _ceiling(profile: MachineProfile) -> str:
    kept_up = [rung for rung in profile.generator if rung.kept_up]
    if not kept_up:
        lowest = min(rung.rate_rps for rung in profile.generator)
        return f"The generator kept up with no rate that was tried, the lowest {lowest:.0f} arrivals/s."
    fastest = max(kept_up, key=lambda rung: rung.rate_rps)
    return f"The generator keeps up with {fastest.rate_rps:.0f} arrivals/s (lag p99 {fastest.lag_p99_ms:.1f} ms)."


def sentences(profile: MachineProfile) -> tuple[str, ...]:
    """The profile in words."""
    told = [
        _ceiling(profile),
        *(
            f"{noise.percentile}: {noise.launch_sd:.1%} between launches, {noise.within_sd:.1%} within one; "
            f"the ratio of two measured in turns {noise.ratio_sd:.1%}."
            for noise in profile.noise
        ),
        f"Standard deviations, from {profile.launches} launches of about {profile.requests_per_launch:.0f} requests.",
    ]
    if profile.observer:
        told.append(f"Probe and samplers cost {profile.observer['p50_effect']:+.1%} on the p50.")
    return tuple(told)
