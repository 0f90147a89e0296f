"""What a killed run leaves behind, so that the next start finds and clears exactly that.

Everything a run starts carries the run's token: processes in their environment, containers in a label, databases in a
comment. A small file per resource in the state folder says whose token it is. A process is only ever ended when its
environment carries the token of an owner that is gone, so a reused pid is never mistaken for ours.

While anything is noted, a shell waits for our end (`Guard`): when a run is killed it clears what that left within
seconds. The next start does the same, should the guard have been killed too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import psutil

from harness.errors import Interrupted, UsageError

TOKEN_VARIABLE = "POOLBENCH_OWNER"
FOLDER_PREFIX = "poolbench-"
_GRACE_S = 3.0
_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that answers for what was started. `mark` tells it from a later process with the same pid."""

    host: str
    pid_namespace: str
    pid: int
    mark: str

    @property
    def token(self) -> str:
        """Short, and the same for the life of the process."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()[:16]

    def to_text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_text(text: str) -> Owner | None:
        """None when the text is not one of ours."""
        try:
            return Owner(**json.loads(text))
        except (ValueError, TypeError):
            return None

    def is_gone(self) -> bool:
        """True only when it is certain: an owner on another machine or in another container is left alone."""
        if (self.host, self.pid_namespace) != (socket.gethostname(), _pid_namespace()):
            return False
        return _start_mark(self.pid) != self.mark


def current_owner() -> Owner:
    """This process."""
    pid = os.getpid()
    return Owner(host=socket.gethostname(), pid_namespace=_pid_namespace(), pid=pid, mark=_start_mark(pid) or "")


def owned_environment() -> dict[str, str]:
    """The variable that marks a child process as ours."""
    return {TOKEN_VARIABLE: current_owner().token}


class Guard:
    """Within its block a shell reads from a pipe nobody writes to, and becomes `harness.deploy.janitor` at its end.

    Only our death closes the pipe. Asking the kernel for a signal instead (PR_SET_PDEATHSIG) would reach the children
    alone, not theirs, and would already come when the thread that started them ends. Blocks may overlap: one shell
    serves them all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._shell: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._blocks == 0:
                self._shell = self._start()
            self._blocks += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0 and self._shell is not None:
                self._shell.kill()
                self._shell.communicate()

    def _start(self) -> subprocess.Popen[bytes] | None:
        package_parent = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([package_parent, *filter(None, [os.environ.get("PYTHONPATH")])])
        janitor = [sys.executable, "-m", "harness.deploy.janitor", current_owner().to_text()]
        with contextlib.suppress(OSError):  # a system without a shell; the next start clears there
            return subprocess.Popen(
                ["/bin/sh", "-c", 'read -r _ || exec "$@"', "poolbench-guard", *janitor],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # what ends our group is not to end it
            )
        return None


_guard = Guard()


@contextlib.contextmanager
def remembered(folder: Path | None = None, *, keeps_logs: bool = False) -> Iterator[None]:
    """Keep a note of what is about to be started, and of `folder`, which is removed at the end of the block.

    The note is written before anything exists, so there is no moment in which a kill leaves an unknown process; it goes
    only once the folder is gone. One that `keeps_logs` stays where the block fails: the error may name a log in it.
    """
    owner = current_owner()
    note = _state_folder() / f"{owner.token}-{uuid4().hex[:8]}.json"
    text = json.dumps({"owner": owner.to_text(), "folder": None if folder is None else str(folder)})
    beside = note.with_suffix(".new")
    beside.write_text(text)
    beside.replace(note)
    kept = False
    with _guard:
        try:
            yield
        except Exception as error:
            kept = keeps_logs and not isinstance(error, UsageError | Interrupted)
            raise
        finally:
            try:
                if folder is not None and not kept:
                    _remove(folder)
            finally:
                if folder is None or kept or not folder.exists():
                    note.unlink(missing_ok=True)


@contextlib.contextmanager
def log_folder(purpose: str) -> Iterator[Path]:
    """A temporary folder for the logs of what is started within the block; it stays where something fails."""
    folder = Path(tempfile.gettempdir()) / f"{FOLDER_PREFIX}{purpose}-{uuid4().hex[:8]}"
    with remembered(folder, keeps_logs=True):
        folder.mkdir(mode=0o700)
        yield folder


def _remove(folder: Path) -> None:
    """Remove a folder of ours, though a signal interrupts it: the second one is not heard any more."""
    try:
        _end_postgres_in(folder)
        _forget_worktrees_in(folder)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        _forget_worktrees_in(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _forget_worktrees_in(folder: Path) -> None:
    """Take out of their repositories what these have noted of the worktrees in a folder that is about to go.

    As `git worktree remove --force` does, which however refuses a worktree that a kill left half made; and as
    `git worktree prune`, which however forgets other people's too, those on a disk that is not there just now.
    """
    for link in folder.glob("*/.git"):
        with contextlib.suppress(OSError):
            noted = Path(link.read_text().removeprefix("gitdir:").strip())
            if noted.parent.name == "worktrees" and Path((noted / "gitdir").read_text().strip()) == link:
                shutil.rmtree(noted)
                noted.parent.rmdir()  # as git does with the last one


def clear_leftovers() -> tuple[str, ...]:
    """End the processes and remove the folders of owners that are gone; returns one line for each."""
    notes = [(note, *found) for note in _state_folder().glob("*.json") if (found := _read(note)) is not None]
    gone = {owner.token for _, owner, _ in notes if owner.is_gone()}
    if not gone:
        return ()
    cleared = _end_processes(gone)
    for note, owner, folder in notes:
        if owner.token not in gone:
            continue
        if folder is not None and folder.name.startswith(FOLDER_PREFIX) and folder.is_dir():
            _remove(folder)
            cleared.append(f"folder {folder}")
        note.unlink(missing_ok=True)
    return tuple(cleared)


def others_at_work() -> int:
    """How many other processes have something running here that they answer for."""
    notes = [found for note in _state_folder().glob("*.json") if (found := _read(note)) is not None]
    here = {owner for owner, _ in notes if _start_mark(owner.pid) == owner.mark and not owner.is_gone()}
    return len(here - {current_owner()})


def _read(note: Path) -> tuple[Owner, Path | None] | None:
    try:
        content = json.loads(note.read_text())
        owner, folder = Owner.from_text(content["owner"]), content["folder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if owner is None else (owner, None if folder is None else Path(folder))


def _end_processes(tokens: set[str]) -> list[str]:
    """End what carries one of `tokens`, and what it starts meanwhile: a supervisor replaces the workers it loses."""
    lines: list[str] = []
    for _ in range(_ROUNDS):
        ours = [process for process in psutil.process_iter() if variable_of(process, TOKEN_VARIABLE) in tokens]
        if not any(map(_runs, ours)):
            break
        lines += [f"process {process.pid}" for process in ours]
        for process in ours:
            with contextlib.suppress(psutil.Error):
                # makes Postgres end its backends and free its shared memory; uvicorn's supervisor swallows it
                process.send_signal(signal.SIGQUIT if process.name() == "postgres" else signal.SIGKILL)
        for process in still_running(ours):
            with contextlib.suppress(psutil.Error):
                process.kill()
        still_running(ours)
    return lines


def _end_postgres_in(folder: Path) -> None:
    """End what a postmaster left in its data folder: processes that were stopped when it was killed.

    They lead sessions of their own and write their titles over their environment, so nothing else shows whose they are.
    """
    ours = [process for process in psutil.process_iter() if _is_postgres_in(process, folder)]
    for process in ours:
        with contextlib.suppress(psutil.Error):
            process.kill()
    still_running(ours)


def _is_postgres_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == "postgres" and Path(process.cwd()).is_relative_to(folder.resolve())
    except (psutil.Error, OSError):
        return False


def still_running(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Wait for their end; return those that have not ended within the grace. A zombie has, whoever may reap it."""
    deadline = time.monotonic() + _GRACE_S
    while (running := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return running


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def variable_of(process: psutil.Process, name: str) -> str | None:
    """Return a variable of the environment that `process` was started with; None where it has none or is not ours."""
    try:
        return process.environ().get(name)
    except (psutil.Error, OSError):
        return None


def _start_mark(pid: int) -> str | None:
    """What tells a process from another one that had its pid; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    else:
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZX" else f"{boot}:{fields[18]}"  # starttime in ticks since boot
    try:
        return f"{psutil.Process(pid).create_time():.0f}"
    except psutil.Error:
        return None


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _state_folder() -> Path:
    """XDG_STATE_HOME/poolbench, or a private folder among the temporary files where no home can be written."""
    home = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    for folder in (Path(home) / "poolbench", Path(tempfile.gettempdir()) / f"poolbench-state-{os.getuid()}"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    return Path(tempfile.mkdtemp(prefix="poolbench-state-"))
