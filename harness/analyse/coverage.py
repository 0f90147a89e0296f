"""What a run rests on, and what could not be seen."""

from __future__ import annotations

from collections import Counter

from harness.analyse.applied import driver_pools
from harness.analyse.launches import Launches
from harness.domain.evidence import Run
from harness.domain.verdict import Coverage


def coverage_of(run: Run, launches: Launches, planned: int) -> Coverage:
    """`planned` is how many launches that measure the run is to have."""
    trials = [evidence.trial for evidence in run.trials]
    return Coverage(
        measured=len(launches.counted) + len(launches.excluded),
        planned=planned,
        excluded=Counter(code for launch in launches.excluded for code in launch.codes),
        replaced=len(launches.replaced),
        replaced_for=tuple(dict.fromkeys(code for launch in launches.replaced for code in launch.codes)),
        fewest_requests=min((launch.all.requests for launch in launches.counted), default=None),
        postgres_processes=_postgres_processes(run),
        relays=tuple(trial.relay for trial in trials if trial.relay is not None),
        drivers=tuple(dict.fromkeys(engine.driver for trial in trials for engine in trial.applied)),
        echo_off=any(process.echo_off for trial in trials for process in trial.processes),
        unaccounted=max((launch.unaccounted for launch in launches.counted), default=0),
        driver_pools=driver_pools(trials),
        scenario_notes=tuple(dict.fromkeys(note for trial in trials for note in trial.context.scenario_notes)),
    )


def _postgres_processes(run: Run) -> bool | None:
    """A server elsewhere, or in a container, has processes that this machine does not see; one trial tells for all."""
    if not run.info.environment.get("postgres") or not run.trials:
        return None
    return bool((run.trials[0].table("process", ["role"])["role"] == "postgres").any())
