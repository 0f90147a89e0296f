"""The only sequencing: an experiment becomes sittings, a sitting becomes trials, trials become a report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from harness import __version__, analyse, deploy, drive, environment, observe, plan, present, schedule
from harness.domain.evidence import Observed, RelayReadings, RunInfo, RunningTarget, Trial, TrialEvidence
from harness.domain.experiment import Cell, Experiment
from harness.domain.ledger import check_ledger
from harness.domain.load import Launch, Ledger, LoadOutput, Sitting
from harness.errors import UsageError
from harness.places import Place, PlaceFor, places
from harness.profiles import load_profile
from harness.store import RUN_SCHEMA_VERSION, RunStore

if TYPE_CHECKING:
    import pandas as pd

    from harness.domain.verdict import Report


class Progress(Protocol):
    """What a run says of itself while it goes on."""

    def stage(self, text: str) -> None:
        """Something else is being done now."""

    def load(self, done_s: float, total_s: float, remaining_s: float) -> None:
        """`done_s` of a sitting's `total_s` are over; what follows the sitting needs about `remaining_s`."""

    def note(self, text: str) -> None:
        """Something to know about the numbers, such as what does not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """What a sitting left behind, before it is divided into trials."""

    sitting: Sitting
    output: LoadOutput
    observed: Observed
    targets: tuple[RunningTarget, ...]
    folder: Path
    relays: Mapping[str, RelayReadings]
    """by launch id, of those that have one"""

    def rows(self, launch_id: str) -> pd.DataFrame:
        return drive.read_rows(self.folder, launch_id, self.sitting.segments)


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
        plan.check_ceilings(here, experiment.design, place.server.max_connections, place.server.reserved_connections)


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
        raw = run_sitting(sitting, experiment, place, store, progress, rest_s=rest_s)
        store.set_aside(launch.id for launch in sitting.launches)
        for launch in sitting.launches:
            _save_trial(raw, launch, experiment, store, ceiling_rps=ceiling_rps)


def run_sitting(
    sitting: Sitting, experiment: Experiment, place: Place, store: RunStore, progress: Progress, *, rest_s: float = 0.0
) -> Raw:
    """Deploy the sitting's launches, drive its load plan, observe both, and stop everything again."""
    folder = store.sitting_dir(sitting.index)
    with ExitStack() as stack:
        urls = stack.enter_context(place.databases(sitting.launches))
        # around the targets: what their connections did is known for good once they are closed
        log = stack.enter_context(observe.server_log(place.server, _database_names(urls)))
        far = stack.enter_context(deploy.distances(place.server, sitting.launches, urls))
        starts = _starts(sitting, far.urls, folder)
        targets = stack.enter_context(deploy.start_all(starts, probe=experiment.observe.probe))
        load_plan = schedule.with_hosts(sitting, targets.hosts, _scenarios(sitting), folder)
        generator = stack.enter_context(drive.start(load_plan))  # loads the scenarios while the targets start
        running = targets.wait()
        generator.targets_up()
        notes = generator.wait_ready()
        place.checkpoint()
        observation = stack.enter_context(
            observe.observe(
                server=place.server,
                targets=running,
                generator_pid=generator.pid,
                interval_s=experiment.observe.interval_s,
                relay_pids=far.pids,
            )
        )
        far.begin()
        generator.go()
        expected_s = schedule.expected_duration_s(sitting)
        output = generator.wait(lambda done_s: progress.load(done_s, expected_s, rest_s))
        observed = observation.finish()
        relays = far.readings()
    observed = replace(observed, server=log.table(), gaps=(*observed.gaps, *log.gaps))
    for note in dict.fromkeys((*notes, *output.notes)):
        progress.note(note)
    return Raw(sitting=sitting, output=output, observed=observed, targets=running, folder=folder, relays=relays)


def _starts(sitting: Sitting, urls: Mapping[str, str], folder: Path) -> list[deploy.TargetStart]:
    return [
        deploy.TargetStart(
            launch=launch,
            database_url=urls.get(launch.id),
            probe_dir=folder / f"probe-{launch.id}",
            log=folder / f"target-{launch.id}.log",
        )
        for launch in sitting.launches
    ]


def _database_names(urls: Mapping[str, str]) -> Mapping[str, str]:
    """Launch id by name of its database."""
    return {urlsplit(url).path.lstrip("/"): launch_id for launch_id, url in urls.items()}


def _scenarios(sitting: Sitting) -> Mapping[str, Path]:
    names = {launch.cell.load.scenario for launch in sitting.launches}
    return {name: plan.resolve_scenario(name, Path.cwd()) for name in names}


def _save_trial(
    raw: Raw, launch: Launch, experiment: Experiment, store: RunStore, *, ceiling_rps: float | None
) -> None:
    """Cut one launch's share out of a sitting, certify it and store it."""
    segments = tuple(s for s in raw.sitting.segments if s.launch_id == launch.id)
    ledger = _own_ledger(raw.output.ledger, {s.index for s in segments})
    rows = raw.rows(launch.id)
    gaps = tuple(gap for gap in raw.observed.gaps if gap.launch_id in ("", launch.id))
    tables = {
        name: _own_rows(getattr(raw.observed, name), launch.id) for name in ("activity", "probe", "process", "server")
    }
    certificate = analyse.certify(
        rows=rows,
        segments=segments,
        ledger=ledger,
        ledger_problems=check_ledger(ledger, rows),
        gaps=gaps,
        generator=drive.read_generator_log(raw.folder),
        probe=tables["probe"] if experiment.observe.probe else None,
        slo=experiment.slo,
        server=tables["server"],
        lost_workers=raw.output.lost_workers,
        clock_uncertainty_ms=max(environment.clock_uncertainty_ms(), raw.output.clock_uncertainty_ms),
        generator_ceiling_rps=ceiling_rps,
        relay=raw.relays.get(launch.id),
    )
    trial = Trial(
        id=launch.id,
        launch=replace(launch, cell=plan.cell_without_secrets(launch.cell)),
        sitting=raw.sitting.index,
        start_ns=raw.output.start_ns,
        segments=segments,
        ledger=ledger,
        certificate=certificate,
        gaps=gaps,
        relay=raw.relays.get(launch.id),
    )
    (target,) = (target for target in raw.targets if target.launch_id == launch.id)
    logs = {} if target.log is None else {"target.log": target.log}
    store.save_trial(TrialEvidence(trial=trial, requests=rows, **tables), logs)


def _generator_ceiling_rps() -> float | None:
    """As calibration found it on this machine, if it was calibrated."""
    profile = load_profile()
    return None if profile is None else profile.generator_ceiling_rps


def _own_ledger(ledger: Ledger, segments: set[int]) -> Ledger:
    return Ledger(
        tasks=tuple(t for t in ledger.tasks if t.segment in segments),
        endpoints=tuple(e for e in ledger.endpoints if e.segment in segments),
        segments=tuple(s for s in ledger.segments if s.segment in segments),
    )


def _own_rows(frame: pd.DataFrame, launch_id: str) -> pd.DataFrame:
    """The launch's readings and those that concern every launch."""
    own = frame[frame["launch_id"].isin([launch_id, ""])]
    return own.drop(columns="launch_id").reset_index(drop=True)


def _find_rate(
    experiment: Experiment, cells: Sequence[Cell], place_for: PlaceFor, store: RunStore, progress: Progress
) -> tuple[float | None, str]:
    """The open model's rate: given, or a share of what a short staircase finds the weakest pilot can carry."""
    sitting = schedule.staircase_sitting(experiment, cells)
    share = plan.rate_share(experiment.load.rate or "")
    if sitting is None or share is None:
        return experiment.load.rate_rps, "given"
    progress.stage(f"staircase over {len(sitting.launches)} cells: what can this machine carry?")
    place = place_for(sitting.launches[0].cell)
    rest_s = schedule.run_duration_s(schedule.sittings(experiment, cells, None))
    raw = run_sitting(sitting, experiment, place, store, progress, rest_s=rest_s)
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
