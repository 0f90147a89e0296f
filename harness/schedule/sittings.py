"""The sittings that measure: one launch at a time (blocked), or a block's launches in turns (interleaved).

Within a block the segments of one round share their seed in every cell: the arrivals and tasks are the same, so that a
difference between two cells is not a difference between two draws (common random numbers).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.domain.experiment import Cell, Design, Experiment
from harness.domain.load import Launch, Phase, Segment, Sitting
from harness.schedule.timeline import Timeline, split, stable_seed

_PHASES: tuple[Phase, ...] = ("warmup", "measure")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """A segment to be: whose it is and how long it takes."""

    launch: Launch
    phase: Phase
    round: int
    duration_s: float


def sittings(experiment: Experiment, cells: Sequence[Cell], rate_rps: float | None) -> tuple[Sitting, ...]:
    """Every sitting of the run, in order, numbered from 1 (0 is the staircase's).

    `rate_rps` is the rate of cells that ask for a share of a capacity. None stands for a rate that is not known yet:
    such a schedule shows order and duration, and cannot be executed.
    """
    design = experiment.design
    hot_together = _together(design, cells) if design.kind == "interleaved" else _alone(design, cells)
    planned = []
    for index, launches in enumerate(hot_together, start=1):
        segments = _segments(design, _turns(design, launches), rate_rps)
        planned.append(Sitting(index=index, purpose="measure", launches=launches, segments=segments))
    return tuple(planned)


def _together(design: Design, cells: Sequence[Cell]) -> Iterator[tuple[Launch, ...]]:
    """Each block launches every cell once, in a drawn order; blocks count from 1."""
    for block in range(1, design.launches + 1):
        order = random.Random(stable_seed(design.seed, "order", block)).sample(cells, k=len(cells))
        yield tuple(Launch(id=f"b{block}-{cell.id}", cell=cell, block=block) for cell in order)


def _alone(design: Design, cells: Sequence[Cell]) -> Iterator[tuple[Launch, ...]]:
    for block in _together(design, cells):
        yield from ((launch,) for launch in block)


def _turns(design: Design, launches: Sequence[Launch]) -> Iterator[_Turn]:
    """Warm-up, then measurement, in rounds that visit every launch once in a drawn order."""
    draw = random.Random(stable_seed(design.seed, "turns", *(launch.id for launch in launches)))
    round_ = 0
    for phase in _PHASES:
        pieces = {launch.id: _pieces(design, launch, phase) for launch in launches}
        for part in range(max(map(len, pieces.values()), default=0)):
            for launch in draw.sample(launches, k=len(launches)):
                if part < len(pieces[launch.id]):
                    yield _Turn(launch=launch, phase=phase, round=round_, duration_s=pieces[launch.id][part])
            round_ += 1


def _pieces(design: Design, launch: Launch, phase: Phase) -> tuple[float, ...]:
    """A launch that is alone is not interrupted."""
    load = launch.cell.load
    total_s = load.warmup_s if phase == "warmup" else load.measure_s
    return split(total_s, design.segment_s if design.kind == "interleaved" else max(total_s, 1e-6))


def _segments(design: Design, turns: Iterable[_Turn], rate_rps: float | None) -> tuple[Segment, ...]:
    timeline = Timeline(guard_s=design.guard_s)
    for turn in turns:
        load = turn.launch.cell.load
        timeline.add(
            launch_id=turn.launch.id,
            cell=turn.launch.cell,
            phase=turn.phase,
            round_=turn.round,
            duration_s=turn.duration_s,
            rate_rps=load.rate_rps if load.rate is None else rate_rps,
            seed=stable_seed(design.seed, "load", turn.launch.block, turn.round),
        )
    return timeline.segments
