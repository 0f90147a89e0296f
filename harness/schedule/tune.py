"""The launches of a tune, look by look: a block's in turns, or one after the other where the design is blocked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from harness.domain.cell import Cell
from harness.domain.design import design_kind
from harness.domain.experiment import Experiment
from harness.domain.load import PILOT_BLOCK, Sitting, launch_of
from harness.domain.rate import chosen_rate
from harness.domain.strategy import Outcome
from harness.domain.tune import Asked
from harness.schedule.sittings import at_rate, sitting_of
from harness.schedule.staircase import staircase_sitting
from harness.schedule.timeline import stable_seed

NextLaunches = Callable[[Sequence[Outcome]], Asked | None]
"""of what is measured: what is to be launched next, None where all is answered"""


class TuneSearch:
    """A staircase if the load is a share of a capacity, then whatever the ladders ask for."""

    def __init__(self, experiment: Experiment, cells: Sequence[Cell], next_launches: NextLaunches) -> None:
        self._experiment = experiment
        self._cells = tuple(cells)
        self._next_launches = next_launches
        self._staircase = staircase_sitting(experiment, cells)
        self._hot_together = design_kind(experiment, cells)[0] == "interleaved"

    def next_step(self, done: Sequence[Outcome]) -> Sitting | None:
        """See `Strategy`."""
        measured = [own for own in done if own.launch.block != PILOT_BLOCK]
        if self._staircase is not None and len(measured) == len(done):
            return self._staircase
        asked = self._next_launches(measured)
        if asked is None:
            return None
        design, block = self._experiment.design, asked.block
        chosen = chosen_rate(self._experiment, self._cells, done)
        rate_rps = None if chosen is None else chosen.rate_rps
        drawn = random.Random(stable_seed(design.seed, "order", block)).sample(asked.cells, k=len(asked.cells))
        launches = [launch_of(at_rate(cell, rate_rps), block) for cell in drawn]
        index = 1 + len({own.sitting for own in measured})
        return sitting_of(index, tuple(launches if self._hot_together else launches[:1]), design)

    def foreseen(self, done: Sequence[Outcome]) -> Iterator[Sitting]:
        """See `Strategy`; what a look will lead to is not known before it."""
        if (step := self.next_step(done)) is not None:
            yield step
