"""A search replayed: what the stored launches of a cell led to."""

from __future__ import annotations

from collections.abc import Sequence

from harness.domain.capacity import Found, Probe, Search, Step
from harness.domain.experiment import Experiment
from harness.domain.rate import rate_share
from harness.domain.strategy import Outcome

BROKEN_IN_A_ROW = 2
"""Launches whose instrument failed, after which a cell's search ends."""


def search_of(experiment: Experiment) -> Search:
    """What is searched for in each cell of an experiment."""
    asked = experiment.capacity
    return Search(
        first_rps=experiment.load.rate_rps or 0.0,
        limit_rps=asked.limit_rps,
        precision=rate_share(asked.precision) or 0.0,
        confirmations=asked.confirmations,
    )


def replayed(experiment: Experiment, done: Sequence[Outcome]) -> tuple[Probe | Found, list[tuple[Outcome, Step]]]:
    """What the launches of one cell led to, the next one or the end, and the step of the search that each was.

    Steps follow from replaying the search; a launch whose instrument failed is none.
    """
    search, steps, broken = search_of(experiment), list[tuple[Outcome, Step]](), 0
    for outcome in done:
        asked = search.next_probe([step for _, step in steps])
        if outcome.broken or outcome.result is None or isinstance(asked, Found):
            broken += 1
            continue
        broken = 0
        steps.append((outcome, Step(probe=asked, result=outcome.result)))
    state = search.next_probe([step for _, step in steps])
    if broken >= BROKEN_IN_A_ROW and isinstance(state, Probe):
        passed = [step.probe.rate_rps for _, step in steps if step.result == "pass"]
        state = Found(highest_pass_rps=max(passed, default=None), lowest_fail_rps=None, stop="instrument")
    return state, steps
