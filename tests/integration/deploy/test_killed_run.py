"""A run that is killed with SIGKILL, and the next start that clears what it left, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.deploy import clear_leftovers

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
    target = start_group(["sh", "-c", "sleep 600 & wait"], environment=os.environ, log=here / "log")
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


def test_the_next_start_ends_its_processes_and_removes_its_data(run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    postmaster, target, data = (tmp_path / "up").read_text().split()
    pids = [int(postmaster), int(target), *(child.pid for child in psutil.Process(int(target)).children())]
    assert len(pids) == 3
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            run.kill()
            run.wait()
            assert all(psutil.pid_exists(pid) for pid in pids)  # it really left them
            cleared = clear_leftovers()
            assert stranger.poll() is None
        finally:
            stranger.kill()
    assert {f"process {pid}" for pid in pids} <= set(cleared)
    assert not Path(data).exists()
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
    assert clear_leftovers() == ()


def test_a_living_run_loses_nothing(run: subprocess.Popen[bytes], tmp_path: Path) -> None:
    postmaster, target, data = (tmp_path / "up").read_text().split()
    assert clear_leftovers() == ()
    assert psutil.pid_exists(int(postmaster))
    assert psutil.pid_exists(int(target))
    assert Path(data).is_dir()
