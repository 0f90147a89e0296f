"""The only sequencing: an experiment becomes sittings, a sitting becomes trials, trials become a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__, analyse, environment, plan, present, schedule
from harness.domain.capacity import CellCapacity
from harness.domain.capacity_plan import CapacityPlan, Wanted
from harness.domain.cell import Cell
from harness.domain.events import Emit, Note, RunStarted, SittingFinished, SittingStarted
from harness.domain.evidence import RunInfo
from harness.domain.experiment import Experiment
from harness.domain.load import PILOT_BLOCK, Sitting
from harness.domain.rate import chosen_rate
from harness.domain.strategy import Outcome
from harness.domain.strict_json import strict_json
from harness.domain.tune import Tuning
from harness.errors import UsageError
from harness.places import Place, PlaceFor, places
from harness.profiles import load_profile
from harness.sitting import run_sitting, trials
from harness.steps import Told, is_stored, next_to_measure
from harness.store import RUN_SCHEMA_VERSION, RunStore
from harness.strategies import StrategyName, comparison, strategy_of

if TYPE_CHECKING:
    from harness.domain.verdict import Report


def create_store(experiment: Experiment, results_dir: Path) -> RunStore:
    """An empty run folder. Raises UsageError when the results folder cannot be written."""
    return RunStore.create(results_dir, experiment.name)


def run_experiment(experiment: Experiment, store: RunStore, *, emit: Emit, strategy: StrategyName = "fixed") -> None:
    """Measure every cell of an experiment and keep the evidence.

    What is finished when an exception ends the run stays readable in the store.

    Raises:
        PoolbenchError: as the rooms raise it; see harness.errors.
    """
    cells = plan.expand(experiment)
    emit(_started(store, cells))
    processes, cores = experiment.load.processes, environment.usable_cores()
    if processes > cores:
        emit(Note(text=present.crowded_text(processes, cores)))
    with places(store.run_id, emit, cells) as place_for:
        first = place_for(cells[0])
        first.check_ceilings(experiment, cells)
        info = _info(experiment, store, first, strategy)
        store.write_info(info)
        _measure_all(experiment, cells, place_for, store, emit, info, [])


def resume(store: RunStore, given: Experiment | None = None, *, emit: Emit) -> None:
    """Measure what a run that was cut short still lacks; `given` is its experiment again, with what is secret.

    Raises:
        UsageError: nothing is missing, or this is not what the run was started on.
    """
    info, done = store.read_info(), list[Outcome]()
    if _next_step(store, info, done) is None:
        raise UsageError(
            f"The run {store.run_id} is complete: nothing is left to resume.", next_step="Show it: poolbench report"
        )
    if given is not None and info.strategy == "two_stage":
        given = comparison(given)
    experiment = plan.with_secrets(info.experiment, given)
    cells = plan.expand(experiment)
    emit(_started(store, cells))
    with places(store.run_id, emit, cells) as place_for:
        _refuse_another_machine(info, environment.fingerprint(place_for(cells[0]).server))
        _measure_all(experiment, cells, place_for, store, emit, info, done)


def is_finished(store: RunStore) -> bool:
    """Whether nothing is left to measure."""
    return _next_step(store, store.read_info(), []) is None


def _next_step(store: RunStore, info: RunInfo, done: list[Outcome]) -> Sitting | None:
    """What a run lacks first, None where it lacks nothing; what it has is added to `done`."""
    strategy = strategy_of(info.strategy, info.experiment, info.cells, info.profile)
    return next_to_measure(strategy, store, _told(info.strategy, info.experiment), done)


def _info(experiment: Experiment, store: RunStore, place: Place, strategy: StrategyName) -> RunInfo:
    """run.json; made from the experiment without its secrets, so that none can be in it."""
    public = plan.without_secrets(experiment)
    return RunInfo(
        schema_version=RUN_SCHEMA_VERSION,
        run_id=store.run_id,
        created_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        poolbench_version=__version__,
        experiment=public,
        strategy=strategy,
        cells=plan.expand(public),
        environment=environment.fingerprint(place.server),
        profile=load_profile(),
    )


def publish(store: RunStore, on_unwritten: Callable[[str, OSError], None]) -> Report:
    """Analyse what is complete in a run and write summary.csv and the rendered reports beside it.

    A file that cannot be written is told: an archive or somebody else's run can be looked at all the same.
    """
    run = store.read()
    report = analyse.analyse(run)
    files = {name: render(report) for name, render in present.RENDERERS.items()}
    summary = analyse.summary_rows(run, report.summary).to_csv(index=False).encode()
    _write_all(store, {"summary.csv": summary, **files}, on_unwritten)
    return report


def publish_capacity(
    store: RunStore, on_unwritten: Callable[[str, OSError], None], wanted: Wanted | None = None
) -> tuple[tuple[CellCapacity, ...], CapacityPlan | None]:
    """The same for a search for a capacity, whose history is capacity.json; with a plan for what is wanted."""
    run = store.read()
    cells = analyse.capacities(run)
    planned = None if wanted is None else analyse.plan_capacity(cells, wanted)
    history = strict_json(present.capacity_dict(cells), indent=1).encode()
    files = {"capacity.json": history, "report.html": present.render_capacity(run.info, cells)}
    plan_file = {} if planned is None else {"plan.html": present.render_plan(run.info, planned)}
    _write_all(store, {**files, **plan_file}, on_unwritten)
    return cells, planned


def publish_tune(store: RunStore, on_unwritten: Callable[[str, OSError], None]) -> Tuning:
    """The same for a tune, whose figures are tune.json."""
    run = store.read()
    tuning = analyse.tuned(run)
    figures = strict_json(present.tune_dict(tuning, run.info.experiment), indent=1).encode()
    _write_all(store, {"tune.json": figures, "report.html": present.render_tune(run.info, tuning)}, on_unwritten)
    return tuning


def _write_all(store: RunStore, files: Mapping[str, bytes], on_unwritten: Callable[[str, OSError], None]) -> None:
    for name, content in files.items():
        try:
            store.write(name, content)
        except OSError as error:
            on_unwritten(name, error)


def _refuse_another_machine(info: RunInfo, now: Mapping[str, Any]) -> None:
    differing = sorted(key for key in now if now[key] != info.environment.get(key))
    if differing:
        raise UsageError(
            f"This is not what the run {info.run_id} was started on: {', '.join(differing)} changed.",
            next_step="Numbers from different environments are never mixed; start a new run.",
        )


def _measure_all(  # noqa: PLR0917 -- called by the two above, which open what it needs
    experiment: Experiment,
    cells: Sequence[Cell],
    place_for: PlaceFor,
    store: RunStore,
    emit: Emit,
    info: RunInfo,
    done: list[Outcome],
) -> None:
    """Take every step of the strategy that the run lacks, as its beginning knew the machine; `done` has the others."""
    strategy = strategy_of(info.strategy, experiment, cells, info.profile)
    told, profile = _told(info.strategy, experiment), load_profile()
    ceiling_rps = None if profile is None else profile.generator_ceiling_rps
    while (sitting := next_to_measure(strategy, store, told, done)) is not None:
        chosen = chosen_rate(experiment, cells, done)
        if chosen is not None and done[-1].launch.block == PILOT_BLOCK:
            emit(chosen)
        ahead = tuple(strategy.foreseen(done))
        place = place_for(sitting.launches[0].cell)
        rest_s = schedule.run_duration_s([step for step in ahead[1:] if not is_stored(store, step)])
        taken = {outcome.sitting for outcome in done if outcome.launch.block != PILOT_BLOCK}
        emit(_begun(sitting, len(taken) + 1, len(taken) + len(ahead), rest_s))
        raw = run_sitting(sitting, experiment, place, store.sitting_dir(sitting.index), emit, rest_s=rest_s)
        store.set_aside(launch.id for launch in sitting.launches)
        for kept in trials(raw, experiment, ceiling_rps=ceiling_rps):
            store.save_trial(kept.evidence, kept.logs)
        emit(SittingFinished(index=sitting.index, trials=tuple(launch.id for launch in sitting.launches)))


def _told(strategy: StrategyName, experiment: Experiment) -> Told:
    gate = experiment.gate if strategy == "two_stage" else None
    return Told(
        slo=experiment.slo,
        gate=gate,
        searching=experiment.probe_user if strategy == "capacity" else None,
        tuning=experiment if strategy == "tune" else None,
    )


def _started(store: RunStore, cells: Sequence[Cell]) -> RunStarted:
    return RunStarted(run_id=store.run_id, path=str(store.path), cells={cell.id: cell.label for cell in cells})


def _begun(sitting: Sitting, position: int, count: int, rest_s: float) -> SittingStarted:
    is_staircase = sitting.purpose == "staircase"
    return SittingStarted(
        index=0 if is_staircase else position,
        count=0 if is_staircase else count,
        again=any(launch.again for launch in sitting.launches),
        purpose="staircase" if is_staircase else "measure",
        launches={launch.id: launch.cell.label for launch in sitting.launches},
        expected_s=schedule.expected_duration_s(sitting),
        rest_s=rest_s,
    )
