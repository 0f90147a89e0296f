"""A search replayed: what the stored launches of a cell led to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.domain.capacity import Found, Probe, Search, Step
from harness.domain.experiment import Experiment
from harness.domain.profile import CEILING_SHARE_MAX, MachineProfile
from harness.domain.rate import rate_share
from harness.domain.strategy import Outcome

BROKEN_IN_A_ROW = 2
"""Launches whose instrument failed, after which a cell's search ends."""


def search_of(experiment: Experiment, profile: MachineProfile | None) -> Search:
    """What is searched for in each cell of an experiment: no further than its one generator was seen to send here."""
    asked = experiment.capacity
    ceiling_rps = profile.generator_ceiling_rps if profile and not experiment.load.has_several_generators else None
    most_rps = math.inf if ceiling_rps is None else CEILING_SHARE_MAX * ceiling_rps
    return Search(
        first_rps=experiment.load.rate_rps or 0.0,
        limit_rps=min(asked.limit_rps, most_rps),
        at_limit="generator" if most_rps < asked.limit_rps else "ceiling",
        precision=rate_share(asked.precision) or 0.0,
        confirmations=asked.confirmations,
    )


def replayed(
    experiment: Experiment, profile: MachineProfile | None, done: Sequence[Outcome]
) -> tuple[Probe | Found, list[tuple[Outcome, Step]]]:
    """What the launches of one cell led to, the next one or the end, and the step of the search that each was.

    Steps follow from replaying the search; a launch whose instrument failed is none.
    """
    search, steps, broken = search_of(experiment, profile), list[tuple[Outcome, Step]](), 0
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
