"""Who died while it was needed, when and how. Nothing is reaped here: a pid stays with whoever started the process."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.domain.observed import Death, NeededRole

_POLL_MS = 200
_WITHOUT_REAPING = os.WEXITED | os.WNOHANG | getattr(os, "WNOWAIT", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A process that is to live until the watch ends."""

    pid: int
    role: NeededRole
    launch_id: str


class DeathWatch:
    """`deaths` grows while the thread runs, in the order of time; each is noticed within a millisecond or so."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._open: dict[int, Watched] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch for deaths", daemon=True)
        self.deaths: list[Death] = []

    def start(self, watched: Sequence[Watched]) -> None:
        for each in watched:
            try:
                descriptor = os.pidfd_open(each.pid)
            except ProcessLookupError:
                self._note(each, None)
            except OSError:  # a kernel, or a sandbox in its place, that has no such thing
                continue
            else:
                self._open[descriptor] = each
                self._poll.register(descriptor, select.POLLIN)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; calling it again does nothing."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        while self._open:
            os.close(self._open.popitem()[0])

    def _run(self) -> None:
        while not self._stopped.is_set():
            for descriptor, _ in self._poll.poll(_POLL_MS):
                watched = self._open.pop(descriptor)
                self._poll.unregister(descriptor)
                self._note(watched, _exit_code(descriptor, watched.pid))
                os.close(descriptor)

    def _note(self, watched: Watched, code: int | None) -> None:
        t_ns = time.monotonic_ns()
        death = Death(role=watched.role, launch_id=watched.launch_id, pid=watched.pid, t_ns=t_ns, code=code)
        self.deaths.append(death)


@contextmanager
def death_watch(watched: Sequence[Watched]) -> Iterator[DeathWatch]:
    """Watch within the block. Linux alone tells of a death without being the parent: elsewhere there are none."""
    watch = DeathWatch()
    if hasattr(os, "pidfd_open"):
        watch.start(watched)
    try:
        yield watch
    finally:
        watch.stop()


def _exit_code(descriptor: int, pid: int) -> int | None:
    """Return how a process ended: a child of ours is asked without reaping it, of another's /proc tells until it is."""
    with suppress(ChildProcessError):
        found = os.waitid(os.P_PIDFD, descriptor, _WITHOUT_REAPING)
        if found is not None:
            return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return os.waitstatus_to_exitcode(int(fields[-1])) if state == "Z" else None
