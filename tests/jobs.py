"""Comparison jobs with a known truth: figures drawn from a law, launches handed out as a job asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from harness.analyse.count_shift import mean_of
from harness.analyse.gate import blocks_wanted, judge
from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Gate, Load, Pool, Session, Target
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure, Figures, GateVerdict, Histogram, Taken
from harness.domain.load import launch_of
from harness.domain.strategy import Outcome

CELLS = {
    arm: Cell(
        id=f"c{number}",
        label=arm,
        factors=(),
        pool=Pool(),
        session=Session(),
        target=Target(),
        database=DatabaseSpec(),
        load=Load(rate_rps=10.0),
        arm=arm,
    )
    for number, arm in enumerate((BASE, BASE_AGAIN, HEAD), start=1)
}


def outcome(arm: str, block: int, figures: Figures, *, broken: tuple[str, ...] = ()) -> Outcome:
    return Outcome(launch=launch_of(CELLS[arm], block), sitting=block, figures=figures, broken=broken)


def figures(
    p95_ms: float,
    *,
    error_rate: float = 0.0,
    raised: float = 0.0,
    leg: float = 0.0,
    statements: Mapping[str, float] | None = None,
    took: Mapping[str, Histogram] | None = None,
) -> Figures:
    """`took`: how many requests took how many statements; `statements`: of runs that know only the mean."""
    counted = {endpoint: Figure(value=value) for endpoint, value in (statements or {}).items()}
    counted |= {
        endpoint: Figure(value=mean_of(histogram), taken=Taken(used=histogram))
        for endpoint, histogram in (took or {}).items()
    }
    return {
        "p95_ms": {"*": Figure(value=p95_ms, raised=raised, leg=leg)},
        "error_rate": {"*": Figure(value=error_rate)},
        "statements_per_request": counted,
    }


DRIFT = 0.1
Draw = Callable[[str, int], Figures]
"""arm and block -> a launch's figures"""


def lognormal(seed: int, *, noise: float, effect: float = 0.0, head_noise: float | None = None) -> Draw:
    """Launches whose p95 scatters by `noise` around 20 ms, beside the drift of blocks; the head's is 1 + effect."""
    random = np.random.default_rng(seed)
    drifts: dict[int, float] = {}

    def draw(arm: str, block: int) -> Figures:
        common = drifts.setdefault(block, random.normal(0, DRIFT))
        own = random.normal(0, head_noise if arm == HEAD and head_noise is not None else noise)
        return figures(20 * math.exp(common + own) * (1 + effect if arm == HEAD else 1))

    return draw


def run_job(draw: Draw, *, most: int = 11, gate: Gate | None = None) -> tuple[GateVerdict, int]:
    """Measure as many blocks as the job asks for. Returns its verdict and how many there were."""
    rules, outcomes, block = gate or Gate(), [], 0
    while block < blocks_wanted(rules, outcomes, most):
        block += 1
        outcomes += [outcome(arm, block, draw(arm, block)) for arm in CELLS]
    return judge(rules, outcomes, most=most), block
