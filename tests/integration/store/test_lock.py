"""A run directory is written by one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.store import RunStore

HOLDER = """
import subprocess, sys
from pathlib import Path
from harness.store import RunStore

with RunStore(Path(sys.argv[1])).lock():
    subprocess.Popen(["sleep", "60"])
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_only_one_process_writes_a_run(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "results", "demo")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"locked\n"
            with (
                pytest.raises(UsageError, match=rf"measured by another poolbench \(process {holder.pid}\)"),
                store.lock(),
            ):
                pass
            holder.kill()
            holder.wait()
            with store.lock():  # the child that it left does not hold it
                assert (store.path / "lock").read_text() == f"{os.getpid()}\n"
        finally:
            os.killpg(holder.pid, signal.SIGKILL)
    with store.lock():
        pass
