"""Python programs that tests run again and again, each forked from a process that has imported what takes them long.

Half a second of work each, which says nothing of what is tested. That they come up from nothing as well is shown by the
tests that do without.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property

# By name: what is imported for the programs may replace them (gevent does), as it should in these alone.
from os import fork, read, waitpid
from pathlib import Path
from select import select
from signal import signal as handle

ENOUGH = 64 * 1024
"""bytes of what is told of a program, its environment among it"""
OUT_OF_THE_WAY = 500
"""file descriptors from here on are nobody's"""


class Forks:
    """The process to fork from, which ends with this one."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules

    @cached_property
    def _begun(self) -> tuple[socket.socket, int]:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *self._modules]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        return control, process.pid

    @property
    def pid(self) -> int:
        """Of the parent of all that is forked."""
        return self._begun[1]

    def start(
        self,
        program: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        out: int,
        err: int,
        pass_fds: Sequence[int] = (),
    ) -> Forked:
        """Run FILE or `-m MODULE` with its arguments: in a session of its own, with nothing to read."""
        status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told = {"program": list(program), "cwd": str(cwd), "env": dict(env), "fds": [1, 2, *pass_fds]}
        with theirs:
            socket.send_fds(self._begun[0], [json.dumps(told).encode()], [theirs.fileno(), out, err, *pass_fds])
        return Forked(status)


class Forked:
    """A program that runs, with what a `subprocess.Popen` has."""

    def __init__(self, status: socket.socket) -> None:
        self._status = status
        self.pid = int(status.recv(8))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.wait() if self.returncode is not None or select([self._status], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(self._status.recv(8))
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _serve(control: socket.socket) -> None:
    """Fork what is asked for and tell how it ended, while there is somebody to ask. Returns in what was forked."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    handle(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select([control.fileno(), woken], [], [])
        if woken in ready:
            read(woken, ENOUGH)
        for pid, ended in [(pid, ended) for pid in running if (ended := waitpid(pid, os.WNOHANG))[0]]:
            with running.pop(pid) as status, suppress(BrokenPipeError):
                status.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())
        if control.fileno() in ready:
            told, given, _, _ = socket.recv_fds(control, ENOUGH, 16)
            if not told:
                sys.exit()
            status, *descriptors = socket.socket(fileno=given[0]), *given[1:]
            if not (pid := fork()):
                handle(signal.SIGCHLD, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                os.setsid()
                status.sendall(str(os.getpid()).encode())
                return _become(**json.loads(told), given=descriptors)
            running[pid] = status
            for descriptor in descriptors:
                os.close(descriptor)


def _become(*, program: list[str], cwd: str, env: dict[str, str], fds: list[int], given: list[int]) -> None:
    """Be the program, as if the interpreter had been started with it."""
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, OUT_OF_THE_WAY) for descriptor in given]
    for descriptor in given:
        os.close(descriptor)
    for descriptor, number in zip(kept, fds, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if "gevent" in sys.modules:
        sys.modules["gevent"].reinit()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    random.seed()
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 -- for the program's life
    by_name, file = program[0] == "-m", Path(program[0])
    sys.path[:1] = [cwd if by_name else str(file.parent), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = program[1:] if by_name else program
    if by_name:
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(str(file), run_name="__main__")


if __name__ == "__main__":
    for _module in sys.argv[2:]:
        importlib.import_module(_module)
    _serve(socket.socket(fileno=int(sys.argv[1])))
