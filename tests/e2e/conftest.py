"""Running the real command: real Postgres, real uvicorn, real Locust, in a folder of the test's own.

What is started (`start`) is started whole; what is called has imported beforehand what commands import.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from commanded import commanded
from measured import MEASURED

SMALL = """\
schema_version = 1
name = "small"
question = "Does everything work together?"

[matrix]
"pool.pool_size" = [1, 5]

[pool]
max_overflow = 0

[load]
scenario = "read_heavy"
rate_rps = 40
warmup_s = 0.5
measure_s = 1.0

[design]
kind = "interleaved"
launches = 2
segment_s = 0.5

[database]
rows = 500
"""


@dataclass(frozen=True)
class Poolbench:
    """The command, with a mark in the environment of everything it starts."""

    cwd: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def environment(self) -> Mapping[str, str]:
        return os.environ | {
            "POOLBENCH_TEST_MARK": self.mark,
            "XDG_STATE_HOME": str(self.cwd / "state"),
            "COLUMNS": "200",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            cwd=self.cwd,
            env=dict(self.environment()),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_for(self, process: subprocess.Popen[str], found: Callable[[], object]) -> None:
        """Wait until something is found while a process that was started goes on."""
        deadline_s = time.monotonic() + 120
        while not found():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return commanded(arguments, cwd=self.cwd, environment=self.environment(), timeout_s=150)

    def write(self, name: str, text: str) -> str:
        (self.cwd / name).write_text(text)
        return name

    def left_running(self) -> list[str]:
        """Command lines of processes that came from this command and are still there."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("POOLBENCH_TEST_MARK") == self.mark:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return [line for line in found if line]


@pytest.fixture(scope="session")
def pgbouncer() -> None:
    """Skipped by name where it is not installed; in CI, which installs it, that is a failure."""
    if shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "pgbouncer is not installed (Debian's package pgbouncer)"
        )


@pytest.fixture
def poolbench(tmp_path: Path) -> Iterator[Poolbench]:
    command = Poolbench(tmp_path)
    yield command
    assert command.left_running() == []


@pytest.fixture(scope="session")
def shared_poolbench(tmp_path_factory: pytest.TempPathFactory) -> Poolbench:
    return Poolbench(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_run(shared_poolbench: Poolbench) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One finished run that several tests look at."""
    done = shared_poolbench("run", shared_poolbench.write("small.toml", SMALL))
    assert done.returncode in MEASURED, done.stdout + done.stderr
    (folder,) = (shared_poolbench.cwd / "results").iterdir()
    return done, folder


Edit = Callable[[str, str], str]


@pytest.fixture
def small() -> Callable[..., str]:
    """The small experiment with lines replaced: small(("launches = 2", "launches = 1"))."""

    def edited(*changes: tuple[str, str]) -> str:
        text = SMALL
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return text

    return edited
