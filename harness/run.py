"""The only sequencing: an experiment becomes sittings, a sitting becomes trials, trials become a report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__, analyse, environment, plan, present, schedule
from harness.domain.design import design_kind
from harness.domain.evidence import RunInfo
from harness.domain.experiment import Cell, Experiment
from harness.domain.load import Sitting
from harness.errors import UsageError
from harness.places import Place, PlaceFor, places
from harness.profiles import load_profile
from harness.sitting import Progress, run_sitting, trials
from harness.store import RUN_SCHEMA_VERSION, RunStore

if TYPE_CHECKING:
    from harness.domain.verdict import Report


def create_store(experiment: Experiment, results_dir: Path) -> RunStore:
    """An empty run folder. Raises UsageError when the results folder cannot be written."""
    return RunStore.create(results_dir, experiment.name)


def run_experiment(experiment: Experiment, store: RunStore, *, progress: Progress) -> None:
    """Measure every cell of an experiment and keep the evidence.

    What is finished when an exception ends the run stays readable in the store.

    Raises:
        PoolbenchError: as the rooms raise it; see harness.errors.
    """
    cells = plan.expand(experiment)
    ceiling_rps = _generator_ceiling_rps()
    progress.stage(f"run {store.path}")
    with places(store.run_id, progress.stage) as place_for:
        first = place_for(cells[0])
        _check_ceilings(experiment, cells, first)
        rate_rps, rate_source = _find_rate(experiment, cells, place_for, store, progress)
        store.write_info(_info(experiment, store, first, rate_rps, rate_source))
        planned = schedule.sittings(experiment, cells, rate_rps)
        _run_sittings(experiment, planned, place_for, store, progress, ceiling_rps=ceiling_rps)


def resume(store: RunStore, *, progress: Progress) -> None:
    """Measure what a run that was cut short still lacks.

    Raises:
        UsageError: nothing is missing, or this is not what the run was started on.
    """
    info = store.read_info()
    missing = {sitting.index for sitting in unfinished(info, store.complete())}
    if not missing:
        raise UsageError(
            f"The run {store.run_id} is complete: nothing is left to resume.", next_step="Show it: poolbench report"
        )
    experiment = plan.with_secrets(info.experiment)
    cells = plan.expand(experiment)
    ceiling_rps = _generator_ceiling_rps()
    with places(store.run_id, progress.stage) as place_for:
        first = place_for(cells[0])
        _refuse_another_machine(info, environment.fingerprint(first.server))
        planned = schedule.sittings(experiment, cells, info.rate_rps)
        lacking = [sitting for sitting in planned if sitting.index in missing]
        _run_sittings(experiment, lacking, place_for, store, progress, ceiling_rps=ceiling_rps)


def _check_ceilings(experiment: Experiment, cells: Sequence[Cell], place: Place) -> None:
    """Once more with the server's own limits; the file did not tell them all."""
    if place.server is not None:
        here = [cell for cell in cells if cell.database == cells[0].database]
        kind, _ = design_kind(experiment, cells)
        plan.check_ceilings(here, kind, place.server.max_connections, place.server.reserved_connections)


def _info(experiment: Experiment, store: RunStore, place: Place, rate_rps: float | None, rate_source: str) -> RunInfo:
    """run.json; made from the experiment without its secrets, so that none can be in it."""
    public = plan.without_secrets(experiment)
    cells = plan.expand(public)
    return RunInfo(
        schema_version=RUN_SCHEMA_VERSION,
        run_id=store.run_id,
        created_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        poolbench_version=__version__,
        experiment=public,
        cells=cells,
        sittings=schedule.sittings(public, cells, rate_rps),
        environment=environment.fingerprint(place.server),
        rate_rps=rate_rps,
        rate_source=rate_source,
    )


def unfinished(info: RunInfo, complete: Sequence[str]) -> tuple[Sitting, ...]:
    """Sittings of which a trial is missing: they are measured again as a whole, so that pairs stay pairs."""
    done = set(complete)
    return tuple(s for s in info.sittings if any(launch.id not in done for launch in s.launches))


def publish(store: RunStore) -> Report:
    """Analyse what is complete in a run and write summary.csv and the rendered reports beside it."""
    run = store.read()
    report = analyse.analyse(run)
    store.write("summary.csv", analyse.summary_rows(run, report.summary).to_csv(index=False).encode())
    for name, render in present.RENDERERS.items():
        store.write(name, render(report))
    return report


def _refuse_another_machine(info: RunInfo, now: Mapping[str, Any]) -> None:
    differing = sorted(key for key in now if now[key] != info.environment.get(key))
    if differing:
        raise UsageError(
            f"This is not what the run {info.run_id} was started on: {', '.join(differing)} changed.",
            next_step="Numbers from different environments are never mixed; start a new run.",
        )


def _run_sittings(
    experiment: Experiment,
    sittings: Sequence[Sitting],
    place_for: PlaceFor,
    store: RunStore,
    progress: Progress,
    *,
    ceiling_rps: float | None,
) -> None:
    for position, sitting in enumerate(sittings):
        place = place_for(sitting.launches[0].cell)
        rest_s = schedule.run_duration_s(sittings[position + 1 :])
        progress.stage(f"sitting {position + 1} of {len(sittings)}: {_describe(sitting)}")
        raw = run_sitting(sitting, experiment, place, store.sitting_dir(sitting.index), progress, rest_s=rest_s)
        store.set_aside(launch.id for launch in sitting.launches)
        for kept in trials(raw, experiment, ceiling_rps=ceiling_rps):
            store.save_trial(kept.evidence, kept.logs)


def _generator_ceiling_rps() -> float | None:
    """As calibration found it on this machine, if it was calibrated."""
    profile = load_profile()
    return None if profile is None else profile.generator_ceiling_rps


def _find_rate(
    experiment: Experiment, cells: Sequence[Cell], place_for: PlaceFor, store: RunStore, progress: Progress
) -> tuple[float | None, str]:
    """The open model's rate: given, or a share of what a short staircase finds the strongest pilot can carry."""
    sitting = schedule.staircase_sitting(experiment, cells)
    share = plan.rate_share(experiment.load.rate or "")
    if sitting is None or share is None:
        return experiment.load.rate_rps, "given"
    progress.stage(f"staircase over {len(sitting.launches)} cells: what can this machine carry?")
    place = place_for(sitting.launches[0].cell)
    rest_s = schedule.run_duration_s(schedule.sittings(experiment, cells, None))
    raw = run_sitting(sitting, experiment, place, store.sitting_dir(sitting.index), progress, rest_s=rest_s)
    capacities = {
        launch.cell.label: analyse.staircase_capacity_rps(
            raw.rows(launch.id), [s for s in sitting.segments if s.launch_id == launch.id], raw.output.ledger
        )
        for launch in sitting.launches
    }
    rate_rps, source = analyse.choose_rate(capacities, share)
    progress.stage(source)
    return rate_rps, source


def _describe(sitting: Sitting) -> str:
    labels = [launch.cell.label for launch in sitting.launches]
    return labels[0] if len(labels) == 1 else f"{len(labels)} cells hot together"
