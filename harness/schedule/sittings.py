"""The sittings that measure: one launch at a time (blocked), or a block's launches in turns (interleaved).

A launch is sent its warm-up and its measurement in one piece, on a load clock of its own. Within a block every cell
has the same seeds: arrivals and tasks are the same, so that a difference between two cells is not a difference
between two draws (common random numbers).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from harness.domain.cell import Cell
from harness.domain.design import design_kind
from harness.domain.experiment import Design, Experiment
from harness.domain.load import Launch, Phase, Sitting, Turn, launch_of
from harness.schedule.order import balanced_orders
from harness.schedule.timeline import Timeline, split, stable_seed


def sittings(experiment: Experiment, cells: Sequence[Cell], rate_rps: float | None) -> tuple[Sitting, ...]:
    """Every sitting that measures, in order, numbered from 1 (0 is the staircase's).

    `rate_rps` is the rate of cells that ask for a share of a capacity. None stands for a rate that is not known yet:
    such a schedule shows order and duration, and cannot be executed.
    """
    design = experiment.design
    kind, _ = design_kind(experiment, cells)
    blocks = list(_blocks(design, [at_rate(cell, rate_rps) for cell in cells]))
    hot_together = blocks if kind == "interleaved" else [(launch,) for block in blocks for launch in block]
    return tuple(sitting_of(index, launches, design) for index, launches in enumerate(hot_together, start=1))


def fresh_sitting(sitting: Sitting, design: Design, *, index: int) -> Sitting:
    """The same sitting with fresh launches in the places of its own."""
    launches = tuple(launch_of(launch.cell, launch.block, again=True) for launch in sitting.launches)
    return sitting_of(index, launches, design)


def at_rate(cell: Cell, rate_rps: float | None) -> Cell:
    """The cell as it is measured: a share of a capacity has become a rate."""
    return cell if cell.load.rate is None else replace(cell, load=replace(cell.load, rate_rps=rate_rps))


def _blocks(design: Design, cells: Sequence[Cell]) -> Iterator[tuple[Launch, ...]]:
    """Each block launches every cell once, in a drawn, balanced order; blocks count from 1."""
    orders = balanced_orders(cells, random.Random(stable_seed(design.seed, "order")))
    for block, order in enumerate(islice(orders, design.launches), start=1):
        yield tuple(launch_of(cell, block) for cell in order)


def sitting_of(index: int, launches: tuple[Launch, ...], design: Design) -> Sitting:
    """A sitting of these launches, each with its cell's load: warm-up and measurement."""
    timeline = Timeline()
    for launch in launches:
        load = launch.cell.load
        phases: Mapping[Phase, float] = {"warmup": load.warmup_s, "measure": load.measure_s}
        for phase, duration_s in phases.items():
            if duration_s > 0:
                timeline.add(
                    launch,
                    phase=phase,
                    duration_s=duration_s,
                    rate_rps=load.rate_rps,
                    seed=stable_seed(design.seed, "load", launch.block, phase),
                )
    lengths_s = {launch.id: timeline.length_s(launch) for launch in launches}
    return Sitting(
        index=index,
        purpose="measure",
        launches=launches,
        segments=timeline.segments,
        turns=tuple(_turns(lengths_s, design)),
        pause_s=round(design.guard_s, 6),
    )


def _turns(lengths_s: Mapping[str, float], design: Design) -> Iterator[Turn]:
    """Rounds that visit every launch whose load is not over; a launch that is alone is not interrupted."""
    if len(lengths_s) == 1:
        yield from (Turn(launch_id=launch_id, duration_s=own_s) for launch_id, own_s in lengths_s.items() if own_s > 0)
        return
    pieces = {launch_id: deque(split(length_s, design.segment_s)) for launch_id, length_s in lengths_s.items()}
    orders = balanced_orders(list(lengths_s), random.Random(stable_seed(design.seed, "turns", *sorted(lengths_s))))
    while any(pieces.values()):
        for launch_id in next(orders):
            if pieces[launch_id]:
                yield Turn(launch_id=launch_id, duration_s=pieces[launch_id].popleft())
