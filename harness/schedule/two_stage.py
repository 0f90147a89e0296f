"""Two sides compared: a first stage, and as much again of fresh launches only where the first raised an alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.domain.load import PILOT_BLOCK, Sitting
from harness.domain.strategy import Outcome
from harness.schedule.estimate import run_duration_s
from harness.schedule.fixed import FixedDesign

BlocksWanted = Callable[[Sequence[Outcome], int], int]
"""of what is measured and the blocks that a stage has time for: the blocks that the job needs, as far as is known"""


class TwoStage:
    """The blocks of a fixed design, as many of them as the job turns out to need."""

    def __init__(self, experiment: Experiment, cells: Sequence[Cell], blocks_wanted: BlocksWanted) -> None:
        self.most = most_blocks(experiment, cells)
        design = replace(experiment.design, launches=2 * self.most)
        self._fixed = FixedDesign(replace(experiment, design=design), cells)
        self._blocks_wanted = blocks_wanted

    def next_step(self, done: Sequence[Outcome]) -> Sitting | None:
        """See `Strategy`."""
        return next(self.foreseen(done), None)

    def foreseen(self, done: Sequence[Outcome]) -> Iterator[Sitting]:
        """See `Strategy`; what an alarm would add is not foreseen."""
        until = self._blocks_wanted([own for own in done if own.launch.block != PILOT_BLOCK], self.most)
        for sitting in self._fixed.foreseen(done):
            if sitting.launches[0].block > until:
                return
            yield sitting


def most_blocks(experiment: Experiment, cells: Sequence[Cell]) -> int:
    """How many blocks of launches a stage has time for, at least one."""
    one = replace(experiment, design=replace(experiment.design, launches=1))
    block = [own for own in FixedDesign(one, cells).foreseen(()) if own.purpose == "measure"]
    two = replace(experiment, design=replace(experiment.design, launches=2))
    both = [own for own in FixedDesign(two, cells).foreseen(()) if own.purpose == "measure"]
    each_s = run_duration_s(both) - run_duration_s(block)
    return max(1, int(experiment.gate.stage_limit_s / each_s))
