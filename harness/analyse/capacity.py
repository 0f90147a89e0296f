"""What the launches of a search say: whether each met the SLO, and what the search found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.analyse.applied import read_back
from harness.analyse.binding import binding_of
from harness.analyse.endpoint_figures import SHARES
from harness.analyse.findings import BREAKDOWNS
from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import Launches, measure_launches
from harness.analyse.measured import ALL
from harness.analyse.probe_user import not_kept
from harness.analyse.queueing import SHORTFALL_MAX, judge_queue
from harness.domain.binding import Binding
from harness.domain.budget import Service
from harness.domain.capacity import CellCapacity, Found, MeasuredStep, Result, Step
from harness.domain.cell import Cell
from harness.domain.evidence import Run, Trial
from harness.domain.experiment import Experiment, Limits, ProbeUser, Slo
from harness.domain.search import replayed
from harness.domain.strategy import Outcome


def result_of(launch: LaunchFigures, slo: Slo, probe_user: ProbeUser) -> tuple[Result, tuple[str, ...]]:
    """Whether a launch met the SLO, what is promised of its probe user included, and which promises it broke.

    A service that broke down or was offered more than it can carry met nothing, however quick its first answers were.
    What would pass although its queue had not found its length is unsettled: in a steady state latency is higher.
    """
    broken = [name for endpoint, limits in slo.promised.items() for name in _broken(launch, endpoint, limits)]
    broken += not_kept(probe_user, launch.probe_user_ms)
    queue = judge_queue([] if launch.queue is None else [launch.queue])
    if any(reason.code in BREAKDOWNS for reason in launch.certificate.reasons):
        broken.append("broke down")
    if queue.saturated:
        broken.append("saturated")
    if broken:
        return "fail", tuple(broken)
    return ("unsettled" if queue.from_empty else "pass"), ()


def _broken(launch: LaunchFigures, endpoint: str, limits: Limits) -> Iterator[str]:
    """What of an endpoint's limits a launch did not keep; of one that it did not ask for nothing is known."""
    own = launch.by_endpoint.get(endpoint)
    if own is None:
        return
    of = "" if endpoint == ALL else f" of {endpoint}"
    for name, share, limit_ms in (
        ("p50_ms", 0.5, limits.p50_ms),
        ("p95_ms", 0.95, limits.p95_ms),
        ("p99_ms", 0.99, limits.p99_ms),
    ):
        if limit_ms is not None and own.quantiles_ms[SHARES.index(share)] > limit_ms:
            yield f"{name}{of}"
    if limits.error_rate is not None and own.error_rate > limits.error_rate:
        yield f"error_rate{of}"


def capacities(run: Run) -> tuple[CellCapacity, ...]:
    """What the search found of each cell, with every launch that led there."""
    launches = measure_launches(run)
    return tuple(_of_cell(run, cell, launches) for cell in run.info.cells)


def _of_cell(run: Run, cell: Cell, launches: Launches) -> CellCapacity:
    experiment = run.info.experiment
    counted = {own.trial.id: own for own in launches.of(cell.id)}
    trials = [evidence.trial for evidence in run.trials if evidence.trial.launch.cell.id == cell.id]
    done = [
        Outcome(
            launch=trial.launch,
            sitting=trial.sitting,
            result=_result(counted[trial.id], experiment)[0] if trial.id in counted else None,
        )
        for trial in sorted(trials, key=lambda trial: trial.launch.block)
    ]
    state, steps = replayed(experiment, run.info.profile, done)
    found = state if isinstance(state, Found) else None

    confirmed = {own.launch.id: step.probe.rate_rps for own, step in steps if step.probe.role == "confirm"}
    held, broke = (
        [counted[launch] for launch, rate_rps in confirmed.items() if rate_rps == end_rps]
        for end_rps in (found and found.highest_pass_rps, found and found.lowest_fail_rps)
    )
    return CellCapacity(
        cell=cell,
        steps=tuple(_measured(counted[outcome.launch.id], step, experiment) for outcome, step in steps),
        found=found,
        replica=replica_of(trials[0]) if trials else None,
        limit=_binding(broke) if broke else None,
        used=_binding(held).used if held else {},
        spoilt=tuple(own.trial.id for own in launches.excluded_of(cell.id)),
        certificates={trial.id: launches.certificates[trial.id] for trial in trials},
    )


def _binding(launches: Sequence[LaunchFigures]) -> Binding:
    """What binds in launches at one rate."""
    offered, carried = (sum(getattr(own.all, name) for own in launches) for name in ("requests", "carried"))
    saturated = judge_queue([own.queue for own in launches if own.queue is not None]).saturated
    return binding_of([own.waits for own in launches], short=saturated and carried < (1 - SHORTFALL_MAX) * offered)


def replica_of(trial: Trial) -> Service | None:
    """What a launch started, as a replica of a fleet: as its processes said, else as the cell has it.

    None where its pools differ in size, where nothing limits one, or where their size is not known.
    """
    cell, engines = trial.launch.cell, trial.applied
    if cell.decides_pool and (not engines or cell.pool.pool_class == "psycopg_pool"):  # which no engine shows
        sizes = {(cell.pool.pool_size, cell.pool.max_overflow)} if cell.pool.ceiling is not None else set()
    else:
        sizes = {
            (engine.pool_size or 0, -1 if engine.max_overflow is None else engine.max_overflow) for engine in engines
        }
    if len(sizes) != 1:
        return None
    ((pool_size, max_overflow),) = sizes
    if pool_size < 1 or max_overflow < 0:  # to SQLAlchemy, any number
        return None
    workers, *_ = (*read_back(trial)["target.workers"], cell.target.workers)
    return Service(
        replicas=1,
        workers=workers,
        engines=max(Counter(engine.pid for engine in engines).values(), default=1),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pgbouncer=cell.target.pgbouncer,
    )


def _result(launch: LaunchFigures, experiment: Experiment) -> tuple[Result, tuple[str, ...]]:
    return result_of(launch, experiment.slo, experiment.probe_user)


def _measured(launch: LaunchFigures, step: Step, experiment: Experiment) -> MeasuredStep:
    cell = launch.trial.launch.cell
    ceiling = cell.connection_ceiling if cell.decides_pool else None
    p50_ms, p95_ms, p99_ms = (launch.all.quantiles_ms[SHARES.index(share)] for share in (0.5, 0.95, 0.99))
    return MeasuredStep(
        launch_id=launch.trial.id,
        rate_rps=step.probe.rate_rps,
        role=step.probe.role,
        times=step.probe.times,
        result=step.result,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        error_rate=launch.all.error_rate,
        carried_rps=launch.all.carried / launch.seconds if launch.seconds else math.nan,
        connections_peak=launch.connections.peak,
        connections=launch.connections.means,
        cpu_share=launch.target_cpu_s / (launch.seconds * cell.target.workers) if launch.seconds else math.nan,
        pool_used_share=launch.pool_used_mean / ceiling if ceiling else math.nan,
        broken_promises=_result(launch, experiment)[1],
    )
