"""Two runs that were measured before, held against each other cell by cell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from harness.analyse.gate import judge
from harness.analyse.judges import wanted_figures
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.analyse.measured import ALL
from harness.analyse.sides import figures_of
from harness.domain.cell import Cell
from harness.domain.evidence import Run, RunInfo, Version
from harness.domain.experiment import Gate
from harness.domain.gate import BASE, HEAD, GateVerdict
from harness.domain.strategy import Outcome
from harness.errors import UsageError

MAY_DIFFER = ("pool", "session", "target")
"""Of two cells that are compared: what is judged is what these do to the figures."""


def outcomes_of(launches: Iterable[LaunchFigures], gate: Gate) -> list[Outcome]:
    """What a gate judges of each launch."""
    wanted = wanted_figures(gate)
    return [
        Outcome(launch=own.trial.launch, sitting=own.trial.sitting, figures=figures_of(own, wanted)) for own in launches
    ]


def unknown_endpoints(gate: Gate, launches: Sequence[LaunchFigures]) -> Mapping[str, str]:
    """Endpoints that the gate's rules name and no launch has -> the nearest name that one has, or nothing."""
    seen = {name for own in launches for name in (*own.by_endpoint, *own.exact)}
    named = dict.fromkeys(rule.endpoint for rule in gate.rule if rule.endpoint != ALL)
    return {
        name: next(iter(difflib.get_close_matches(name, sorted(seen), n=1)), "") for name in named if name not in seen
    }


def compare_runs(base: Run, head: Run) -> Mapping[str, GateVerdict]:
    """Judge the head's run against the base's by the head's rules: cell's label -> what came out.

    Raises:
        UsageError: they were measured on different machines or servers, under different loads, or share no cell.
    """
    _refuse_another_machine(base.info, head.info.environment)
    gate = head.info.experiment.gate
    sides = [measure_launches(run).counted for run in (base, head)]
    judged = {}
    for one, other in _pairs(base.info, as_measured(base), head.info, as_measured(head)):
        outcomes = [
            replace(own, launch=replace(own.launch, cell=replace(own.launch.cell, arm=arm)))
            for arm, cell, launches in ((BASE, one, sides[0]), (HEAD, other, sides[1]))
            for own in outcomes_of((launch for launch in launches if launch.cell_id == cell.id), gate)
        ]
        identical = _settings(one) == _settings(other) and _is_same_code(base, one, head, other)
        judged[other.label] = judge(gate, outcomes, paired=False, identical=identical)
    return judged


def refuse_unlike(base: Run, name: str, cells: Sequence[Cell], now: Mapping[str, Any]) -> None:
    """Raise what `compare_runs` would of a run of these cells, called `name`, before it is measured.

    `now` is a fingerprint; without a server in it (None) that of the run is not asked for.
    """
    _refuse_another_machine(base.info, now)
    planned = replace(base.info, run_id=name, strategy="fixed", cells=tuple(cells))
    list(_pairs(base.info, as_measured(base), planned, cells))


def as_measured(run: Run) -> tuple[Cell, ...]:
    """The run's cells; where the load is a share of a capacity, with the rate that it led to."""
    rates = {own.trial.launch.cell.id: own.trial.launch.cell.load.rate_rps for own in run.trials}
    return tuple(
        replace(cell, load=replace(cell.load, rate_rps=rates.get(cell.id, cell.load.rate_rps)))
        for cell in run.info.cells
    )


def sides_are_alike(run: Run) -> bool:
    """Whether both sides of a comparison are configured alike and started the same, under whichever name."""
    base, head = (next(cell for cell in run.info.cells if cell.arm == arm) for arm in (BASE, HEAD))
    started = _started(run, base) | _started(run, head)
    # where git knows nothing, only an edit could tell two launches from one folder apart
    from_one_place = (base.target.dir, base.commit) == (head.target.dir, head.commit)
    return _configured(base) == _configured(head) and len(started) == 1 and (from_one_place or None not in started)


def _configured(cell: Cell) -> Cell:
    """A cell without what names it, and without the name of its commit: what that means is known from what started."""
    named = tuple(sorted({*cell.named} - {"target.ref"}))
    target = replace(cell.target, ref=None)
    return replace(cell, id="", label="", arm="", factors=(), commit="", named=named, target=target)


def _is_same_code(base: Run, one: Cell, head: Run, other: Cell) -> bool:
    """Whether both cells surely started the same: of a service that git does not know, nobody can say."""
    started = _started(base, one) | _started(head, other)
    reference = other.target.is_reference and base.info.poolbench_version == head.info.poolbench_version
    return len(started) == 1 and (reference or None not in started)


def _started(run: Run, cell: Cell) -> set[Version | None]:
    return {own.trial.context.version for own in run.trials if own.trial.launch.cell.id == cell.id}


def _refuse_another_machine(base: RunInfo, now: Mapping[str, Any]) -> None:
    """Raise UsageError where a run was measured on another machine, server or set of versions than these.

    `now` is a fingerprint; without a server in it (None) that of the run is not asked for.
    """
    known = {key: value for key, value in now.items() if value is not None}
    if differing := _differing({key: base.environment.get(key) for key in known}, known):
        raise UsageError(
            f"{base.run_id} was not measured on the same machine: {differing} differ.",
            next_step="Measure both sides in one run: poolbench compare EXPERIMENT.",
        )


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    return ", ".join(f"{key} ({one.get(key)} and {other.get(key)})" for key in keys)


def _pairs(
    base: RunInfo, base_cells: Sequence[Cell], head: RunInfo, head_cells: Sequence[Cell]
) -> Iterator[tuple[Cell, Cell]]:
    """Cells of one label, and of one load; where each run has but one cell, those."""
    bases, heads = _new_side(base, base_cells), _new_side(head, head_cells)
    by_label = {cell.label: cell for cell in bases}
    found = [(by_label[cell.label], cell) for cell in heads if cell.label in by_label]
    if not found and len(bases) == len(heads) == 1:
        found = [(bases[0], heads[0])]
    if not found:
        raise UsageError(
            f"{base.run_id} and {head.run_id} share no cell: {', '.join(by_label)} and "
            f"{', '.join(cell.label for cell in head.cells)}.",
            next_step="Compare runs of one experiment, or of one cell each.",
        )
    for one, other in found:
        _refuse_other_load(one, other)
        yield one, other


def _new_side(info: RunInfo, cells: Sequence[Cell]) -> Sequence[Cell]:
    """The cells of a run; of a comparison only its head: its base was somebody else's to judge."""
    return [cell for cell in cells if cell.arm == HEAD] if info.strategy == "two_stage" else cells


def _refuse_other_load(one: Cell, other: Cell) -> None:
    if other.load.model == "closed" or one.load.model == "closed":
        raise UsageError(
            f"{other.label} ran under a closed load: a slower side is sent less, so latencies are not compared.",
            next_step="Measure both sides with load.rate_rps.",
        )
    for section in ("load", "database", "network"):
        mine, theirs = _conditions(one, section), _conditions(other, section)
        both = [(key, mine.get(key), theirs.get(key)) for key in dict.fromkeys((*mine, *theirs))]
        if differing := [f"{section}.{key} ({this} and {that})" for key, this, that in both if this != that]:
            raise UsageError(
                f"{other.label} was not measured under the same conditions: {', '.join(differing)} differ.",
                next_step="Measure both sides in one run: poolbench compare EXPERIMENT.",
            )


def _conditions(cell: Cell, section: str) -> dict[str, Any]:
    """What both sides must share; a share of a capacity is the rate that it led to, where that is known."""
    found = asdict(getattr(cell, section))
    if found.get("rate_rps") is not None:
        del found["rate"]
    return found


def _settings(cell: Cell) -> tuple[Any, ...]:
    return tuple(getattr(_configured(cell), section) for section in MAY_DIFFER)
