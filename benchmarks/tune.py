"""Whether a tune finds the knee, what it costs against trying everything, and whether it throws the knee away.

Simulated: grids of six to ten sizes whose true p95 is flat, falls gradually, falls off a cliff, or rises again where
the pool is too large; launches scatter by 5 to 15 %, blocks drift by up to 15 %. The knee is the smallest size that
carries the load and whose true p95 is within 15 % of the best. A cost is the launches that a tune asks for against
those of the whole grid, each size launched as often as the answer was: every launch takes the same start, warm-up and
measurement.

Live: three services whose answer is known from elsewhere. Two hold a connection, or a thread, for a fixed time, so that
an exact simulation of the queue says which size is the knee; one needs no connection, so that one is enough.
"""

from __future__ import annotations

import heapq
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.analyse.tune import climb
from harness.domain.tune import Answer, Carried, Look, Race, Seen

MARGIN = 0.15
GRIDS = 4000
SEED = 20261127
LADDERS = ((1, 2, 3, 5, 8, 12, 16, 24, 32, 48), (2, 4, 6, 8, 10, 12, 15, 20, 30, 40))
CURVES = ("flat", "gradual", "cliff", "worse")
SIZES_MIN, SIZES_MAX = 6, 10
FLOOR_NOISE = 0.05
"""of the connections in use that a launch shows, by which the sizes below Little's floor are known"""
SCENARIO = Path(__file__).with_name("asking_locustfile.py")


@dataclass(slots=True, kw_only=True)
class Grid:
    """A simulated service: the log of its true p95 by size, infinite where the load is more than it carries."""

    curve: str
    logs: np.ndarray
    in_use: float
    """connections that are in use on average where nothing queues"""
    sizes: Sequence[int]
    noise_sd: float
    drift_sd: float
    draw: np.random.Generator
    launches: list[int] = field(default_factory=list)
    """of each size"""

    @property
    def knee(self) -> int:
        """The smallest place that is within the margin of the best."""
        return next(place for place in range(len(self.sizes)) if not self.is_slow(place))

    def is_slow(self, place: int) -> bool:
        """Whether a size is slower than the best by more than the margin."""
        return bool(self.logs[place] > self.logs.min() + math.log1p(MARGIN))

    def look(self, look: Look) -> Seen:
        """Launch some sizes in one block."""
        drift = self.draw.normal(0, self.drift_sd)
        carried = {}
        for place in look.places:
            self.launches[place] += 1
            log_ms = float(self.logs[place] + drift + self.draw.normal(0, self.noise_sd))
            carried[place] = Carried(log_ms=log_ms, in_use=self.in_use)
        shown = self.in_use * self.draw.lognormal(0, FLOOR_NOISE)
        return Seen(phase=look.phase, carried=carried, floor=sum(size < 0.8 * shown for size in self.sizes))


def grid_of(curve: str, draw: np.random.Generator) -> Grid:
    """Draw a service of this kind."""
    sizes = LADDERS[draw.integers(len(LADDERS))][: draw.integers(SIZES_MIN, SIZES_MAX + 1)]
    share, in_use = np.asarray(sizes) / sizes[0], 0.0
    if curve == "flat":
        logs = draw.uniform(0, 0.05) * draw.random(len(sizes))
    elif curve == "gradual":
        logs = np.log1p(draw.uniform(0.5, 4) * share ** -draw.uniform(0.7, 1.6))
    elif curve == "cliff":
        edge = int(draw.integers(1, len(sizes)))
        logs = np.where(np.arange(len(sizes)) < edge, math.inf, 0.0)
        logs[edge] = draw.choice([0.0, draw.uniform(0, 0.4)])
        in_use = float(draw.uniform(sizes[edge - 1], sizes[edge]))
    else:
        best = int(draw.integers(1, len(sizes)))
        away = np.log(share / share[best])
        logs = np.where(away < 0, 2 * draw.uniform(0.3, 2) * away**2, draw.uniform(0.05, 0.6) * away**2)
    return Grid(
        curve=curve,
        logs=logs,
        in_use=in_use,
        sizes=sizes,
        noise_sd=draw.uniform(0.05, 0.15),
        drift_sd=draw.uniform(0, 0.15),
        draw=draw,
        launches=[0] * len(sizes),
    )


def tuned(grid: Grid) -> Answer:
    """What a tune answers about it."""
    story = climb(Race(sizes=len(grid.sizes), margin=MARGIN, blocks=36, noise_sd=0.10))
    asked = next(story)
    while True:
        try:
            asked = story.send(grid.look(asked))
        except StopIteration as ended:
            answer: Answer = ended.value
            return answer


def simulate(grids: int, seed: int) -> Mapping[str, Any]:
    """Tune many drawn services, as many of each kind."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(grids):
        grid = grid_of(CURVES[number % len(CURVES)], draw)
        found.append((grid, tuned(grid)))
    return _figures(found) | {
        "by_curve": {curve: _figures([own for own in found if own[0].curve == curve]) for curve in CURVES}
    }


def _figures(found: Sequence[tuple[Grid, Answer]]) -> dict[str, Any]:
    best = [(grid, answer, answer.place) for grid, answer in found if answer.place is not None]
    whole = sum(len(grid.sizes) * grid.launches[place] for grid, _, place in best)
    return {
        "grids": len(found),
        "within_one_of_knee": sum(abs(place - grid.knee) <= 1 for grid, _, place in best) / len(found),
        "cost_share_of_grid": sum(sum(grid.launches) for grid, _, _ in best) / whole,
        "knee_dropped": sum(grid.knee in answer.dropped for grid, answer in found) / len(found),
        "too_slow": sum(grid.is_slow(place) for grid, _, place in best) / len(found),
        "without_answer": 1 - len(best) / len(found),
        "launches": sum(sum(grid.launches) for grid, _ in found) / len(found),
    }


HELD_MS, RATE_RPS = 40, 100
HELD_SIZES = (2, 4, 6, 8, 10, 12, 16)
LIVE = """
schema_version = 1
name = "live"
[matrix]
{key} = {sizes}
[load]
scenario = "{scenario}"
rate_rps = {rate_rps}
warmup_s = 0.5
measure_s = 2.5
arguments.path = "{path}"
[database]
settings.max_connections = 300
[pool]
pool_size = 20
max_overflow = 0
pool_timeout_s = 5
pool_prewarm = true
[target]
lab = true
gc_freeze = true
{more}
"""


def live() -> list[Mapping[str, Any]]:
    """Tune three services whose answer is known."""
    held = f"/lab/sleep?ms={HELD_MS}"
    known = knees(HELD_SIZES)
    return [
        _live("pool.pool_size", HELD_SIZES, held, RATE_RPS, known, "pool holds"),
        _live("target.threadpool_tokens", HELD_SIZES, held, RATE_RPS, known, "threads hold", 'driver = "psycopg_sync"'),
        _live("pool.pool_size", (1, 2, 4, 8, 16), "/lab/burn?ms=15", 20, [1, 2], "needs no connection"),
    ]


def knees(sizes: Sequence[int]) -> list[int]:
    """The smallest size that an exact queue of fixed holds shows within the margin of the best, its neighbours with it.

    Holds are what is asked for and one or two milliseconds more, which is what a query and its way take.
    """
    found = []
    for more_ms in (1.0, 3.0):
        p95 = [_p95_ms(size, (HELD_MS + more_ms) / 1000) for size in sizes]
        found.append(next(place for place, own in enumerate(p95) if own <= (1 + MARGIN) * min(p95)))
    return [sizes[place] for place in range(max(0, min(found) - 1), min(len(sizes), max(found) + 2))]


def _p95_ms(servers: int, hold_s: float, arrivals: int = 200_000) -> float:
    """Latency in a queue of so many servers, Poisson arrivals and one length of hold."""
    due = np.cumsum(np.random.default_rng(SEED).exponential(1 / RATE_RPS, arrivals))
    free, latencies = [0.0] * servers, np.empty(arrivals)
    for number, at in enumerate(due):
        ends = max(at, heapq.heappop(free)) + hold_s
        heapq.heappush(free, ends)
        latencies[number] = ends - at
    return 1000 * float(np.quantile(latencies, 0.95))


def _live(  # noqa: PLR0917 -- three calls, right above
    key: str, sizes: Sequence[int], path: str, rate_rps: float, known: Sequence[int], name: str, more: str = ""
) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory(prefix="poolbench-tune-") as folder:
        file = Path(folder) / "live.toml"
        text = LIVE.format(key=key, sizes=list(sizes), scenario=SCENARIO, rate_rps=rate_rps, path=path, more=more)
        file.write_text(text)
        command = [sys.executable, "-m", "harness", "tune", str(file), "--results", folder, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        found = json.loads(done.stdout)
    answer = None if found["recommended"] is None else found["recommended"][key]
    return {
        "case": name,
        "key": key,
        "known": list(known),
        "recommended": answer,
        "right": answer in known,
        "launches": found["launches"],
        "grid_launches": found["grid_launches"],
        "answer": found["answer"],
    }


def measure() -> Mapping[str, Any]:
    """Simulated grids, and the three services."""
    return {**simulate(GRIDS, SEED), "live": live()}
