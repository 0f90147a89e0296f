"""The service under test: one launch is one fresh start of its processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from harness.deploy import leftovers
from harness.deploy.health import WrongPathError, wait_any_answer, wait_healthy, wait_workers
from harness.deploy.launcher import command_of, environment_of, listening_socket, own_command
from harness.deploy.processes import (
    Process,
    exit_code,
    has_ended,
    in_words,
    shorten,
    start_group,
    stop_groups,
    sweep,
    tail,
)
from harness.domain.deployed import RunningTarget
from harness.domain.load import Launch
from harness.domain.secrets import masked
from harness.errors import InfrastructureError

_GRACE_S = 4.0  # the launcher ends itself within 3 s even with a blocked loop
_URL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStart:
    """What one launch is started with. `database_url` is None when there is no database to give it."""

    launch: Launch
    database_url: str | None
    probe_dir: Path
    log: Path
    detail: bool = False
    """whether its probe notes which line of the service takes each connection"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """A target's processes run; whether it answers is not known yet."""

    start: TargetStart
    process: Process
    port: int
    listener_inode: int
    deadline: float

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def launch(
    launch: Launch, *, database_url: str | None, probe: bool, probe_dir: Path, log: Path
) -> Iterator[RunningTarget]:
    """One target that answers within the block. Errors as `launch_all`."""
    start = TargetStart(launch=launch, database_url=database_url, probe_dir=probe_dir, log=log)
    with launch_all([start], probe=probe) as (target,):
        yield target


@contextmanager
def launch_all(starts: Sequence[TargetStart], *, probe: bool) -> Iterator[tuple[RunningTarget, ...]]:
    """Targets that answer within the block. Errors as `start_all` and `Starting.wait`."""
    with start_all(starts, probe=probe) as starting:
        yield starting.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """Targets that have been started; their addresses are known before they answer."""

    members: tuple[_Started | RunningTarget, ...]
    probe: bool

    @property
    def hosts(self) -> Mapping[str, str]:
        """Launch id -> base URL."""
        return {m.start.launch.id if isinstance(m, _Started) else m.launch_id: m.host for m in self.members}

    def wait(self, *, any_answer: bool = False) -> tuple[RunningTarget, ...]:
        """Wait until each answers 2xx on its health path; `any_answer`: or 3xx or 4xx, where that path is a guess.

        Raises:
            InfrastructureError: a process ended, or a target did not become healthy in time, or never will.
        """
        mine = [member for member in self.members if isinstance(member, _Started)]
        return tuple(
            _wait(m, mine, probe=self.probe, any_answer=any_answer) if isinstance(m, _Started) else m
            for m in self.members
        )


@contextmanager
def start_all(starts: Sequence[TargetStart], *, probe: bool) -> Iterator[Starting]:
    """Start all targets side by side and end them all together.

    They are started in the order given, which the caller draws. A launch whose cell has a `target.url` is not started,
    only asked whether it answers.

    Raises:
        InfrastructureError: a port is taken, or a service that should run already does not answer.
    """
    with ExitStack() as stack:
        stack.enter_context(leftovers.remembered())
        processes: list[Process] = []
        mark = uuid4().hex
        for start in starts:
            stack.callback(shorten, start.log)
        stack.callback(sweep, mark)  # what a target started in a session of its own
        stack.callback(lambda: stop_groups(processes, grace_s=_GRACE_S))
        members: list[_Started | RunningTarget] = []
        for number, start in enumerate(starts):
            if start.launch.cell.target.url is not None:
                members.append(_elsewhere(start))
                continue
            started = _start(start, number, mark, probe=probe)
            processes.append(started.process)
            members.append(started)
        yield Starting(members=tuple(members), probe=probe)


def _start(start: TargetStart, number: int, mark: str, *, probe: bool) -> _Started:
    cell = start.launch.cell
    with listening_socket(cell.target.port and cell.target.port + number) as listener:
        port = listener.getsockname()[1]
        environment = environment_of(cell, launch_id=start.launch.id, database_url=start.database_url, port=port)
        if probe:
            start.probe_dir.mkdir(parents=True, exist_ok=True)
            environment["POOLBENCH_PROBE_DIR"] = str(start.probe_dir.absolute())  # it may run in another folder
            environment |= {"POOLBENCH_PROBE_DETAIL": "1"} if start.detail else {}
        inode = os.fstat(listener.fileno()).st_ino
        if cell.target.command:
            command, inherited = own_command(cell.target, database_url=start.database_url, port=port), []
            listener.close()  # it binds the port itself
        else:
            command, inherited = command_of(cell, listener.fileno(), probe=probe), [listener.fileno()]
        try:
            process = start_group(
                command,
                environment={**os.environ, **environment},
                log=start.log,
                mark=mark,
                folder=cell.target.dir,
                pass_fds=inherited,
            )
        except OSError as error:
            raise InfrastructureError(
                f"The service cannot be started: {command[0]} cannot be run: {error.strerror}.",
                next_step="Correct [target] command; it is run without a shell, in [target] dir or where you are.",
            ) from error
        return _Started(
            start=start,
            process=process,
            port=port,
            listener_inode=inode,
            deadline=time.monotonic() + cell.target.start_timeout_s,
        )


def _wait(started: _Started, everyone: Sequence[_Started], *, probe: bool, any_answer: bool) -> RunningTarget:
    """Wait for one target, and fail at once when any of them ends."""

    def check_alive() -> None:
        for each in everyone:
            if has_ended(each.process):
                raise _ended(each)

    start, target = started.start, started.start.launch.cell.target
    answer = None
    try:
        answer = wait_healthy(started.port, target.health_path, deadline=started.deadline, check_alive=check_alive)
    except WrongPathError as error:
        if not any_answer:
            host = " A check of the Host header must let 127.0.0.1 pass." if error.status == 400 else ""
            named = f"The target {target.title} ({start.launch.cell.label})"
            raise InfrastructureError(
                f"{named} answers {error.status} for {target.health_path}.",
                next_step=f"Name a path that answers 2xx once the service is ready: [target] health_path.{host}",
            ) from None
    if answer is not None:
        raise _not_healthy(started, f"{target.health_path} gave {answer}")
    workers: tuple[int, ...] | None = None
    if target.workers > 1 and not target.command:
        workers = wait_workers(
            started.process.pid,
            started.listener_inode,
            target.workers,
            deadline=started.deadline,
            check_alive=check_alive,
        )
        if workers is not None and len(workers) < target.workers:
            raise _not_healthy(started, f"{len(workers)} of its {target.workers} workers are up")
    return RunningTarget(
        launch_id=start.launch.id,
        host=started.host,
        database=_database_of(start.database_url),
        pids=(started.process.pid,),
        probe_dir=start.probe_dir if probe else None,
        log=start.log,
        workers=workers or (),
    )


def _elsewhere(start: TargetStart) -> RunningTarget:
    target = start.launch.cell.target
    url = (target.url or "").rstrip("/")
    reason = wait_any_answer(url, target.health_path, timeout_s=min(target.start_timeout_s, _URL_TIMEOUT_S))
    if reason is not None:
        raise InfrastructureError(
            f"The service at {masked(url)} does not answer: {reason.rstrip('.')}.",
            next_step="Check [target] url and that the service runs, or leave url out to deploy the app.",
        )
    return RunningTarget(
        launch_id=start.launch.id,
        host=url,
        database=_database_of(start.database_url),
        pids=(),
        probe_dir=None,
        log=None,
    )


def _database_of(url: str | None) -> str | None:
    return unquote(urlsplit(url).path.lstrip("/")) or None if url else None


def _ended(started: _Started) -> InfrastructureError:
    cell, code = started.start.launch.cell, exit_code(started.process)
    how = "" if code is None else f", with {in_words(code)}"
    return InfrastructureError(
        f"The target {cell.target.title} ({cell.label}) ended as it started{how}.",
        next_step=f"Its last log lines are below; all of them are in {started.start.log}.",
        detail=tail(started.start.log),
    )


def _not_healthy(started: _Started, reason: str) -> InfrastructureError:
    target = started.start.launch.cell.target
    return InfrastructureError(
        f"The target {target.title} ({started.start.launch.cell.label}) was not ready within "
        f"{target.start_timeout_s:g} s: {reason}.",
        next_step=f"Its last log lines are below; all of them are in {started.start.log}. A slow start needs a larger "
        "[target] start_timeout_s.",
        detail=tail(started.start.log),
    )
