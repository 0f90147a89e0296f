"""The fixed design: a staircase if the load is a share of a capacity, then every cell as often as the file says."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.domain.load import Sitting
from harness.domain.rate import chosen_rate
from harness.domain.strategy import Outcome
from harness.schedule.sittings import fresh_sitting, sittings
from harness.schedule.staircase import staircase_sitting

LASTING = frozenset({"ceiling"})
"""What failed for a reason that a fresh launch would meet again."""


class FixedDesign:
    """Staircase, then block after block; a sitting in which an instrument failed is measured afresh, once."""

    def __init__(self, experiment: Experiment, cells: Sequence[Cell]) -> None:
        self._experiment = experiment
        self._cells = tuple(cells)
        self._staircase = staircase_sitting(experiment, cells)
        self._at_rate = functools.cache(functools.partial(sittings, experiment, self._cells))

    def next_step(self, done: Sequence[Outcome]) -> Sitting | None:
        """See `Strategy`."""
        return next(self.foreseen(done), None)

    def foreseen(self, done: Sequence[Outcome]) -> Iterator[Sitting]:
        """See `Strategy`; before the staircase is done, sittings have no rate."""
        broken: dict[int, set[str]] = {}
        for outcome in done:
            broken.setdefault(outcome.sitting, set()).update(outcome.broken)
        if self._staircase is not None and self._staircase.index not in broken:
            yield self._staircase
        chosen = chosen_rate(self._experiment, self._cells, done)
        planned = self._at_rate(None if chosen is None else chosen.rate_rps)
        for sitting in planned:
            again = len(planned) + sitting.index
            if sitting.index not in broken:
                yield sitting
            elif again not in broken and broken[sitting.index] - LASTING:
                yield fresh_sitting(sitting, self._experiment.design, index=again)
