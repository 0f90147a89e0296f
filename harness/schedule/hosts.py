"""The last step before load: a sitting whose targets have addresses becomes the generator's load plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from harness.domain.cell import Cell
from harness.domain.load import Launch, LaunchLoad, LoadPlan, Segment, Sitting

MAX_IN_FLIGHT = 900
"""of one launch; a generator process sends to one launch at a time"""
STAIRCASE_IN_FLIGHT_PER_WORKER = 32
"""Enough to saturate a worker, and fewer than a worker's threads: `def` endpoints whose requests outnumber threads and
connections together wait for each other until pool_timeout_s, which would spoil every rung that follows."""


SEED_VARIABLE = "POOLBENCH_SEED"
"""What scenarios draw from; the generator adds its process's number."""


def with_hosts(
    sitting: Sitting,
    hosts: Mapping[str, str],
    scenario_paths: Mapping[str, Path],
    output_dir: Path,
    gauges: Mapping[str, Path] | None = None,
) -> LoadPlan:
    """The load plan of a sitting.

    Args:
        hosts: base URL of each launch, by launch id.
        scenario_paths: locustfile of each scenario, by its name in the experiment (`load.scenario`).
        output_dir: the sitting's folder.
        gauges: where each launch's probe says how many requests are in progress, by launch id; fewer where not known.

    Raises ValueError for an open segment whose rate is not known yet.
    """
    if any(s.model == "open" and s.rate_rps is None for s in sitting.segments):
        raise ValueError("a sitting planned without a rate cannot be executed")
    launches = tuple(
        LaunchLoad(
            launch_id=launch.id,
            host=hosts[launch.id],
            scenario=scenario_paths[launch.cell.load.scenario],
            request_timeout_s=launch.cell.load.request_timeout_s,
            max_in_flight=_max_in_flight(launch, sitting),
            connections=_served_at_once(launch.cell),
            gauges=(gauges or {}).get(launch.id),
            arguments=launch.cell.load.arguments,
            user_classes=launch.cell.load.user_classes,
            tags=launch.cell.load.tags,
            exclude_tags=launch.cell.load.exclude_tags,
        )
        for launch in sitting.launches
    )
    once = sitting.purpose == "check"
    first = sitting.launches[0].cell  # launches that are hot together share a database spec and generators
    return LoadPlan(
        launches=launches,
        segments=sitting.segments,
        turns=sitting.turns,
        pause_s=sitting.pause_s,
        output_dir=output_dir,
        environment={
            "HEROES": str(first.database.rows),
            SEED_VARIABLE: str(sitting.segments[-1].seed),  # of a block's measurement: the same for all its cells
        },
        processes=1 if once else first.load.processes,
        workers=None if once else first.load.workers,
        once=once,
    )


def _served_at_once(cell: Cell) -> int | None:
    """Requests that one process of the target serves without any of them waiting for a connection or a thread."""
    together = cell.served_at_once
    return None if together is None else together // cell.target.workers


def _max_in_flight(launch: Launch, sitting: Sitting) -> int:
    """As many as can be waiting before the oldest times out; a staircase means to saturate and stops soon after."""
    if sitting.purpose == "staircase":
        return STAIRCASE_IN_FLIGHT_PER_WORKER * launch.cell.target.workers
    needs = (_needs(segment, launch) for segment in sitting.segments if segment.launch_id == launch.id)
    return min(MAX_IN_FLIGHT * _generators(launch), max(needs, default=1))


def _generators(launch: Launch) -> int:
    load = launch.cell.load
    return load.processes if load.workers is None else load.workers.expect


def _needs(segment: Segment, launch: Launch) -> int:
    if segment.rate_rps is None:
        return segment.users or 1
    return max(1, math.ceil(segment.rate_rps * launch.cell.load.request_timeout_s))
