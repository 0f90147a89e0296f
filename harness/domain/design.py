"""Whether the launches of a block are hot together, or one at a time, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Experiment

Kind = Literal["blocked", "interleaved"]


def design_kind(experiment: Experiment, cells: Sequence[Cell]) -> tuple[Kind, str]:
    """The design of a run, and why it is blocked where the experiment leaves the choice (`auto`); "" otherwise.

    Turns let a service stand idle, and several generators do not know of each other when it is clear: what depends on
    either is measured without turns.
    """
    kind = experiment.design.kind
    if kind != "auto":
        return kind, ""
    reason = next(against_turns(cells), "")
    return ("blocked", reason) if reason else ("interleaved", "")


def against_turns(cells: Sequence[Cell]) -> Iterator[str]:
    """What keeps the cells from taking turns, one phrase each; nothing when they may."""
    for cell in cells:
        if cell.target.url is not None:
            yield "target.url runs already and is not started afresh"
        if cell.pool.pool_recycle_s >= 0:
            yield "pool.pool_recycle_s counts the time between turns"
        if cell.network.idle_timeout_s is not None:
            yield "network.idle_timeout_s counts the time between turns"
        if cell.session.idle_in_transaction_session_timeout_ms > 0:
            yield "session.idle_in_transaction_session_timeout_ms counts the time between turns"
        for name in cell.database.settings:
            if "idle" in name and name.endswith("timeout"):
                yield f"database.settings.{name} counts the time between turns"
        if cell.session.mistake == "global_session":
            yield "session.mistake keeps a transaction open between turns"
        if cell.load.has_several_generators:
            yield "several generator processes share the arrivals"
    for cell in cells[1:]:
        differing = _differences(cells[0].database, cell.database)
        if differing:
            yield f"they need different servers, {cells[0].id} and {cell.id} differ in {', '.join(differing)}"


def _differences(one: DatabaseSpec, other: DatabaseSpec) -> list[str]:
    return [f"database.{name}" for name in one.__dataclass_fields__ if getattr(one, name) != getattr(other, name)]
