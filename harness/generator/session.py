"""One generator process from its load plan to its ledger, or to the reason why there is none."""

from __future__ import annotations

import dataclasses
import gc
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from locust.runners import STATE_SPAWNING

from harness.domain.load import LaunchLoad, LoadPlan
from harness.errors import PoolbenchError, refused_by_the_system
from harness.generator.arrivals import WHOLE, InFlight, Share, is_saturated
from harness.generator.book import Book, SegmentAccount
from harness.generator.engine import Engine, Pace
from harness.generator.exchange import read_plan, wait_for
from harness.generator.launch import HotLaunch
from harness.generator.monitor import watching
from harness.generator.null_user import asking_nothing
from harness.generator.probe_user import probe_user
from harness.generator.recorder import Recorder
from harness.generator.rounds import Rounds, follow_rounds
from harness.generator.scenario import load_scenario
from harness.generator.stats import StatsReader
from harness.generator.tally import Tally
from harness.generator.uncaught import uncaught
from harness.signals import failure, publish

SEED_VARIABLE = "POOLBENCH_SEED"
"""What scenarios draw from: the same for all cells of a block, another for each process."""

Users = dict[str, dict[str, int]]
"""instances by launch and class"""


class Control(Pace, Protocol):
    """Whoever tells this process when, and wants to know what became of it."""

    def wait_for_targets(self) -> None:
        """Until every target answers."""

    def ready(self, users: Users, notes: Sequence[str]) -> int:
        """Say that the users are made. Returns the plan's time zero, once it is set."""


class Files:
    """The orchestrator, on the other side of the output folder."""

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir

    def wait_for_targets(self) -> None:
        wait_for(self._output_dir / "targets_up.json")

    def ready(self, users: Users, notes: Sequence[str]) -> int:
        publish(self._output_dir / "ready.json", {"users": users, "notes": list(notes)})
        return int(wait_for(self._output_dir / "go.json")["start_ns"])

    def was_too_much(self, account: SegmentAccount) -> bool:
        return is_saturated(offered=account.offered, served=account.served, dropped=account.dropped)

    def next_turn(self, at_ns: int) -> int:
        return at_ns


def run(plan_path: Path, parsed_options: Any) -> int:
    """Execute the plan at `plan_path` alone. Returns the exit code; a failure is described in failed.json."""

    def alone() -> None:
        plan = read_plan(plan_path)
        result = execute(plan, Files(plan.output_dir), parsed_options)
        publish(plan.output_dir / "ledger.json", result)

    return reporting(alone, lambda raw: publish(plan_path.parent / "failed.json", raw))


def reporting(work: Callable[[], None], report: Callable[[dict[str, str]], None]) -> int:
    """Do the work; a failure is reported as plain values. Returns the exit code."""
    try:
        work()
    except PoolbenchError as error:
        report(failure(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 -- the orchestrator reports it
        if isinstance(error, OSError) and (refused := refused_by_the_system(error, Path.cwd())) is not None:
            report(failure(refused))
            return refused.exit_code
        cause = f"The load generator failed: {type(error).__name__}: {error}."
        bug = PoolbenchError(cause, detail="".join(traceback.format_exception(error)))
        report(failure(bug))
        return bug.exit_code
    return 0


def execute(plan: LoadPlan, control: Control, parsed_options: Any, share: Share = WHOLE) -> dict[str, Any]:
    """Execute this process's share of the plan. Returns what belongs into ledger.json."""
    os.environ[SEED_VARIABLE] = f"{plan.environment.get(SEED_VARIABLE, '1')}/{share.stripe}"
    tally, output_dir = Tally(), plan.output_dir
    with ExitStack() as stack:
        rounds = stack.enter_context(follow_rounds())
        heat = partial(_heat, stack, plan=plan, tally=tally, parsed_options=parsed_options, share=share, rounds=rounds)
        launches = [heat(load) for load in plan.launches]
        engine = Engine(plan, launches, tally, share=share, pace=control)
        stack.enter_context(uncaught(engine.fail))
        flushes = [hot.book.recorder.flush for hot in launches]
        if plan.null_url is not None:
            flushes.append(stack.enter_context(_null(plan, launches[0], rounds, share)).flush)
        if plan.probe_user is not None:
            for hot in launches:
                asking = probe_user(output_dir, hot, plan.probe_user, asks=share.stripe == 0)
                flushes.append(stack.enter_context(asking).flush)
        stack.enter_context(watching(output_dir / "generator.jsonl", engine, flushes))
        control.wait_for_targets()
        for hot in launches:
            hot.scenario.runner.state = STATE_SPAWNING
            hot.tell("test_start", before_load=True, environment=hot.scenario.environment)
        users = engine.make_ready()
        with _quiet_collector():
            start_ns = control.ready(users, _notes(launches))
            ledger = engine.execute(start_ns)
    return dataclasses.asdict(ledger) | {"start_ns": start_ns, "notes": _notes(launches)}


def _heat(
    stack: ExitStack,
    load: LaunchLoad,
    *,
    plan: LoadPlan,
    tally: Tally,
    parsed_options: Any,
    share: Share,
    rounds: Rounds,
) -> HotLaunch:
    """Load one launch's scenario and open its books."""
    segments = [segment for segment in plan.segments if segment.launch_id == load.launch_id]
    scenario = load_scenario(load, {segment.model for segment in segments}, parsed_options, share)
    recorder = stack.enter_context(Recorder(plan.output_dir, load.launch_id))
    scenario.environment.catch_up = StatsReader(recorder).catch_up
    users = max((segment.users or 0 for segment in segments), default=0)
    hot = HotLaunch(
        load=load,
        scenario=scenario,
        book=Book(recorder, tally),
        in_flight=InFlight(max(1, share.of(load.max_in_flight), share.of(users))),
        rounds=rounds,
        share=share,
        notes=list(scenario.notes),
    )
    environment = scenario.environment
    hot.tell("init", before_load=True, environment=environment, runner=environment.runner, web_ui=None)
    return hot


def _null(plan: LoadPlan, like: HotLaunch, rounds: Rounds, share: Share) -> AbstractContextManager[Recorder]:
    """Ask the plan's service that does nothing, beside the load; all launches of a plan have one kind of client."""
    assert plan.null_url is not None
    return asking_nothing(
        plan.null_url,
        like.scenario.user_classes,
        plan.output_dir,
        rounds,
        timeout_s=like.load.request_timeout_s,
        seed=share.stripe,
    )


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Keep what was loaded out of the garbage collector's sight, and make collections rare during the load.

    A request leaves hardly any cycles, so they would find nothing and cost up to 30 ms; a failed request leaves some,
    and after a thousand of those the youngest objects are collected.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 1_000, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _notes(launches: Sequence[HotLaunch]) -> list[str]:
    """What is to be said to the user, each thing once."""
    notes = [note for hot in launches for note in hot.notes]
    if any(hot.book.recorder.endpoints.overflown for hot in launches):
        notes.append('The scenario calls too many different paths: give its requests name="/items/{id}".')
    return list(dict.fromkeys(notes))
