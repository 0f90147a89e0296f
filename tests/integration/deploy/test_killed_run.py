"""A run that is killed with SIGKILL: its guard clears what it left, or the next start does; and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from harness.deploy import clear_leftovers, log_folder, start_database
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError, Interrupted, UsageError

pytestmark = pytest.mark.postgres

RUN = """
import os, pathlib, sys, time
from harness.deploy import start_database
from harness.deploy.connection import admin
from harness.deploy.leftovers import remembered
from harness.deploy.processes import start_group
from harness.domain.experiment import DatabaseSpec

here = pathlib.Path(sys.argv[1])
with start_database(DatabaseSpec()) as server, remembered(), admin(server) as connection:
    # as uvicorn's supervisor: it does not mind SIGQUIT, and replaces the worker it lost
    supervisor = "trap : QUIT; while :; do sleep 600; done"
    target = start_group(["sh", "-c", supervisor], environment=os.environ, log=here / "log")
    data = connection.execute("SHOW data_directory").fetchone()[0]
    (here / "up.new").write_text(f"{server.pid} {target.pid} {data}")
    (here / "up.new").rename(here / "up")
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A run in another process, with a server and a target up."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)])
    try:
        while not (tmp_path / "up").exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
        clear_leftovers()


def guard_of(run: subprocess.Popen[bytes]) -> psutil.Process:
    (guard,) = [child for child in psutil.Process(run.pid).children() if "poolbench-guard" in child.cmdline()]
    return guard


def left_by(tmp_path: Path) -> list[int]:
    """What lives and was started under the run's state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_STATE_HOME") == str(tmp_path / "state") and not ended(process.pid):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_run_leaves_nothing(run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Whoever started it need not start another one: what it left ends and goes by itself, and so does the guard."""
    postmaster, target, data = (tmp_path / "up").read_text().split()
    guard = guard_of(run)
    pids = [int(postmaster), *(child.pid for child in psutil.Process(int(postmaster)).children())]
    pids += [int(target), *(child.pid for child in psutil.Process(int(target)).children()), guard.pid]
    assert len(pids) > 6
    with subprocess.Popen(["sleep", "600"]) as stranger:
        run.kill()
        run.wait()
        deadline_s = time.monotonic() + 20
        while not all(map(ended, pids)) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert stranger.poll() is None
        stranger.kill()
    assert [pid for pid in pids if not ended(pid)] == []
    assert left_by(tmp_path) == []
    assert not Path(data).exists()
    assert not list((tmp_path / "state" / "poolbench").glob("*.json"))


def test_the_guard_goes_with_what_it_guards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    code = (
        "import psutil; from harness.deploy.leftovers import remembered\n"
        "def guards(): return [c.pid for c in psutil.Process().children() if 'poolbench-guard' in c.cmdline()]\n"
        "with remembered():\n"
        "    first = guards()\n"
        "    with remembered(): assert guards() == first\n"
        "    assert guards() == first and len(first) == 1\n"
        "assert guards() == []\n"
        "with remembered(): assert len(guards()) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (None, False),
        (Interrupted("Interrupted."), False),
        (UsageError("No such thing."), False),
        (InfrastructureError("It did not come up; its log is there."), True),
    ],
)
def test_a_folder_of_logs_stays_where_an_error_may_name_one(
    error: Exception | None, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with suppress(Interrupted, UsageError, InfrastructureError), log_folder("check") as folder:
        (folder / "target.log").write_text("up\n")
        if error is not None:
            raise error
    assert folder.exists() is stays
    assert not list((tmp_path / "state" / "poolbench").glob("*.json"))
    shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_of_logs_goes_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "import time; from harness.deploy import log_folder\n"
        "with log_folder('init') as folder: (folder / 'x').touch(); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while not list(tmp_path.glob("poolbench-init-*/x")):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    deadline_s = time.monotonic() + 20
    while list(tmp_path.glob("poolbench-init-*")):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_the_next_start_ends_its_processes_and_removes_its_data(run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    postmaster, target, data = (tmp_path / "up").read_text().split()
    pids = [int(postmaster), int(target), *(child.pid for child in psutil.Process(int(target)).children())]
    assert len(pids) == 3
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            guard_of(run).kill()
            run.kill()
            run.wait()
            assert all(psutil.pid_exists(pid) for pid in pids)  # it really left them
            cleared = clear_leftovers()
            assert stranger.poll() is None
        finally:
            stranger.kill()
    assert {f"process {pid}" for pid in pids} <= set(cleared)
    assert not Path(data).exists()
    assert all(map(ended, pids))
    assert left_by(tmp_path) == []
    assert clear_leftovers() == ()


def test_a_living_run_loses_nothing(run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    postmaster, target, data = (tmp_path / "up").read_text().split()
    assert clear_leftovers() == ()
    assert psutil.pid_exists(int(postmaster))
    assert psutil.pid_exists(int(target))
    assert Path(data).is_dir()


def test_what_a_killed_postmaster_left_stopped_ends_with_its_folder() -> None:
    """A stopped process neither notices the death of its postmaster nor shows whose it is."""
    with start_database(DatabaseSpec()) as server:
        assert server.pid is not None
        stopped = []
        for child in psutil.Process(server.pid).children():
            with suppress(ProcessLookupError):  # one may have ended meanwhile
                os.kill(child.pid, signal.SIGSTOP)
                stopped.append(child.pid)
        os.kill(server.pid, signal.SIGKILL)
    assert stopped
    assert all(map(ended, stopped))
