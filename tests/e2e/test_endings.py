"""Runs that end otherwise than planned: a closed terminal, a full disk, a service that is stopped or killed."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from measured import MEASURED, places

from harness.store import RunStore

pytestmark = pytest.mark.postgres
Small = tuple[subprocess.CompletedProcess[str], Path]


def test_a_closed_terminal_ends_a_run_cleanly(poolbench, small: Callable[..., str]) -> None:
    poolbench.write("small.toml", small(("[1, 5]", "[5]")))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(poolbench.cwd)
        os.execve(sys.executable, [sys.executable, "-m", "harness", "run", "small.toml"], dict(poolbench.environment()))
    deadline = time.monotonic() + 120
    os.set_blocking(terminal, False)
    while not list(poolbench.cwd.glob("results/*/sittings/2/go.json")):
        assert time.monotonic() < deadline
        try:
            os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.02)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert poolbench.left_running() == []
    (folder,) = (poolbench.cwd / "results").iterdir()
    assert places(RunStore.open(folder).complete()) == {"b1-c1"}
    assert (folder / "report.html").is_file()


def test_a_disk_that_takes_no_more_is_named_and_the_run_can_go_on(poolbench, small: Callable[..., str]) -> None:
    process = poolbench.start("run", poolbench.write("small.toml", small(("[1, 5]", "[5]"))))
    poolbench.wait_for(process, lambda: list(poolbench.cwd.glob("results/*/sittings/2/go.json")))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2000, 2000))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 5, err
    assert "pool_size 5" in out, "what there is has been shown"
    assert "File too large" in err
    assert "report.html was not written" in err
    assert "Traceback" not in err
    (folder,) = (poolbench.cwd / "results").iterdir()
    kept = [path.name for path in (folder / "trials").iterdir()]
    assert f"{len(kept)} finished trials are kept; go on with: poolbench run --resume {folder}" in err
    assert places(kept) == {"b1-c1"}
    assert RunStore.open(folder).read().planned_trials == 2


def in_mid_load(poolbench, small: Callable[..., str]) -> tuple[subprocess.Popen[str], int]:
    """A run of one launch, a second and a half into its load of four, and the process of its service."""
    text = small(("[1, 5]", "[5]"), ("launches = 2", "launches = 1"), ("measure_s = 1.0", "measure_s = 4.0"))
    process = poolbench.start("run", poolbench.write("small.toml", text), "--json")
    poolbench.wait_for(process, lambda: list(poolbench.cwd.glob("results/*/sittings/1/go.json")))
    (note,) = poolbench.cwd.glob("results/*/sittings/1/probe-b1-c1/probe-*.jsonl")
    time.sleep(1.5)
    return process, int(note.stem.rpartition("-")[2])


def met_in_mid_load(poolbench, small: Callable[..., str], meet: Callable[[int], None]) -> tuple[dict[str, Any], int]:
    """What a run shows whose service is met in mid load, and its process.

    Tried anew where a busy machine spoilt the launch: the one that is measured in its place nobody has met.
    """
    for _ in range(3):
        process, pid = in_mid_load(poolbench, small)
        meet(pid)
        out, err = process.communicate(timeout=120)
        assert process.returncode in MEASURED, err
        shown = json.loads(out)
        if len(shown["certificates"]) == 1:
            return shown, pid
        shutil.rmtree(poolbench.cwd / "results")
    pytest.fail("the machine spoilt three launches running")


def found_in(shown: dict[str, Any]) -> dict[str, str]:
    """What its one launch showed."""
    (only,) = shown["certificates"].values()
    return {reason["code"]: reason["message"] for reason in only["reasons"]}


def stop_for_a_while(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(pid, signal.SIGCONT)


def test_a_service_that_is_stopped_in_mid_load_is_named(poolbench, small: Callable[..., str]) -> None:
    shown, pid = met_in_mid_load(poolbench, small, stop_for_a_while)
    (folder,) = (poolbench.cwd / "results").iterdir()
    found = found_in(shown)
    (trial,) = RunStore.open(folder).read().trials
    assert [(still.role, still.pid) for still in trial.trial.standstills] == [("target", pid)]
    assert f"the service (process {pid}) was stopped for " in found["stood_still"]
    assert "loop_lag" not in found
    assert "stopped for" in (folder / "report.html").read_text()


def test_a_service_that_is_killed_in_mid_load_is_named_and_not_recommended(
    poolbench, small: Callable[..., str]
) -> None:
    shown, pid = met_in_mid_load(poolbench, small, lambda pid: os.kill(pid, signal.SIGKILL))
    assert f"the service (process {pid}) ended by signal 9 (SIGKILL) " in found_in(shown)["died"]
    assert shown["recommended"] is None
    assert "cannot be recommended" in shown["verdict"]
    assert "ConnectionRefusedError" in shown["cells"][0]["failures"][0]["message"]
    (folder,) = (poolbench.cwd / "results").iterdir()
    assert "ended by signal 9 (SIGKILL)" in (folder / "report.html").read_text()
