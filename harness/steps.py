"""Which step of a strategy a run lacks next: those that it has already are passed over."""

from __future__ import annotations

from dataclasses import dataclass

from harness import analyse
from harness.domain.experiment import Experiment, Gate, ProbeUser, Slo
from harness.domain.load import Sitting
from harness.domain.strategy import Outcome, Strategy
from harness.errors import UsageError
from harness.store import RunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the strategy is told of a launch beside whether its instrument worked."""

    slo: Slo
    gate: Gate | None = None
    """its rules, where two sides are compared"""
    searching: ProbeUser | None = None
    """where a capacity is searched for, so that it matters if the SLO was met: who asks beside the load"""
    tuning: Experiment | None = None
    """where the smallest size is looked for: what says which is good enough"""


def next_to_measure(strategy: Strategy, store: RunStore, told: Told, done: list[Outcome]) -> Sitting | None:
    """The first step after `done` that the run lacks, None where it lacks none; those it has are added to `done`.

    Raises:
        UsageError: a trial is stored that this step would not have made.
    """
    while (sitting := strategy.next_step(done)) is not None:
        if not is_stored(store, sitting):
            return sitting
        done += [_outcome(store, sitting, launch.id, told) for launch in sitting.launches]
    return None


def is_stored(store: RunStore, sitting: Sitting) -> bool:
    """Whether the run has a trial of each of its launches: one that lacks any is measured again as a whole."""
    return {launch.id for launch in sitting.launches} <= set(store.complete())


def _outcome(store: RunStore, sitting: Sitting, launch_id: str, told: Told) -> Outcome:
    stored = store.read_trial(launch_id)
    if stored.trial.segments != tuple(own for own in sitting.segments if own.launch_id == launch_id):
        raise UsageError(
            f"The trial {launch_id} of the run {store.run_id} was measured otherwise than its experiment says.",
            next_step="It is another version's, or was put there by hand; start a new run.",
        )
    return analyse.outcome_of(stored, told.slo, told.gate, searching=told.searching, tuning=told.tuning)
