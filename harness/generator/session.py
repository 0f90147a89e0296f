"""One generator process from its load plan to its ledger, or to the reason why there is none."""

from __future__ import annotations

import dataclasses
import gc
import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gevent

from harness.domain.load import LaunchLoad, LoadPlan
from harness.errors import InfrastructureError, PoolbenchError, UsageError
from harness.generator.arrivals import InFlight
from harness.generator.book import Book
from harness.generator.engine import Engine
from harness.generator.exchange import publish, read_plan
from harness.generator.launch import HotLaunch
from harness.generator.monitor import watching
from harness.generator.recorder import Recorder
from harness.generator.scenario import Scenario, load_scenario
from harness.generator.tally import Tally

POLL_S = 0.002


def run(plan_path: Path, parent_pid: int, parsed_options: Any) -> int:
    """Execute the plan at `plan_path`. Returns the exit code; a failure is described in failed.json."""
    output_dir = plan_path.parent
    try:
        _execute(read_plan(plan_path), parent_pid, parsed_options)
    except PoolbenchError as error:
        publish(output_dir / "failed.json", _failure(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 -- the orchestrator reports it
        cause = f"The load generator failed: {type(error).__name__}: {error}."
        bug = PoolbenchError(cause, detail="".join(traceback.format_exception(error)))
        publish(output_dir / "failed.json", _failure(bug))
        return bug.exit_code
    return 0


def _execute(plan: LoadPlan, parent_pid: int, parsed_options: Any) -> None:
    tally, output_dir = Tally(), plan.output_dir
    with ExitStack() as stack:
        launches = [_heat(stack, load, plan, tally, parsed_options) for load in plan.launches]
        engine = Engine(plan, launches, tally)
        flushes = [hot.book.recorder.flush for hot in launches]
        stack.enter_context(watching(output_dir / "generator.jsonl", engine, flushes, parent_pid))
        _wait_for(output_dir / "targets_up.json")
        for hot in launches:
            _fire(hot.scenario, "test_start")
        users = engine.make_ready()
        with _quiet_collector():
            publish(output_dir / "ready.json", {"users": users, "notes": _notes(launches)})
            start_ns = int(_wait_for(output_dir / "go.json")["start_ns"])
            ledger = engine.execute(start_ns)
    publish(output_dir / "ledger.json", dataclasses.asdict(ledger) | {"start_ns": start_ns, "notes": _notes(launches)})


def _heat(stack: ExitStack, load: LaunchLoad, plan: LoadPlan, tally: Tally, parsed_options: Any) -> HotLaunch:
    """Load one launch's scenario and open its books."""
    segments = [segment for segment in plan.segments if segment.launch_id == load.launch_id]
    scenario = load_scenario(load, {segment.model for segment in segments}, parsed_options)
    _fire(scenario, "init", runner=None, web_ui=None)
    recorder = stack.enter_context(Recorder(plan.output_dir, load.launch_id))
    users = max((segment.users or 0 for segment in segments), default=0)
    return HotLaunch(
        load=load,
        scenario=scenario,
        book=Book(recorder, tally),
        in_flight=InFlight(max(load.max_in_flight, users)),
        notes=list(scenario.notes),
    )


def _fire(scenario: Scenario, event: str, **arguments: Any) -> None:
    """Tell the scenario's listeners, as Locust would."""
    hook: Any = getattr(scenario.environment.events, event)
    hook.fire(environment=scenario.environment, **arguments)


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


def _wait_for(path: Path) -> Any:
    """The content of a file that the orchestrator is about to write. It kills this process if it never does."""
    while not path.exists():
        gevent.sleep(POLL_S)
    return json.loads(path.read_text(encoding="utf-8"))


def _notes(launches: Sequence[HotLaunch]) -> list[str]:
    """What is to be said to the user, each thing once."""
    notes = [note for hot in launches for note in hot.notes]
    if any(hot.book.recorder.endpoints.overflown for hot in launches):
        notes.append('The scenario calls too many different paths: give its requests name="/items/{id}".')
    return list(dict.fromkeys(notes))


def _failure(error: PoolbenchError) -> dict[str, str]:
    kinds = ((UsageError, "usage"), (InfrastructureError, "infrastructure"))
    kind = next((name for error_type, name in kinds if isinstance(error, error_type)), "bug")
    return {"kind": kind, "cause": error.cause, "next_step": error.next_step, "detail": error.detail}
