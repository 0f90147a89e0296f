"""Starts Locust, hands it a load plan, and collects what it wrote.

The generator is another process, in a session of its own, which is killed when the block ends, whatever happened in
it. The two meet at the files of docs/formats.md; nothing here imports Locust, which patches the process it is in.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import harness
from harness.collect import read_generator_log, read_null, read_probe_user, read_rows, read_workers
from harness.domain.ledger import check_ledger
from harness.domain.load import LaunchLoad, LoadOutput, LoadPlan
from harness.domain.secrets import MASK, looks_secret, masked
from harness.errors import InfrastructureError
from harness.null import serving_nothing
from harness.signals import error_of, ledger_of, publish

__all__ = ["Generator", "check_ledger", "read_generator_log", "read_null", "read_probe_user", "read_rows", "start"]

_POLL_S = 0.01
_TICK_S = 0.25
_SLACK_S = 30.0
_SERVICE_PATIENCE = 3
"""request timeouts for which a launch's service may stay at work after its load (see the generator's engine)"""
_ANSWER_S = 0.3
_LOG_LINES = 15
_EPHEMERAL_MIN = 32_768
_REMOTE_DELAY_S = 0.5
"""Before the load begins, so that every worker knows when."""


class Generator:
    """A running generator. Called in this order: targets_up, wait_ready, go, wait."""

    def __init__(self, process: subprocess.Popen[bytes], plan: LoadPlan) -> None:
        self._process = process
        self._plan = plan
        self._output_dir = plan.output_dir
        self._start_ns = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def targets_up(self) -> None:
        """Say that every target answers: users may be made and run on_start."""
        publish(self._output_dir / "targets_up.json", {})

    def wait_ready(self, timeout_s: float = 60.0) -> tuple[str, ...]:
        """Wait until the users are made. Returns what is to be told the user once.

        Raises UsageError when the scenario cannot be run, InfrastructureError when the generator dies or takes longer.
        """
        ready = self._wait_for("ready.json", timeout_s, "make its users and run their on_start")
        return tuple(ready["notes"])

    def go(self, delay_s: float = 0.1) -> int:
        """Set the plan's time zero, `delay_s` from now. Returns it, in CLOCK_MONOTONIC nanoseconds."""
        if self._plan.workers is not None:
            delay_s = max(delay_s, _REMOTE_DELAY_S)
        self._start_ns = time.monotonic_ns() + round(delay_s * 1e9)
        publish(self._output_dir / "go.json", {"start_ns": self._start_ns})
        return self._start_ns

    def wait(self, on_tick: Callable[[float], None] | None = None, *, timeout_s: float | None = None) -> LoadOutput:
        """Wait until the plan is executed, telling `on_tick` about four times a second how many seconds of it are done.

        `timeout_s` counts from now; by default the plan's duration, the patience with each service after its turns,
        and half a minute.
        Raises as `wait_ready` does; what the generator wrote until then stays in the output folder.
        """
        if timeout_s is None:
            timeout_s = self._plan.duration_s + _patience_s(self._plan) + _SLACK_S
        raw = self._wait_for("ledger.json", timeout_s, "execute the load plan", on_tick)
        workers = read_workers(self._output_dir)
        offsets = [offset for worker in workers for offset in worker["offsets"]]
        return LoadOutput(
            ledger=ledger_of(raw),
            start_ns=raw["start_ns"],
            output_dir=self._output_dir,
            notes=tuple(raw["notes"]),
            lost_workers=tuple(worker["name"] for worker in workers if worker["lost"]),
            clock_uncertainty_ms=max((offset["uncertainty_ns"] for offset in offsets), default=0) / 1e6,
        )

    def _wait_for(
        self, name: str, timeout_s: float, purpose: str, on_tick: Callable[[float], None] | None = None
    ) -> dict[str, Any]:
        """The content of a file the generator is about to publish, or the error that explains its absence."""
        deadline_s = time.monotonic() + timeout_s
        tick_s = time.monotonic() + _TICK_S
        path = self._output_dir / name
        while True:
            exited = self._process.poll() is not None  # before looking: what it wrote last is not missed
            if path.exists():
                content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return content
            self._raise_failure()
            if exited:
                raise self._infrastructure(f"The load generator ended with exit code {self._process.returncode}.")
            now_s = time.monotonic()
            if now_s >= deadline_s:
                self._say_where_it_is()
                raise self._infrastructure(f"The load generator took longer than {timeout_s:g} s to {purpose}.")
            if on_tick is not None and now_s >= tick_s:
                on_tick(max(0.0, (time.monotonic_ns() - self._start_ns) / 1e9))
                tick_s = now_s + _TICK_S
            time.sleep(_POLL_S)

    def _raise_failure(self) -> None:
        path = self._output_dir / "failed.json"
        if not path.exists():
            return
        raise error_of(json.loads(path.read_text(encoding="utf-8")))

    def _say_where_it_is(self) -> None:
        """Have it write its stack to its log: an endless loop in a scenario stands there by file and line."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGUSR1)
            time.sleep(_ANSWER_S)

    def _infrastructure(self, cause: str) -> InfrastructureError:
        log = self._output_dir / "generator.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return InfrastructureError(cause, next_step=f"Its log is {log}.", detail="\n".join(lines))


def _patience_s(plan: LoadPlan) -> float:
    """How long a generator may wait in all for answers after each turn, and once for each service to come to rest."""
    timeouts_s = {launch.launch_id: launch.request_timeout_s for launch in plan.launches}
    after_turns_s = sum(timeouts_s[turn.launch_id] for turn in plan.turns)
    return after_turns_s + (_SERVICE_PATIENCE - 1) * sum(timeouts_s.values())


@contextmanager
def start(plan: LoadPlan) -> Iterator[Generator]:
    """Start a generator for the plan; on leaving the block it and its children are killed.

    It loads the scenario while targets still come up: starting both at once hides its start.
    """
    plan.output_dir.mkdir(parents=True, exist_ok=True)
    for stale in ("targets_up.json", "ready.json", "go.json", "failed.json", "ledger.json", "workers.json"):
        (plan.output_dir / stale).unlink(missing_ok=True)
    with _null_service(plan) as null_url, (plan.output_dir / "generator.log").open("wb") as log:
        publish(plan.output_dir / "loadplan.json", _plain(plan, null_url))
        process = subprocess.Popen(
            _command(plan),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=plan.output_dir,  # away from a locust.conf or a module that shadows one of Locust's
            env=_environment(plan),
            start_new_session=True,
        )
        _prefer(process.pid)
        try:
            yield Generator(process, plan)
        finally:
            _kill(process)


def _null_service(plan: LoadPlan) -> AbstractContextManager[str | None]:
    """A service that does nothing beside the launches' own; workers on other machines have none near them."""
    return nullcontext() if plan.workers is not None else serving_nothing(plan.output_dir / "null.log")


def _prefer(pid: int) -> None:
    """Let the generator run before target and Postgres where that is permitted (root, CAP_SYS_NICE).

    An arrival that leaves late is measured as latency; on a busy machine the scheduler would otherwise make the
    generator wait for the very threads it loads. docs/decisions/0006 has the figures.
    """
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, -10)


def _command(plan: LoadPlan) -> list[str]:
    locustfile = Path(__file__).parent / "generator" / "locustfile.py"
    options = ["--headless", "--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0"]
    return [sys.executable, "-m", "locust", "-f", str(locustfile), *options, *_sharing(plan)]


def _sharing(plan: LoadPlan) -> list[str]:
    """Locust's own options for more than one process; on one machine they meet on a free port of the loopback."""
    if plan.workers is not None:
        host, _, port = plan.workers.bind.rpartition(":")
        expected = str(plan.workers.expect)
        return ["--master", "--expect-workers", expected, "--master-bind-host", host, "--master-bind-port", port]
    if plan.processes == 1:
        return []
    port = str(_free_port())
    master = ["--master-host", "127.0.0.1", "--master-port", port]
    return ["--processes", str(plan.processes), *master, "--master-bind-host", "127.0.0.1", "--master-bind-port", port]


def _free_port() -> int:
    """A port of the loopback for Locust to bind to, of those that no connection is given by itself meanwhile."""
    while True:
        port = random.randrange(10_000, _EPHEMERAL_MIN)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def generator_environment() -> dict[str, str]:
    """This process's environment without options of Locust's own, in which the generator can be imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    package_parent = str(Path(harness.__file__).resolve().parent.parent)
    inherited = environment.get("PYTHONPATH", "").split(os.pathsep)
    path = [package_parent, *(str(Path(entry).resolve()) for entry in inherited if entry)]
    return {**environment, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}


def _environment(plan: LoadPlan) -> dict[str, str]:
    """The generator's, plus what the locustfile reads."""
    secrets = {launch.launch_id: own for launch in plan.launches if (own := _secrets(launch))}
    return {**generator_environment(), **plan.environment} | {
        "POOLBENCH_SECRETS": json.dumps(secrets),
        "POOLBENCH_LOADPLAN": str((plan.output_dir / "loadplan.json").resolve()),
        "POOLBENCH_PARENT_PID": str(os.getpid()),
        "POOLBENCH_FOLDER": str(Path.cwd()),
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the generator's whole process group: its results are on disk already, or it has failed."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _plain(plan: LoadPlan, null_url: str | None) -> dict[str, Any]:
    raw = dataclasses.asdict(plan)
    raw["launches"] = [plain_launch(launch) for launch in plan.launches]
    return {**raw, "output_dir": str(plan.output_dir.resolve()), "null_url": null_url}


def plain_launch(launch: LaunchLoad) -> dict[str, Any]:
    """A launch as it may be written down: the file stays in the run's folder, so what is secret is masked."""
    return {
        **dataclasses.asdict(launch),
        "scenario": str(launch.scenario.resolve()),
        "gauges": None if launch.gauges is None else str(launch.gauges.resolve()),
        **dict.fromkeys(_secrets(launch), MASK),
        "host": masked(launch.host),
    }


def _secrets(launch: LaunchLoad) -> dict[str, Any]:
    """Fields of a launch that are in no file because they hold a secret."""
    secrets: dict[str, Any] = {} if masked(launch.host) == launch.host else {"host": launch.host}
    if any(looks_secret(name, str(value)) for name, value in launch.arguments.items()):
        secrets["arguments"] = dict(launch.arguments)
    return secrets
