"""How a run decides what to measure next, by name, and experiments made ready for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from harness import analyse, plan, present, schedule
from harness.domain.cell import Cell
from harness.domain.design import design_kind
from harness.domain.evidence import Run
from harness.domain.experiment import Experiment
from harness.domain.gate import BASE, BASE_AGAIN, HEAD
from harness.domain.profile import MachineProfile
from harness.domain.rate import rate_share
from harness.domain.strategy import Strategy
from harness.errors import AnswerIsNo, UsageError

StrategyName = Literal["fixed", "two_stage", "capacity", "tune"]

TUNED_KEYS = ("pool.pool_size", "pool.max_overflow", "target.workers", "target.threadpool_tokens")
SIZES = (1, 2, 3, 5, 8, 12, 20)
"""of a pool, that are tried where an experiment names none"""
_FROZEN = "target.gc_freeze"
_EXAMPLE = 'Write [arms.base] with target.ref = "main", and an empty [arms.head].'


def comparison(experiment: Experiment) -> Experiment:
    """The experiment with its base a second time, and with as many launches at most as a stage has time for.

    Raises:
        UsageError: it has no two sides, or nothing of it can be compared.
    """
    if set(experiment.arms) != {BASE, HEAD}:
        has = f"its arms are {', '.join(experiment.arms)}" if experiment.arms else "it has no arms"
        raise UsageError(f"{experiment.name} has no two sides to compare: {has}.", next_step=_EXAMPLE)
    if varied := [key for key, values in experiment.matrix.items() if len(values) > 1]:
        raise UsageError(
            f"Two sides are compared in one configuration, and [matrix] varies {', '.join(varied)}.",
            next_step=f"Choose one: --set {varied[0]}={experiment.matrix[varied[0]][0]}.",
        )
    if experiment.load.model == "closed":
        raise UsageError(
            "Two sides are compared under open load: in the closed model a slower side is sent less.",
            next_step="Set load.rate_rps instead of load.users.",
        )
    analyse.judges_of(experiment.gate)
    base, head = experiment.arms[BASE], experiment.arms[HEAD]
    named = tuple(dict.fromkeys((*experiment.named, _FROZEN)))  # of an own app too: it halves the noise
    sides = replace(experiment, arms={BASE: base, BASE_AGAIN: base, HEAD: head}, named=named)
    cells = plan.expand(sides)
    return replace(sides, design=replace(sides.design, launches=schedule.most_blocks(sides, cells)))


def head_alone(experiment: Experiment, base: Run) -> Experiment:
    """The experiment without its base, to be held against a run that was measured before, as that was measured.

    A share of a capacity is the rate that it led to then: found anew it would be another load. A comparison freezes
    what a service has in memory after its start, whatever its file names, so a head beside one does.
    """
    cells = analyse.as_measured(base)
    load, rates = experiment.load, {cell.rate_rps for cell in cells}
    if load.rate is not None and load.rate == base.info.experiment.load.rate and len(rates) == 1:
        load = replace(load, rate=None, rate_rps=next(iter(rates)))
    design = experiment.design
    if "design.launches" not in experiment.named:
        design = replace(design, launches=max(design.launches, analyse.FIRST_BLOCKS))  # fewer show no change of a clock
    frozen = [key for key in (_FROZEN,) if any(key in cell.named for cell in cells)]
    return replace(
        experiment,
        arms={HEAD: experiment.arms[HEAD]} if HEAD in experiment.arms else experiment.arms,
        load=load,
        design=design,
        named=tuple(dict.fromkeys((*experiment.named, *frozen))),
    )


def searchable(experiment: Experiment) -> Experiment:
    """The experiment, if a capacity can be searched for in each of its cells.

    Raises:
        UsageError: nothing says what is good enough, or the load leaves no rate to be searched for.
    """
    if not experiment.slo.promised and not experiment.probe_user.slo.is_given:
        raise UsageError(
            f"{experiment.name} promises nothing, so that any rate would do.",
            next_step="Say what is good enough: [slo] p95_ms = 100.",
        )
    if experiment.load.model == "closed":
        raise UsageError(
            "A capacity is a rate of arrivals, and the closed model has none: its users wait for each answer.",
            next_step="Set load.rate_rps, the first rate to be tried, instead of load.users.",
        )
    if experiment.load.rate is not None:
        raise UsageError(
            f'load.rate = "{experiment.load.rate}" is a share of the capacity that is searched for.',
            next_step="Set load.rate_rps instead, the first rate to be tried.",
        )
    if rate_share(experiment.capacity.precision) is None:
        raise UsageError(
            f'capacity.precision = "{experiment.capacity.precision}" is no percentage above 0.',
            next_step='Write it as precision = "10%".',
        )
    return experiment


def tunable(experiment: Experiment) -> Experiment:
    """The experiment, if the smallest size that is good enough can be looked for in it.

    Raises:
        UsageError: what it varies is no size, nothing says what is good enough, or nothing can be compared.
        AnswerIsNo: no size of it fits the budget.
    """
    asked, target = experiment.tune, experiment.target
    if experiment.arms:
        raise UsageError(
            f"{experiment.name} has arms, and a tune looks for a size of one service.",
            next_step="Write what the service is to run with into its sections, without [arms].",
        )
    varied = analyse.tuned_keys(experiment)
    if wrong := [key for key in varied if key not in TUNED_KEYS]:
        raise UsageError(
            f"[matrix] varies {wrong[0]}, which is no size; a tune varies {', '.join(TUNED_KEYS)}.",
            next_step=f"Choose one value (--set {wrong[0]}=VALUE), or compare them with poolbench run.",
        )
    if target.url is not None or experiment.pool.pool_class == "null":
        why = "target.url runs already" if target.url is not None else 'a pool of pool.pool_class = "null" has no size'
        raise UsageError(f"Nothing can be tuned: {why}.", next_step="Let poolbench start the service, with a queue.")
    if experiment.load.model == "closed":
        raise UsageError(
            "Sizes are compared under open load: in the closed model a smaller pool is sent less.",
            next_step="Set load.rate_rps, or load.rate, instead of load.users.",
        )
    if rate_share(asked.margin) is None:
        raise UsageError(
            f'tune.margin = "{asked.margin}" is no percentage above 0.', next_step='Write it as margin = "15%".'
        )
    if asked.good_enough == "slo" and not (experiment.slo.promised or experiment.probe_user.slo.is_given):
        raise UsageError(
            'tune.good_enough = "slo", and nothing is promised.',
            next_step="Say what is good enough: [slo] p95_ms = 100.",
        )
    if asked.replicas is not None:
        plan.fleet_of({"replicas": asked.replicas, "surge": asked.surge}, "[tune]")
    cells = plan.expand(experiment)
    if not any(analyse.fits(experiment, cell) for cell in cells):
        smallest = min(cells, key=lambda cell: cell.connection_ceiling or 0)
        raise AnswerIsNo(
            f"No size fits: {asked.replicas} replicas of {smallest.label} already want more connections than "
            f"max_connections = {asked.max_connections} leaves.",
            next_step="poolbench budget shows the sum. Lower tune.replicas, or raise tune.max_connections.",
        )
    return experiment


def foreseen(sides: Experiment, profile: MachineProfile | None) -> Iterator[str]:
    """What is to be known before two sides are measured, in sentences."""
    cells = plan.expand(sides)
    requests = schedule.requests_per_launch(list(schedule.FixedDesign(sides, cells).foreseen(())))
    sd = schedule.launch_noise_sd(design_kind(sides, cells)[0], requests, "p95", profile)
    blocks = sides.design.launches
    visible = analyse.smallest_visible_before(sides.gate, sd, blocks)
    yield present.comparison_text(blocks, visible, calibrated=profile is not None)
    if sides.target.gc_freeze:
        yield present.FROZEN


def strategy_of(
    name: StrategyName, experiment: Experiment, cells: Sequence[Cell], profile: MachineProfile | None
) -> Strategy:
    """The strategy of that name, with what calibration knew of the machine as the run began."""
    strategies: dict[StrategyName, Callable[[], Strategy]] = {
        "fixed": lambda: schedule.FixedDesign(experiment, cells),
        "capacity": lambda: schedule.CapacitySearch(experiment, cells, profile),
        "tune": lambda: schedule.TuneSearch(
            experiment, cells, partial(analyse.next_launches, experiment, cells, profile)
        ),
        "two_stage": lambda: schedule.TwoStage(experiment, cells, partial(analyse.blocks_wanted, experiment.gate)),
    }
    return strategies[name]()
