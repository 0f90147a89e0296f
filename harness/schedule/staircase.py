"""The sitting that finds out how much each kind of target can carry, so that a share of it can be asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.domain.load import PILOT_BLOCK, Sitting, Turn, launch_of
from harness.schedule.timeline import Timeline, stable_seed

FIRST_RUNG_RPS = 100.0
LAST_RUNG_RPS = 20_000.0
RUNG_FACTOR = 1.5
RUNG_S = 0.6
WARMUP_S = 0.6
PAUSE_S = 0.15
"""after each rung; what is not answered by then was too much"""


def staircase_sitting(experiment: Experiment, cells: Sequence[Cell]) -> Sitting | None:
    """The pilots one after the other, each climbing every rung; None unless a cell asks for a share of a capacity.

    The generator stops climbing where a pilot saturates, so the planned duration is the longest it can take.
    Rungs have uniform gaps: how many arrivals a short rung offers is then no matter of luck.
    """
    pilots = _pilots(cells)
    if not pilots:
        return None
    design = experiment.design
    timeline = Timeline(pause_s=PAUSE_S)
    launches = tuple(launch_of(cell, PILOT_BLOCK) for cell in pilots)
    for launch in launches:
        for step, rate_rps in enumerate((FIRST_RUNG_RPS, *rungs_rps())):
            timeline.add(
                launch,
                phase="staircase" if step else "warmup",
                duration_s=RUNG_S if step else WARMUP_S,
                rate_rps=rate_rps,
                seed=stable_seed(design.seed, "staircase", step),
                arrivals="uniform",
            )
    turns = tuple(Turn(launch_id=launch.id, duration_s=timeline.length_s(launch)) for launch in launches)
    return Sitting(
        index=0, purpose="staircase", launches=launches, segments=timeline.segments, turns=turns, pause_s=PAUSE_S
    )


def rungs_rps() -> tuple[float, ...]:
    """The rates of a staircase, lowest first."""
    count = math.floor(math.log(LAST_RUNG_RPS / FIRST_RUNG_RPS, RUNG_FACTOR)) + 1
    return tuple(round(FIRST_RUNG_RPS * RUNG_FACTOR**step, 1) for step in range(count))


def _pilots(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Of each target, session, scenario and database the cell with the highest ceiling, which carries most.

    The load is a share of what the strongest of them carries: a share of the weakest one's would be easy for all, and
    a pool that is too small could never be seen.
    """
    pilots: dict[str, Cell] = {}
    for cell in cells:
        if cell.load.rate is None:
            continue
        kind = repr((cell.target, cell.session, cell.load.scenario, cell.database, cell.network))
        if kind not in pilots or _ceiling(cell) > _ceiling(pilots[kind]):
            pilots[kind] = cell
    return tuple(pilots.values())


def _ceiling(cell: Cell) -> float:
    return math.inf if cell.connection_ceiling is None else cell.connection_ceiling
