"""What a run would do, without doing it: for `poolbench plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import plan, schedule
from harness.domain.experiment import Cell, Experiment
from harness.domain.load import Sitting


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Cells, their order, and what to expect of the run. `arrivals` is None while the rate is not known."""

    experiment: Experiment
    cells: tuple[Cell, ...]
    sittings: tuple[Sitting, ...]
    duration_s: float
    arrivals: int | None
    detectable: Mapping[str, float | None]
    """percentile -> smallest difference between two cells that the run would likely tell apart, as a share"""

    @property
    def notes(self) -> tuple[str, ...]:
        told = [
            f"differences above {share:.0%} on {percentile}"
            for percentile, share in self.detectable.items()
            if share is not None
        ]
        if not told:
            return ("One launch tells no difference apart: set design.launches to 3 or more.",)
        offered = () if self.arrivals is None else (f"It offers about {self.arrivals} requests in all.",)
        return (f"This plan can tell apart {' and '.join(told)}, four times in five.", *offered)

    def as_dict(self) -> Mapping[str, Any]:
        """For `--json`."""
        return {
            "name": self.experiment.name,
            "question": self.experiment.question,
            "cells": [
                {
                    "id": cell.id,
                    "label": cell.label,
                    "connection_ceiling": cell.connection_ceiling,
                    **dict(cell.factors),
                }
                for cell in self.cells
            ],
            "order": [[launch.id for launch in sitting.launches] for sitting in self.sittings],
            "connections_at_most": max((_ceiling(sitting) for sitting in self.sittings), default=0),
            "duration_s": self.duration_s,
            "arrivals": self.arrivals,
            "detectable_difference": dict(self.detectable),
        }


def outline(experiment: Experiment) -> Outline:
    """Expand and schedule an experiment; nothing is started."""
    cells = plan.expand(experiment)
    measured = schedule.sittings(experiment, cells, experiment.load.rate_rps)
    staircase = schedule.staircase_sitting(experiment, cells)
    sittings = (*([staircase] if staircase else []), *measured)
    requests = schedule.requests_per_launch(measured)
    return Outline(
        experiment=experiment,
        cells=cells,
        sittings=sittings,
        duration_s=schedule.run_duration_s(sittings),
        arrivals=schedule.expected_arrivals(measured),
        detectable={
            "p50": schedule.detectable_difference(experiment, requests, "p50"),
            "p95": schedule.detectable_difference(experiment, requests, "p95"),
        },
    )


def _ceiling(sitting: Sitting) -> int:
    """Connections the launches of a sitting can hold together; a pool without limit counts as 0."""
    return sum(launch.cell.connection_ceiling or 0 for launch in sitting.launches)
