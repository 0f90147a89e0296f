"""What a run would do, without doing it: for `poolbench plan`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import analyse, environment, plan, present, schedule, strategies
from harness.domain.cell import Cell
from harness.domain.design import design_kind
from harness.domain.experiment import Experiment
from harness.domain.gate import BASE, HEAD
from harness.domain.load import ScenarioOutline, Sitting
from harness.domain.profile import MachineProfile
from harness.errors import UsageError

PERCENTILES: tuple[schedule.Percentile, ...] = ("p50", "p95")


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
    why_blocked: str = ""
    """why its launches run one at a time although the experiment leaves the choice"""
    profile: MachineProfile | None = None
    """what calibration found of this machine; None: typical figures stand in"""
    compared: tuple[str, ...] = ()
    """what `poolbench compare` would make of it, where it has two sides"""
    scenarios: tuple[ScenarioOutline, ...] = ()
    """what the cells' scenarios consist of, where they were looked at"""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known before it is started, in sentences."""
        measured = [sitting for sitting in self.sittings if sitting.purpose == "measure"]
        shared = {o.id for s in measured for o in s.launches if o.cell.load.has_several_generators}
        rates_rps = [s.rate_rps or 0.0 for sitting in measured for s in sitting.segments if s.launch_id not in shared]
        return self.compared + present.plan_notes(
            cells=len(self.cells),
            detectable=self.detectable,
            why_blocked=self.why_blocked,
            arrivals=self.arrivals,
            highest_rps=max(rates_rps, default=0.0),
            processes=self.experiment.load.processes,
            cores=environment.usable_cores(),
            profile=self.profile,
            scenarios=self.scenarios,
            probe_user=self.experiment.probe_user,
        )

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
            "probe_user": asdict(asked) if (asked := self.experiment.probe_user).request else None,
            "scenarios": [asdict(scenario) for scenario in self.scenarios],
            "calibrated_utc": self.profile.measured_utc if self.profile else None,
        }


def outline(
    experiment: Experiment, profile: MachineProfile | None = None, scenarios: Sequence[ScenarioOutline] = ()
) -> Outline:
    """Expand and schedule an experiment; nothing is started."""
    cells = plan.expand(experiment)
    kind, why_blocked = design_kind(experiment, cells)
    sittings = tuple(schedule.FixedDesign(experiment, cells).foreseen(()))
    requests = schedule.requests_per_launch(sittings)
    return Outline(
        experiment=experiment,
        cells=cells,
        sittings=sittings,
        duration_s=schedule.run_duration_s(sittings),
        arrivals=schedule.expected_arrivals(sittings),
        detectable={
            percentile: analyse.smallest_findable(
                len(cells),
                experiment.design.launches,
                round(schedule.launch_noise_sd(kind, requests, percentile, profile), 3),
                float(profile.launches) if profile else 0.0,
            )
            for percentile in PERCENTILES
        },
        why_blocked=why_blocked,
        profile=profile,
        compared=tuple(_as_comparison(experiment, profile)),
        scenarios=tuple(scenarios),
    )


def _as_comparison(experiment: Experiment, profile: MachineProfile | None) -> Iterator[str]:
    """What is to be known of an experiment that has a base and a head."""
    if not {BASE, HEAD} <= experiment.arms.keys():
        return
    yield present.RUN_OR_COMPARE
    try:
        yield from strategies.foreseen(strategies.comparison(experiment), profile)
    except UsageError as error:
        yield f"{error.cause} {error.next_step}"


def _ceiling(sitting: Sitting) -> int:
    """Connections of the launches of a sitting to Postgres at most; a pool without limit counts as 0."""
    return sum(launch.cell.server_ceiling or 0 for launch in sitting.launches)
