"""What is watched while the load runs: Postgres, the pools and the processes, on one clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from harness.domain.deployed import RunningTarget, Server
from harness.domain.observed import Death, Observed, Standstill
from harness.domain.tables import (
    ACTIVITY_COLUMNS,
    COUNT_COLUMNS,
    HOLD_COLUMNS,
    LOG_COLUMNS,
    PROBE_COLUMNS,
    PROCESS_COLUMNS,
    SITE_COLUMNS,
    UNRETURNED_COLUMNS,
)
from harness.observe.deaths import DeathWatch, Watched, death_watch
from harness.observe.frames import table
from harness.observe.logs import LogSampler
from harness.observe.postgres import activity_sampler
from harness.observe.probe import read_applied, read_counts, read_holds, read_probe, read_sites, read_unreturned
from harness.observe.process import PostgresTreeSampler, ProcessSampler, Root, children_of, spare_cpus
from harness.observe.sampler import Sampler, SamplerLoop
from harness.observe.server import ServerLog, server_log

__all__ = ["Observation", "Sampler", "SamplerLoop", "ServerLog", "observe", "read_applied", "server_log"]

Between = Mapping[Literal["relay", "pgbouncer"], Mapping[str, int]]
"""What stands between targets and Postgres: process by launch."""
_POSTGRES_TREE_INTERVAL_S = 1.0
_LOG_INTERVAL_S = 0.1


class Observation:
    """The samplers of one sitting at work."""

    def __init__(
        self,
        *,
        activity: Sequence[SamplerLoop],
        process: Sequence[SamplerLoop],
        logs: Sequence[SamplerLoop],
        targets: Sequence[RunningTarget],
        watch: DeathWatch,
        trees: Sequence[ProcessSampler | PostgresTreeSampler],
    ) -> None:
        self._trees = trees
        self._standstills: tuple[Standstill, ...] | None = None
        self._activity = activity
        self._process = process
        self._logs = logs
        self._watch = watch
        self._targets = targets
        self._observed: Observed | None = None

    @property
    def deaths(self) -> tuple[Death, ...]:
        """Who has died until now."""
        return tuple(self._watch.deaths)

    @property
    def _loops(self) -> tuple[SamplerLoop, ...]:
        return (*self._activity, *self._process, *self._logs)

    def start(self) -> None:
        for loop in self._loops:
            loop.start()

    def pause(self) -> None:
        """Read nothing until `resume`, and let no interval pass; it leaves no gap.

        The probe inside the targets has a switch of its own.
        """
        for loop in self._loops:
            loop.pause()

    def resume(self) -> None:
        for loop in self._loops:
            loop.resume()

    def stop(self) -> None:
        """End the threads; calling it again does nothing. Who ends from now on may."""
        self._watch.stop()
        for loop in self._loops:
            loop.stop()
        if self._standstills is None:
            now_ns = time.monotonic_ns()
            found = [still for tree in self._trees for still in tree.standstills(now_ns)]
            self._standstills = tuple(sorted(found, key=lambda still: still.t_ns))

    def finish(self) -> Observed:
        """Stop, and return all readings; calling it again returns the same."""
        if self._observed is None:
            self.stop()
            probe, probe_gaps = read_probe(self._targets)
            counts, count_gaps = read_counts(self._targets)
            holds, hold_gaps = read_holds(self._targets)
            unreturned, unreturned_gaps = read_unreturned(self._targets)
            sites, site_gaps = read_sites(self._targets)
            engines, processes = read_applied(self._targets)
            self._observed = Observed(
                activity=table([row for loop in self._activity for row in loop.rows], ACTIVITY_COLUMNS),
                probe=table(probe, PROBE_COLUMNS),
                process=table([row for loop in self._process for row in loop.rows], PROCESS_COLUMNS),
                # of the logs' a gap only means that less is known of when a line was written
                gaps=(
                    *(gap for loop in (*self._activity, *self._process) for gap in loop.gaps),
                    *probe_gaps,
                    *count_gaps,
                    *hold_gaps,
                    *unreturned_gaps,
                    *site_gaps,
                ),
                counts=table(counts, COUNT_COLUMNS),
                holds=table(holds, HOLD_COLUMNS),
                unreturned=table(unreturned, UNRETURNED_COLUMNS),
                sites=table(sites, SITE_COLUMNS),
                log=table([row for loop in self._logs for row in loop.rows], LOG_COLUMNS),
                applied=engines,
                processes=processes,
                deaths=self.deaths,
                standstills=self._standstills or (),
            )
        return self._observed


@contextmanager
def observe(
    *,
    server: Server | None,
    targets: Sequence[RunningTarget],
    generator_pid: int,
    interval_s: float,
    relay_pids: Mapping[str, int] | None = None,
    bouncer_pids: Mapping[str, int] | None = None,
) -> Iterator[Observation]:
    """Watch `targets`, their databases on `server` (None: there is none to see) and the generator within the block.

    Relays and PgBouncers are told by the launch that they belong to.

    `interval_s` is the mean time between two readings. Where the targets are pinned to some processors, the samplers
    keep to the others. `Observation.finish` gives the readings, inside the block or after it.

    Raises:
        InfrastructureError: Postgres gives the observer no connection.
    """
    with ExitStack() as stack:
        between: Between = {"relay": relay_pids or {}, "pgbouncer": bouncer_pids or {}}
        processes = ProcessSampler(_roots(targets, generator_pid, between))
        trees: list[ProcessSampler | PostgresTreeSampler] = [processes]
        stack.callback(processes.close)
        cpus = spare_cpus(pid for target in targets for pid in target.pids)
        activity: list[SamplerLoop] = []
        process: list[SamplerLoop] = [SamplerLoop(processes, interval_s=interval_s, cpus=cpus)]
        databases = _launch_of_database(targets)
        if server is not None and databases:
            sampler = stack.enter_context(activity_sampler(server, databases))
            activity.append(SamplerLoop(sampler, interval_s=interval_s, cpus=cpus))
        if server is not None and server.pid is not None:
            interval_tree_s = max(interval_s, _POSTGRES_TREE_INTERVAL_S)
            tree = PostgresTreeSampler(server.pid, databases)
            trees.append(tree)
            process.append(SamplerLoop(tree, interval_s=interval_tree_s, cpus=cpus))
        written = {target.launch_id: target.log for target in targets if target.log is not None}
        logs = [SamplerLoop(LogSampler(written), interval_s=_LOG_INTERVAL_S, cpus=cpus, last=True)] if written else []
        watch = stack.enter_context(death_watch(tuple(_needed(server, targets, between))))
        observation = Observation(
            activity=activity, process=process, logs=logs, targets=targets, watch=watch, trees=trees
        )
        observation.start()
        stack.callback(observation.stop)
        yield observation


def _needed(server: Server | None, targets: Sequence[RunningTarget], between: Between) -> Iterator[Watched]:
    """The processes without which there is nothing to measure. The generator's end is seen where it is waited for."""
    for target in targets:
        yield from (Watched(pid=pid, role="target", launch_id=target.launch_id) for pid in target.pids)
        yield from (Watched(pid=pid, role="worker", launch_id=target.launch_id) for pid in target.workers)
    for role, pids in between.items():
        yield from (Watched(pid=pid, role=role, launch_id=launch_id) for launch_id, pid in pids.items())
    if server is not None and server.pid is not None:
        yield Watched(pid=server.pid, role="postgres", launch_id="")
        yield from (
            Watched(pid=pid, role="checkpointer", launch_id="")
            for pid in children_of(server.pid)
            if b"checkpointer" in _command_line(pid)
        )


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _launch_of_database(targets: Sequence[RunningTarget]) -> dict[str, str]:
    """Database name -> launch id, "" where several launches of a running service share a database."""
    launches: dict[str, str] = {}
    for target in targets:
        if target.database is not None:
            launches[target.database] = "" if target.database in launches else target.launch_id
    return launches


def _roots(targets: Sequence[RunningTarget], generator_pid: int, between: Between) -> list[Root]:
    roots = [Root(pid=pid, role="target", launch_id=target.launch_id) for target in targets for pid in target.pids]
    for role, pids in between.items():
        roots += [Root(pid=pid, role=role, launch_id=launch_id) for launch_id, pid in pids.items()]
    roots.append(Root(pid=generator_pid, role="generator", launch_id=""))
    roots.append(Root(pid=os.getpid(), role="harness", launch_id="", descendants=False))
    return roots
