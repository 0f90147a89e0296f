"""The search for what each cell carries, one cell after the other, one launch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.domain.capacity import Probe
from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.domain.load import Launch, Sitting, launch_of
from harness.domain.profile import MachineProfile
from harness.domain.search import replayed
from harness.domain.strategy import Outcome
from harness.schedule.sittings import sitting_of


class CapacitySearch:
    """Every cell's search; a launch whose instrument failed is no step of it, and is measured afresh."""

    def __init__(self, experiment: Experiment, cells: Sequence[Cell], profile: MachineProfile | None = None) -> None:
        self._experiment = experiment
        self._profile = profile
        self._cells = tuple(cells)

    def next_step(self, done: Sequence[Outcome]) -> Sitting | None:
        """See `Strategy`."""
        for cell in self._cells:
            own = [outcome for outcome in done if outcome.launch.cell.id == cell.id]
            found, _ = replayed(self._experiment, self._profile, own)
            if isinstance(found, Probe):
                launch = probe_launch(cell, found, len(own) + 1)
                return sitting_of(len(done) + 1, (launch,), self._experiment.design)
        return None

    def foreseen(self, done: Sequence[Outcome]) -> Iterator[Sitting]:
        """See `Strategy`; what a search will ask for after its next step is not known."""
        if (step := self.next_step(done)) is not None:
            yield step


def probe_launch(cell: Cell, probe: Probe, block: int) -> Launch:
    """The launch of a cell that a search asks for."""
    load = replace(cell.load, rate_rps=probe.rate_rps, measure_s=cell.load.measure_s * probe.times)
    return launch_of(replace(cell, load=load), block)
