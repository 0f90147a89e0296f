"""Process groups of our own: started with a mark, watched, and ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from harness.deploy.leftovers import owned_environment

_POLL_S = 0.01

Process = subprocess.Popen[bytes]


def start_group(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()
) -> Process:
    """Start `command` in a session of its own, so that Ctrl-C in the terminal reaches only us; output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env={**environment, **owned_environment()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def has_ended(process: Process) -> bool:
    """Whether the group's leader ended, without reaping it: its pid must stay ours until the group is swept."""
    if process.returncode is not None:
        return True
    try:
        return psutil.Process(process.pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def stop_groups(processes: Sequence[Process], *, grace_s: float) -> None:
    """End all groups side by side: SIGTERM, `grace_s` in all, then SIGKILL to whatever is left of each."""
    try:
        for process in processes:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and not all(has_ended(process) for process in processes):
            time.sleep(_POLL_S)
    finally:  # a second Ctrl-C in the grace leaves nothing behind either
        for process in processes:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    """To the whole group; its number cannot have passed to another one, since the leader is not reaped yet."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
