"""One sitting: launches hot together under one load plan, and the trials it is divided into afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness import deploy, drive, environment, observe, plan, schedule
from harness.domain.deployed import RunningTarget
from harness.domain.events import CellTick, Emit, LoadTick, Note, TargetsUp
from harness.domain.evidence import Context, Trial, TrialEvidence, Version
from harness.domain.experiment import Experiment
from harness.domain.load import Launch, Ledger, LoadOutput, ProbeRequest, Sitting
from harness.domain.observed import Observed, RelayReadings
from harness.observe.live import LiveFigures
from harness.places import Place

if TYPE_CHECKING:
    import pandas as pd


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
    environment: Mapping[str, Any]
    """fingerprint of what it was measured on"""
    versions: Mapping[str, Version | None]
    """of the code that was started, by launch id"""

    def rows(self, launch_id: str) -> pd.DataFrame:
        return drive.read_rows(self.folder, launch_id, self.sitting.segments)


def run_sitting(
    sitting: Sitting, experiment: Experiment, place: Place, folder: Path, emit: Emit, *, rest_s: float = 0.0
) -> Raw:
    """Deploy the sitting's launches, drive its load plan, observe both, and stop everything again.

    What the processes write goes to `folder`; `rest_s` is how long the run will take after this sitting.
    """
    with ExitStack() as stack:
        urls = stack.enter_context(place.databases(sitting.launches))
        # around the targets: what their connections did is known for good once they are closed
        log = stack.enter_context(observe.server_log(place.server, _database_names(urls)))
        far = stack.enter_context(deploy.distances(place.server, sitting.launches, urls))
        near = stack.enter_context(deploy.bouncers(sitting.launches, far.urls))
        starts = _starts(sitting, place, near.urls, folder, detail=experiment.observe.detail)
        versions = {launch.id: place.sides.version_of(launch.cell) for launch in sitting.launches}
        targets = stack.enter_context(deploy.start_all(starts, probe=experiment.observe.probe))
        gauges = {start.launch.id: start.probe_dir for start in starts} if experiment.observe.probe else {}
        load_plan = replace(
            schedule.with_hosts(sitting, targets.hosts, _scenarios(sitting), folder, gauges),
            probe_user=_probe_request(sitting, experiment),
        )
        generator = stack.enter_context(drive.start(load_plan))  # loads the scenarios while the targets start
        running = targets.wait()
        emit(TargetsUp(index=sitting.index))
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
                bouncer_pids=near.pids,
            )
        )
        far.begin()
        generator.go()
        output = generator.wait(_ticks(sitting, folder, emit, rest_s))
        observation.stop()
        relays = far.readings()
    observed = observation.finish()  # a target writes its last lines as it stops
    observed = replace(observed, server=log.table(), gaps=(*observed.gaps, *log.gaps))
    for note in dict.fromkeys((*notes, *output.notes)):
        emit(Note(text=note))
    return Raw(
        sitting=sitting,
        output=output,
        observed=observed,
        targets=running,
        folder=folder,
        relays=relays,
        environment=environment.fingerprint(place.server),
        versions=versions,
    )


def _ticks(sitting: Sitting, folder: Path, emit: Emit, rest_s: float) -> Callable[[float], None]:
    """What to do a few times a second while the load goes on: say how far it is, and once a second how cells fare."""
    expected_s = schedule.expected_duration_s(sitting)
    figures = LiveFigures(folder, {launch.id: launch.cell.label for launch in sitting.launches})
    cells: tuple[CellTick, ...] = ()
    read_s = 0.0

    def tick(done_s: float) -> None:
        nonlocal cells, read_s
        if done_s - read_s >= 1.0:
            cells, read_s = figures.read(), done_s
        emit(LoadTick(done_s=done_s, expected_s=expected_s, rest_s=rest_s, cells=cells))

    return tick


def _starts(
    sitting: Sitting, place: Place, urls: Mapping[str, str], folder: Path, *, detail: bool
) -> list[deploy.TargetStart]:
    return [
        deploy.TargetStart(
            launch=replace(launch, cell=place.sides.deployed(launch.cell)),
            database_url=urls.get(launch.id),
            probe_dir=folder / f"probe-{launch.id}",
            log=folder / f"target-{launch.id}.log",
            detail=detail,
        )
        for launch in sitting.launches
    ]


def _database_names(urls: Mapping[str, str]) -> Mapping[str, str]:
    """Launch id by name of its database."""
    return {urlsplit(url).path.lstrip("/"): launch_id for launch_id, url in urls.items()}


def _probe_request(sitting: Sitting, experiment: Experiment) -> ProbeRequest | None:
    """What is asked beside the load: while that is measured, and once, in its middle, while it is checked.

    A staircase means to saturate.
    """
    asked = experiment.probe_user
    if not asked.request or sitting.purpose == "staircase":
        return None
    method, _, path = asked.request.partition(" ")
    checked_s = sum(turn.duration_s for turn in sitting.turns)
    rate_rps = 1 / checked_s if sitting.purpose == "check" else asked.rate_rps
    return ProbeRequest(method=method, path=path, rate_rps=rate_rps)


def _scenarios(sitting: Sitting) -> Mapping[str, Path]:
    names = {launch.cell.load.scenario for launch in sitting.launches}
    return {name: plan.resolve_scenario(name, Path.cwd()) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a sitting adds to a run for one launch."""

    evidence: TrialEvidence
    logs: Mapping[str, Path]


def trials(raw: Raw, experiment: Experiment, *, ceiling_rps: float | None) -> Iterator[Kept]:
    """The sitting divided: one trial for each launch.

    `ceiling_rps` is what one generator can send on this machine, None where that is not known.
    """
    for launch in raw.sitting.launches:
        yield _trial(raw, launch, experiment, ceiling_rps)


def _trial(raw: Raw, launch: Launch, experiment: Experiment, ceiling_rps: float | None) -> Kept:
    segments = tuple(s for s in raw.sitting.segments if s.launch_id == launch.id)
    ledger = _own_ledger(raw.output.ledger, launch.id, {s.index for s in segments})
    rows = raw.rows(launch.id)
    gaps = tuple(gap for gap in raw.observed.gaps if gap.launch_id in ("", launch.id))
    deaths = tuple(death for death in raw.observed.deaths if death.launch_id in ("", launch.id))
    names = ("activity", "probe", "process", "server", "counts", "log", "holds", "unreturned", "sites")
    tables: dict[str, Any] = {name: _own_rows(getattr(raw.observed, name), launch.id) for name in names}
    context = Context(
        probe=experiment.observe.probe,
        lost_workers=raw.output.lost_workers,
        clock_uncertainty_ms=max(environment.clock_uncertainty_ms(), raw.output.clock_uncertainty_ms),
        generator_ceiling_rps=None if launch.cell.load.has_several_generators else ceiling_rps,
        environment=raw.environment,
        scenario_notes=raw.output.notes,
        version=raw.versions[launch.id],
    )
    trial = Trial(
        id=launch.id,
        launch=replace(launch, cell=plan.cell_without_secrets(launch.cell)),
        sitting=raw.sitting.index,
        start_ns=raw.output.start_ns,
        segments=segments,
        ledger=ledger,
        context=context,
        gaps=gaps,
        relay=raw.relays.get(launch.id),
        applied=tuple(pool for pool in raw.observed.applied if pool.launch_id == launch.id),
        processes=tuple(process for process in raw.observed.processes if process.launch_id == launch.id),
        deaths=deaths,
        standstills=tuple(still for still in raw.observed.standstills if still.launch_id in ("", launch.id)),
    )
    (target,) = (target for target in raw.targets if target.launch_id == launch.id)
    logs = {} if target.log is None else {"target.log": target.log}
    evidence = TrialEvidence(
        trial=trial,
        requests=rows,
        generator=drive.read_generator_log(raw.folder),
        null=drive.read_null(raw.folder),
        probe_user=drive.read_probe_user(raw.folder, launch.id),
        **tables,
    )
    return Kept(evidence=evidence, logs=logs)


def _own_ledger(ledger: Ledger, launch_id: str, segments: set[int]) -> Ledger:
    return Ledger(
        tasks=tuple(t for t in ledger.tasks if t.segment in segments),
        endpoints=tuple(e for e in ledger.endpoints if e.segment in segments),
        turns=tuple(t for t in ledger.turns if t.launch_id == launch_id),
    )


def _own_rows(frame: pd.DataFrame, launch_id: str) -> pd.DataFrame:
    """The launch's readings and those that concern every launch."""
    own = frame[frame["launch_id"].isin([launch_id, ""])]
    return own.drop(columns="launch_id").reset_index(drop=True)
