"""How much measurements scatter on this machine when nothing differs: the same cell twice, launch after launch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import plan, run
from harness.analyse.arrays import Floats
from harness.analyse.estimate import quantiles
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.domain.events import Emit
from harness.domain.profile import Noise
from harness.errors import MeasurementError
from harness.store import RunStore

PERCENTILES = ("p50", "p95", "p99")
EXPERIMENT = """
schema_version = 1
name = "calibrate"
question = "How much do two equal cells differ?"
[arms.one]
[arms.other]
[pool]
max_overflow = 0
pool_prewarm = true
[load]
scenario = "read_heavy"
rate_rps = {rate_rps}
warmup_s = {warmup_s}
measure_s = {measure_s}
[design]
kind = "interleaved"
launches = {launches}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchLatencies:
    """The percentiles of one launch, whole and of every other second of its load clock."""

    cell_id: str
    block: int
    requests: int
    whole_ms: Mapping[str, float]
    halves_ms: tuple[Mapping[str, float], Mapping[str, float]]


def measure_noise(
    folder: Path, *, rate_rps: float, measure_s: float, launches: int, emit: Emit
) -> tuple[tuple[Noise, ...], float]:
    """The noise of each percentile, and the requests a launch had.

    Raises:
        MeasurementError: fewer than two blocks of launches could be used.
        PoolbenchError: as `run_experiment`.
    """
    text = EXPERIMENT.format(
        rate_rps=rate_rps, warmup_s=min(2.0, measure_s / 2), measure_s=measure_s, launches=launches
    )
    store = RunStore.create(folder, "calibrate")
    run.run_experiment(plan.parse_experiment(text, source="calibrate"), store, emit=emit)
    found = [latencies(launch) for launch in measure_launches(store.read()).counted]
    if not found:
        raise MeasurementError(
            "Calibration has no valid launch.", next_step="Calibrate again on a machine that does nothing else."
        )
    return tuple(noise_of(name, found) for name in PERCENTILES), float(np.mean([own.requests for own in found]))


def latencies(launch: LaunchFigures) -> LaunchLatencies:
    """A launch's percentiles, by the estimator of the report; failures are infinitely slow."""
    bins = launch.over_time
    odd = bins.number % 2 == 1
    return LaunchLatencies(
        cell_id=launch.cell_id,
        block=launch.block,
        requests=launch.all.requests,
        whole_ms=_percentiles(bins.latency_ms),
        halves_ms=(_percentiles(bins.latency_ms[~odd]), _percentiles(bins.latency_ms[odd])),
    )


def noise_of(percentile: str, launches: Sequence[LaunchLatencies]) -> Noise:
    """Relative scatter of a percentile within launches, between them, and of the ratio of two measured in turns.

    Raises:
        MeasurementError: fewer than two blocks have both cells with an answer.
    """
    cells = sorted({own.cell_id for own in launches})
    logs = {(own.cell_id, own.block): math.log(own.whole_ms[percentile]) for own in launches if _known(own, percentile)}
    blocks = sorted({block for _, block in logs if all((cell, block) in logs for cell in cells)})
    if len(cells) != 2 or len(blocks) < 2:
        raise MeasurementError(
            f"Calibration has too few launches with a {percentile} to tell how much they scatter.",
            next_step="Give it more: poolbench calibrate --launches 5, on a machine that does nothing else.",
        )
    one, other = (np.array([logs[cell, block] for block in blocks]) for cell in cells)
    halves = [
        math.log(own.halves_ms[0][percentile] / own.halves_ms[1][percentile])
        for own in launches
        if _known(own, percentile)
    ]
    return Noise(
        percentile=percentile,
        # the log ratio of two halves has four times the variance of the whole's logarithm
        within_sd=_root_mean_square(halves) / 2,
        launch_sd=math.sqrt((float(np.var(one, ddof=1)) + float(np.var(other, ddof=1))) / 2),
        # equal cells: the ratio is 1 by construction, so nothing is lost on estimating its mean
        ratio_sd=_root_mean_square(one - other),
    )


def _known(own: LaunchLatencies, percentile: str) -> bool:
    return all(math.isfinite(figures[percentile]) for figures in (own.whole_ms, *own.halves_ms))


def _percentiles(latency_ms: Floats) -> dict[str, float]:
    shares = np.array([float(name.removeprefix("p")) / 100 for name in PERCENTILES])
    return dict(zip(PERCENTILES, map(float, quantiles(np.sort(latency_ms), shares)), strict=True))


def _root_mean_square(values: Iterable[float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(values)))))
