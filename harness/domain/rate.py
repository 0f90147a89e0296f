"""The rate of a run that asks for a share of what its service can carry."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from harness.domain.cell import Cell
from harness.domain.events import RateChosen
from harness.domain.experiment import Experiment
from harness.domain.strategy import Outcome
from harness.errors import MeasurementError

SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def rate_share(rate: str) -> float | None:
    """ "60%" -> 0.6; None when it is no share above 0 and up to 1000 %."""
    match = SHARE.fullmatch(rate.strip())
    share = float(match.group(1)) / 100 if match else 0.0
    return share if 0 < share <= 10 else None


def chosen_rate(experiment: Experiment, cells: Sequence[Cell], done: Sequence[Outcome]) -> RateChosen | None:
    """The rate that is the wanted share of what the strongest pilot carries, and how it was found.

    A share of the weakest one's would be easy for every cell: a pool that is too small could never be seen. None where
    no share is wanted, or no pilot is done yet.

    Raises:
        MeasurementError: no pilot answered anything well.
    """
    share = rate_share(experiment.load.rate or "")
    capacities = {own.launch.cell.id: own.sustained_rps for own in done if own.sustained_rps is not None}
    if share is None or not capacities:
        return None
    labels = {cell.id: cell.label for cell in cells}
    strongest = max(capacities, key=lambda cell_id: capacities[cell_id])
    capacity_rps = capacities[strongest]
    if capacity_rps <= 0:
        raise MeasurementError(
            f"The staircase found no capacity: {labels[strongest]} gave no good answer.",
            next_step="Look at that target's log, or give the rate yourself with load.rate_rps.",
        )
    return RateChosen(
        rate_rps=_two_digits(capacity_rps * share),
        capacity_rps=capacity_rps,
        share=share,
        label=labels[strongest],
        pilots=len(capacities),
    )


def _two_digits(value: float) -> float:
    digits = 1 - math.floor(math.log10(value))
    return round(value, digits)
