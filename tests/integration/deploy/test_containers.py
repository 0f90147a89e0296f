"""What is particular to servers in containers; that they are servers like any other is in test_providers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from containers import containers_of

from harness.deploy import start_database
from harness.deploy.connection import admin
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError, UsageError

pytestmark = pytest.mark.postgres

RUN = """
import pathlib, sys, time
from harness.deploy import start_database
from harness.domain.experiment import DatabaseSpec

up = pathlib.Path(sys.argv[2])
with start_database(DatabaseSpec(provider="container", image=sys.argv[1])):
    up.touch()
    time.sleep(600)
"""


def test_settings_reach_the_server_and_its_processes_are_seen(container_image: str) -> None:
    spec = DatabaseSpec(provider="container", image=container_image, settings={"work_mem": "9MB", "autovacuum": True})
    with start_database(spec) as server, admin(server) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("9MB",)
        assert connection.execute("SHOW autovacuum").fetchone() == ("on",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert server.pid is None or psutil.Process(server.pid).name() == "postgres"
        assert len(containers_of(os.getpid())) == 1
    assert containers_of(os.getpid()) == set()


def test_a_refused_setting_is_told_soon_and_leaves_no_container(container_image: str) -> None:
    spec = DatabaseSpec(provider="container", image=container_image, settings={"shared_bufers": "1GB"})
    began = time.monotonic()
    with (
        pytest.raises(UsageError, match='unrecognized configuration parameter "shared_bufers"'),
        start_database(spec),
    ):
        pass
    assert containers_of(os.getpid()) == set()
    assert time.monotonic() - began < 60  # testcontainers alone would wait for two minutes


def test_an_image_that_cannot_be_had_is_named(container_image: str) -> None:
    with (
        pytest.raises(InfrastructureError, match="Docker could not run poolbench-test/nowhere") as raised,
        start_database(DatabaseSpec(provider="container", image="poolbench-test/nowhere:0")),
    ):
        pass
    assert "docker pull poolbench-test/nowhere:0" in raised.value.next_step


@contextmanager
def killed_run(container_image: str, tmp_path: Path, *, guard: bool) -> Iterator[int]:
    """A run that was killed with a container up, its guard before it unless it has one; gone in the end."""
    run = subprocess.Popen([sys.executable, "-c", RUN, container_image, str(tmp_path / "up")])
    try:
        while not (tmp_path / "up").exists():
            assert run.poll() is None
            time.sleep(0.05)
        assert len(containers_of(run.pid)) == 1
        for child in psutil.Process(run.pid).children():
            if not guard and "poolbench-guard" in child.cmdline():
                child.kill()
    finally:
        run.kill()
        run.wait()
    yield run.pid
    assert containers_of(run.pid) == set()


def test_the_container_of_a_killed_run_goes_by_itself(container_image: str, tmp_path: Path) -> None:
    with killed_run(container_image, tmp_path, guard=True) as killed:
        deadline_s = time.monotonic() + 30
        while containers_of(killed):
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def test_the_container_of_a_killed_run_is_removed_by_the_next_start(container_image: str, tmp_path: Path) -> None:
    with (
        killed_run(container_image, tmp_path, guard=False) as killed,
        start_database(DatabaseSpec(provider="container", image=container_image)),
    ):
        assert containers_of(killed) == set()
