"""What a run needs of this machine, and what would spoil its numbers. Each check really tries the thing."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from harness import deploy, environment
from harness.domain.experiment import DatabaseSpec
from harness.errors import PoolbenchError

DESCRIPTORS_NEEDED = 1024
MEMORY_NEEDED_BYTES = 2 * 2**30
DISK_NEEDED_BYTES = 2**30
LOAD_PER_CORE_QUIET = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of `poolbench doctor`; `fail` means that a run cannot work, `warn` that its numbers may suffer."""

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    next_step: str = ""

    @property
    def line(self) -> str:
        """For a terminal: `ok    postgres    embedded ... started`."""
        advice = f". {self.next_step}" if self.next_step else ""
        return f"{self.status:<5} {self.name:<11} {self.message}{advice}"

    def as_dict(self) -> Mapping[str, Any]:
        return asdict(self)


def examine(results_dir: Path) -> tuple[Check, ...]:
    """Every check, in the order in which a run would stumble."""
    checks: tuple[Callable[[], Check], ...] = (
        _python,
        _cores,
        _memory,
        _descriptors,
        _clock,
        _quiet,
        lambda: _results(results_dir),
        _disk,
        _postgres,
        _docker,
    )
    return tuple(check() for check in checks)


def _python() -> Check:
    version = sys.version.split()[0]
    return Check(name="python", status="ok", message=f"{sys.implementation.name} {version}")


def _cores() -> Check:
    cores = environment.machine()["cores_usable"]
    if cores >= 2:
        return Check(name="cores", status="ok", message=f"{cores} usable")
    return Check(
        name="cores",
        status="warn",
        message="1 usable: target, Postgres and generator take turns on it",
        next_step="Read every latency as an upper bound, or use a machine with two cores or more.",
    )


def _memory() -> Check:
    import psutil

    free = psutil.virtual_memory().available
    text = f"{free / 2**30:.1f} GiB available"
    if free >= MEMORY_NEEDED_BYTES:
        return Check(name="memory", status="ok", message=text)
    return Check(
        name="memory", status="warn", message=text, next_step="Use fewer cells at once: --set design.kind=blocked"
    )


def _descriptors() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft} open files allowed"
    if soft >= DESCRIPTORS_NEEDED:
        return Check(name="open files", status="ok", message=text)
    return Check(name="open files", status="fail", message=text, next_step=f"ulimit -n {DESCRIPTORS_NEEDED}")


def _clock() -> Check:
    """The smallest step of the clock that every figure is taken from."""
    steps = []
    for _ in range(1000):
        start = time.monotonic_ns()
        while (now := time.monotonic_ns()) == start:
            pass
        steps.append(now - start)
    step_us = sorted(steps)[500] / 1000
    status: Literal["ok", "warn"] = "ok" if step_us < 10 else "warn"
    return Check(
        name="clock",
        status=status,
        message=f"monotonic clock steps by {step_us:.2f} us",
        next_step="" if status == "ok" else "Latencies below a millisecond mean little here.",
    )


def _quiet() -> Check:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    text = f"load average {load:.2f} on {cores} cores"
    if load / cores < LOAD_PER_CORE_QUIET:
        return Check(name="quiet", status="ok", message=text)
    return Check(
        name="quiet",
        status="warn",
        message=f"{text}: something else is running",
        next_step="Intervals will be wide; wait until it is over or plan more launches.",
    )


def _results(results_dir: Path) -> Check:
    parent = results_dir
    while not parent.exists():
        parent = parent.absolute().parent
    try:
        with tempfile.NamedTemporaryFile(dir=parent):
            return Check(name="results", status="ok", message=f"{results_dir} can be written")
    except OSError as error:
        return Check(
            name="results",
            status="fail",
            message=f"{results_dir} cannot be written: {error.strerror}",
            next_step="Name another folder with --results.",
        )


def _disk() -> Check:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    text = f"{free / 2**30:.1f} GiB free in {tempfile.gettempdir()}"
    if free >= DISK_NEEDED_BYTES:
        return Check(name="disk", status="ok", message=text)
    return Check(name="disk", status="fail", message=text, next_step="Free some space, or point TMPDIR elsewhere.")


def _postgres() -> Check:
    """Start the embedded server for real, have it do something and stop it."""
    began = time.monotonic()
    try:
        with deploy.start_database(DatabaseSpec()) as server:
            took_s = time.monotonic() - began
            deploy.checkpoint(server)
            return Check(
                name="postgres",
                status="ok",
                message=f"embedded {server.version} started in {took_s:.1f} s ({server.transport})",
            )
    except PoolbenchError as error:
        return Check(name="postgres", status="fail", message=error.cause, next_step=error.next_step)


def _docker() -> Check:
    problem = deploy.docker_problem()
    if problem is None:
        return Check(name="docker", status="ok", message="an engine answers: provider container can be used")
    return Check(
        name="docker", status="ok", message=f"not needed, except by the provider container. {problem.rstrip('.')}"
    )
