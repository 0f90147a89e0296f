"""Locust's master: hands each worker its share of a load plan and puts together what comes back.

To the orchestrator it looks like one generator: the same files, with `workers.json` beside them that says in which
folder each worker's rows are and how far its clock is from this one. A worker that is lost before its counts are
acknowledged is left out of everything and named, which makes the measurement invalid.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.domain.load import LoadPlan
from harness.errors import InfrastructureError
from harness.generator.arrivals import is_saturated
from harness.generator.exchange import plan_of, read_raw_plan, wait_for
from harness.generator.fleet import Fleet, Worker, WorkerLostError
from harness.generator.merge import is_silent, merge_ledgers
from harness.generator.scenario import silence
from harness.generator.session import reporting
from harness.signals import ledger_of, publish

HEARD_NS = 20_000_000
"""how long a message to a worker takes at most, unless its machine is far away or overloaded"""

Results = Mapping[int, Any]
"""each worker's result by its stripe"""


def open_for_workers(environment: Any, plan_path: Path) -> Callable[[], int]:
    """Listen to workers from now on. Returns what to run in a greenlet of its own."""
    fleet = Fleet(environment.runner)
    return lambda: reporting(
        lambda: _coordinate(fleet, plan_path), lambda raw: publish(plan_path.parent / "failed.json", raw)
    )


def _coordinate(fleet: Fleet, plan_path: Path) -> None:
    raw = read_raw_plan(plan_path)
    plan = plan_of(raw)
    crew = fleet.gather(plan.processes if plan.workers is None else plan.workers.expect)
    try:
        start_ns = _start(fleet, crew, raw, plan)
    except WorkerLostError as lost:
        raise InfrastructureError(
            f"Worker {lost} of the load generator was lost before the load began.",
            next_step="See generator.log beside the load plan, and the worker's own output.",
        ) from None
    results = _results(fleet, crew)
    if not results:
        raise InfrastructureError("Every worker of the load generator was lost.", next_step="See generator.log.")
    _publish(plan, crew, results, start_ns)


def _start(fleet: Fleet, crew: Sequence[Worker], raw: Mapping[str, Any], plan: LoadPlan) -> int:
    """From the first order to the moment when the load begins."""
    fleet.look_after(crew)
    fleet.compare_clocks(crew)
    remote = plan.workers is not None
    paths = {str(launch.scenario) for launch in plan.launches}
    texts = {path: Path(path).read_text(encoding="utf-8") for path in paths if Path(path).is_file()} if remote else {}
    for worker in crew:
        worker.folder = plan.output_dir / f"worker-{worker.stripe}"
        worker.folder.mkdir(exist_ok=True)
        share = {"stripe": worker.stripe, "stripes": len(crew), "folder": "" if remote else str(worker.folder)}
        fleet.tell(worker, "orders", plan=raw, scenarios=texts, **share)
    for worker in crew:
        fleet.expect(worker, "heated")
    wait_for(plan.output_dir / "targets_up.json", lambda: fleet.look_after(crew))
    for worker in crew:
        fleet.tell(worker, "targets_up")
    ready = {worker.stripe: fleet.expect(worker, "ready") for worker in crew}
    publish(plan.output_dir / "ready.json", {"users": _users(ready.values()), "notes": _notes(ready.values())})
    start_ns = int(wait_for(plan.output_dir / "go.json", lambda: fleet.look_after(crew))["start_ns"])
    for worker in crew:
        fleet.tell(worker, "go", start_ns=start_ns + worker.offsets[0].offset_ns)
    return start_ns


def _results(fleet: Fleet, crew: Sequence[Worker]) -> Results:
    """Judge the staircase's steps and begin turns as all are ready; then take what each worker has to hand over."""
    going, finished = list(crew), {}
    while going:
        messages = _from_each(fleet, going)
        going = [worker for worker in going if worker.stripe in messages]
        if any(message["kind"] == "step" for message in messages.values()):
            _judge(fleet, going, messages)
        elif any(message["kind"] == "turn" for message in messages.values()):
            _begin(fleet, going, messages)
        else:
            finished = {worker.stripe: worker for worker in going}
            break
    results = {}
    for worker in finished.values():
        try:
            _take_files(fleet, worker, messages[worker.stripe]["files"])
            fleet.compare_clocks([worker])
        except WorkerLostError:
            continue
        fleet.tell(worker, "acknowledged")
        results[worker.stripe] = messages[worker.stripe]["result"]
    return results


def _from_each(fleet: Fleet, workers: Sequence[Worker]) -> dict[int, Any]:
    """The next message of each that is not lost."""
    messages = {}
    for worker in workers:
        try:
            messages[worker.stripe] = fleet.next_from(worker)
        except WorkerLostError:
            continue
    return messages


def _judge(fleet: Fleet, workers: Sequence[Worker], steps: Mapping[int, Any]) -> None:
    """All workers have executed the same step: together they know whether it was too much."""
    offered, served, dropped = (sum(step[what] for step in steps.values()) for what in ("offered", "served", "dropped"))
    too_much = is_saturated(offered=offered, served=served, dropped=dropped)
    for worker in workers:
        fleet.tell(worker, "judged", too_much=too_much)


def _begin(fleet: Fleet, workers: Sequence[Worker], ready: Mapping[int, Any]) -> None:
    """The next turn begins for all when the last of them can, and has heard of it."""
    at_ns = max(ready[worker.stripe]["at_ns"] - worker.offsets[0].offset_ns for worker in workers)
    at_ns = max(at_ns, time.monotonic_ns() + HEARD_NS)
    for worker in workers:
        fleet.tell(worker, "begin", at_ns=at_ns + worker.offsets[0].offset_ns)


def _take_files(fleet: Fleet, worker: Worker, files: Mapping[str, Any]) -> None:
    """Store what a worker on another machine has written, piece by piece, and check that it is all there."""
    for name, (size, checksum) in files.items():
        if Path(name).name != name:
            raise ValueError(f"worker {worker.name} sent a file called {name!r}")
        stored, crc = 0, 0
        with (worker.folder / name).open("wb") as file:
            while stored < size:
                data = fleet.expect(worker, "piece")["data"]
                file.write(data)
                stored, crc = stored + len(data), zlib.crc32(data, crc)
                fleet.tell(worker, "stored")
        if (stored, crc) != (size, checksum):
            raise RuntimeError(f"{name} of worker {worker.name} was damaged on its way")


def _publish(plan: LoadPlan, crew: Sequence[Worker], results: Results, start_ns: int) -> None:
    """One ledger for all, in this process's time, and where to find the rows."""
    ledgers = []
    for stripe, result in results.items():
        ledger, offset_ns = ledger_of(result), crew[stripe].offsets[0].offset_ns
        runs = (
            replace(
                run,
                start_ns=run.start_ns - offset_ns,
                end_ns=run.end_ns - offset_ns,
                idle_ns=run.idle_ns - offset_ns,
            )
            for run in ledger.turns
        )
        ledgers.append(replace(ledger, turns=tuple(runs)))
    together = merge_ledgers(ledgers)
    if is_silent(together):
        raise silence(plan.launches[0].scenario, sum(count.offered for count in together.tasks))
    publish(plan.output_dir / "workers.json", [_described(worker, worker.stripe in results) for worker in crew])
    raw = asdict(together) | {"start_ns": start_ns, "notes": _notes(results.values())}
    publish(plan.output_dir / "ledger.json", raw)


def _described(worker: Worker, acknowledged: bool) -> dict[str, Any]:
    return {
        "name": worker.name,
        "folder": worker.folder.name,
        "lost": not acknowledged,
        "offsets": [asdict(offset) for offset in worker.offsets],
    }


def _notes(said: Any) -> list[str]:
    return list(dict.fromkeys(note for one in said for note in one["notes"]))


def _users(said: Any) -> dict[str, dict[str, int]]:
    """All workers' instances, by launch and class."""
    total: dict[str, dict[str, int]] = {}
    for one in said:
        for launch_id, made in one["users"].items():
            counts = total.setdefault(launch_id, {})
            for name, count in made.items():
                counts[name] = counts.get(name, 0) + count
    return total
