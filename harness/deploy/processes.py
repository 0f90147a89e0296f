"""Process groups of our own: started with a mark, watched, and ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from harness.deploy.leftovers import owned_environment, still_running, variable_of
from harness.domain.logs import left_out_line

MARK_VARIABLE = "POOLBENCH_STARTED_AS"
LOG_BYTES_MAX = 5 * 2**20
_POLL_S = 0.01
_TAIL_BYTES = 64 * 1024

Process = subprocess.Popen[bytes]


def start_group(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    mark: str = "",
    folder: str | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start `command` in a session of its own, so that Ctrl-C in the terminal reaches only us; output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return start_marked(
            command, environment=environment, output=output, mark=mark, folder=folder, pass_fds=pass_fds
        )


def start_marked(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: IO[bytes],
    mark: str,
    folder: str | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start `command` likewise, its output to an open file, in `folder` if one is given.

    `mark` is what `sweep` finds it and its descendants by.
    """
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, **owned_environment(), MARK_VARIABLE: mark},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def sweep(mark: str) -> None:
    """Kill whatever still carries `mark` in its environment: descendants that left their group and their parents."""
    ours = [process for process in psutil.process_iter() if variable_of(process, MARK_VARIABLE) == mark]
    for process in ours:
        with contextlib.suppress(psutil.Error):
            process.kill()
    still_running(ours)


def has_ended(process: Process) -> bool:
    """Whether the group's leader ended, without reaping it: its pid must stay ours until the group is swept."""
    if process.returncode is not None:
        return True
    try:
        return psutil.Process(process.pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def exit_code(process: Process) -> int | None:
    """How the group's leader ended, without reaping it; None while it runs."""
    if process.returncode is None:
        with contextlib.suppress(ChildProcessError):
            found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return None
            return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
    return process.returncode


def in_words(code: int) -> str:
    """An exit code as subprocess has it: "code 1", "signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"signal {-code} ({names.get(-code, 'of its own')})"


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
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def last_lines(output: IO[bytes], count: int) -> list[str]:
    """The last lines of an open file that a process writes to."""
    size = os.fstat(output.fileno()).st_size
    # pread: the position in the file is shared with the process that writes it
    end = os.pread(output.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    return end.decode(errors="replace").splitlines()[-count:]


def shorten(log: Path, most_bytes: int = LOG_BYTES_MAX) -> None:
    """Leave the beginning and the end of a log that is longer: a run keeps a copy of it for each trial."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return
    if size <= most_bytes:
        return
    with log.open("rb") as file:
        head = file.read(most_bytes // 2)
        file.seek(size - most_bytes // 2)
        end = file.read()
    head = head[: head.rfind(b"\n") + 1] or head
    end = end[end.find(b"\n") + 1 :] or end
    beside = log.with_name(f"{log.name}.short")
    beside.write_bytes(head + left_out_line(size - len(head) - len(end)) + end)
    beside.replace(log)
