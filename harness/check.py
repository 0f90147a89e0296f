"""Sends each task of an experiment's scenarios once, through the generator itself, and says what would go wrong."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

from harness import deploy, plan
from harness.analyse.checking import checked
from harness.domain.cell import Cell
from harness.domain.checked import Checked
from harness.domain.events import Emit
from harness.domain.experiment import Experiment
from harness.domain.load import Segment, Sitting, Turn, launch_of
from harness.errors import UsageError
from harness.places import places
from harness.scenario import look_at
from harness.sitting import run_sitting, trials

EACH_S = 0.3
"""for a task; one that takes longer runs on beside those that follow"""
AT_LEAST_S = 1.0
"""in all, so that the samplers see the service at work"""
CLOSED_S = 5.0
"""for a scenario that only its users can go through"""


def check_experiment(experiment: Experiment, *, emit: Emit) -> tuple[Checked, ...]:
    """Start each target of an experiment once and send it each of its tasks once, and what a probe user asks.

    Nothing is kept; where something does not come up, the logs that the error names stay in a temporary folder.

    Raises:
        PoolbenchError: as a run would.
    """
    cells = plan.expand(experiment)
    found = []
    with deploy.log_folder("check") as folder, places(secrets.token_hex(2), emit, cells) as place_for:
        for number, cell in enumerate(_distinct(cells), start=1):
            place = place_for(cell)
            place.check_ceilings(experiment, cells)
            sitting, tasks = _sitting(cell, number, experiment.design.seed)
            own = folder / str(number)
            own.mkdir()
            (kept,) = trials(run_sitting(sitting, experiment, place, own, emit), experiment, ceiling_rps=None)
            log = kept.logs.get("target.log")
            written, asked = b"" if log is None else log.read_bytes(), experiment.probe_user.request
            found.append(checked(replace(kept.evidence, target_log=written), tasks, asked=asked))
    return tuple(found)


def _distinct(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """One cell of each target, database and scenario: the last, whose settings are seldom the service's own."""
    return tuple({repr((c.target, c.database, c.load.scenario, c.load.arguments)): c for c in cells}.values())


def _sitting(cell: Cell, number: int, seed: int) -> tuple[Sitting, tuple[str, ...]]:
    """The cell's one launch, and the tasks in the order in which they are sent; none where its users choose."""
    load = replace(cell.load, model="open", rate=None, rate_rps=1 / EACH_S, users=None)
    try:
        (outline,) = look_at([replace(cell, load=load)])
        tasks = tuple(outline.tasks)
        lengths_s = [max(EACH_S, AT_LEAST_S / len(tasks))] * len(tasks)
    except UsageError:
        if cell.load.model == "open":
            raise
        (outline,) = look_at([cell])
        load = replace(load, model="closed", users=len(outline.users), rate_rps=None)
        tasks, lengths_s = (), [CLOSED_S]
    launch = launch_of(replace(cell, load=load), 1)
    segments = tuple(
        Segment(
            index=index,
            launch_id=launch.id,
            phase="measure",
            start_s=sum(lengths_s[:index]),
            duration_s=length_s,
            model=load.model,
            rate_rps=None if load.rate_rps is None else 1 / length_s,
            users=load.users,
            arrivals=load.arrivals,
            seed=seed,
        )
        for index, length_s in enumerate(lengths_s)
    )
    turn = Turn(launch_id=launch.id, duration_s=sum(lengths_s))
    sitting = Sitting(index=number, purpose="check", launches=(launch,), segments=segments, turns=(turn,), pause_s=0.0)
    return sitting, tasks
