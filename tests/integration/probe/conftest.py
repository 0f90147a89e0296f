"""The same plain code against three drivers, and a served app whose probe files can be read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from forked import Forked, Forks
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from harness.deploy.launcher import PROBE
from harness.probe.process import ProcessProbe

HERE = Path(__file__).parent
DRIVERS = ("asyncpg", "psycopg", "psycopg_sync")


class Service:
    """An engine watched by a probe of its own, and a way to run plain code on it side by side.

    With an async driver the code runs in greenlets on an event loop, as it does in an AsyncSession, otherwise in
    threads.
    """

    def __init__(self, driver: str, url: str, **options: Any) -> None:
        self.probe = ProcessProbe(None)
        url = url.replace("postgresql://", f"postgresql+{driver.removesuffix('_sync')}://")
        self._runner = asyncio.Runner() if driver in {"asyncpg", "psycopg"} else None
        made: Engine | AsyncEngine
        made = create_async_engine(url, **options) if self._runner else create_engine(url, **options)
        self.probe.watch(made)
        self.engine: Engine = made.sync_engine if isinstance(made, AsyncEngine) else made

    def together(self, *calls: Callable[[Engine], Any]) -> list[Any]:
        """Run the calls at the same time; an exception stands in its call's place."""
        if self._runner is not None:
            return self._runner.run(self._gather(calls))
        with ThreadPoolExecutor(len(calls)) as threads:
            futures = [threads.submit(call, self.engine) for call in calls]
        return [future.exception() or future.result() for future in futures]

    async def _gather(self, calls: tuple[Callable[[Engine], Any], ...]) -> list[Any]:
        work = (greenlet_spawn(call, self.engine) for call in calls)
        return await asyncio.gather(*work, return_exceptions=True)

    def run(self, call: Callable[[Engine], Any]) -> Any:
        (result,) = self.together(call)
        if isinstance(result, BaseException):
            raise result
        return result

    @contextmanager
    def sampled(self) -> Iterator[list[dict[str, Any]]]:
        """Readings every few milliseconds from another thread, as the time series is read."""
        lines: list[dict[str, Any]] = []
        done = threading.Event()

        def sample() -> None:
            while not done.wait(0.005):
                lines.append(self.probe.read())

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield lines
        finally:
            done.set()
            thread.join()

    def close(self) -> None:
        self.run(lambda engine: engine.dispose())
        self.probe.stop()
        if self._runner is not None:
            self._runner.close()


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_service(driver: str, postgres_url: str) -> Iterator[Callable[..., Service]]:
    """Makes services on the test's driver with the engine options given; a pool of one, nothing more, by default."""
    with contextlib.ExitStack() as services:

        def make(*, url: str = postgres_url, **options: Any) -> Service:
            service = Service(driver, url, **(options or {"pool_size": 1, "max_overflow": 0}))
            services.callback(service.close)
            return service

        yield make


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An app served by the launcher."""

    process: subprocess.Popen[str] | Forked
    client: httpx.Client
    probe_dir: Path

    def get(self, path: str, *, arrival: str = "3-14") -> httpx.Response:
        response = self.client.get(path, headers={"x-poolbench-arrival": arrival})
        response.raise_for_status()
        return response

    def lines(self, name: str = "probe") -> list[dict[str, Any]]:
        """What is written so far, all processes together; a line being written is left out."""
        texts = [path.read_text() for path in sorted(self.probe_dir.glob(f"{name}-*.jsonl"))]
        return [json.loads(line) for text in texts for line in text.split("\n")[:-1]]

    def until(self, what: Callable[[list[dict[str, Any]]], Any], name: str = "probe", limit_s: float = 20.0) -> Any:
        """Wait until `what` finds something in the lines, and return that."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            found = what(self.lines(name))
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"not seen within {limit_s} s; last lines: {self.lines(name)[-3:]}")


FORKS = Forks("uvicorn", "target_app.main", "sqlalchemy.ext.asyncio")
"""of what nearly each app here imports"""


@dataclass(slots=True)
class Launcher:
    """Starts the launcher on a free port; everything it started is gone at the end of the test."""

    probe_dir: Path
    environment: dict[str, str]
    cwd: Path = HERE
    started: list[subprocess.Popen[str] | Forked] = field(default_factory=list)

    @contextmanager
    def start(self, app: str, *options: str, anew: bool = False, **environment: str) -> Iterator[Served]:
        """Serve this app; ready means that it answers /ping. `anew`: in an interpreter that has imported nothing."""
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            run = self.spawn if anew or "--workers" in options else self._fork
            process = run(app, "--fd", str(listener.fileno()), *options, fd=listener.fileno(), **environment)
            host, port = listener.getsockname()
        with httpx.Client(base_url=f"http://{host}:{port}", timeout=30.0) as client:
            client.get("/ping").raise_for_status()
            yield Served(process=process, client=client, probe_dir=self.probe_dir)

    def spawn(self, *arguments: str, fd: int | None = None, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROBE), *arguments],
            cwd=self.cwd,
            env=self.environment | environment,
            pass_fds=() if fd is None else (fd,),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def _fork(self, *arguments: str, fd: int, **environment: str) -> Forked:
        process = FORKS.start(
            [str(PROBE), *arguments], cwd=self.cwd, env=self.environment | environment, out=1, err=2, pass_fds=[fd]
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate() if isinstance(process, subprocess.Popen) else process.wait()


@pytest.fixture
def launcher(tmp_path: Path, postgres_url: str) -> Iterator[Launcher]:
    environment = os.environ | {
        "POOLBENCH_PROBE_DIR": str(tmp_path),
        "DATABASE_URL": postgres_url,
    }
    launcher = Launcher(probe_dir=tmp_path, environment=dict(environment))
    try:
        yield launcher
    finally:
        launcher.close()
