"""When a target is ready: an answer from its health path, and every worker process accepting."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil

_POLL_S = 0.02
_NOT_YET = (408, 425, 429)
"""timeout, too early, too many: a client's errors that pass"""


class WrongPathError(Exception):
    """The service is up and gives `status` for the path it is asked: it would for ever."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def wait_healthy(port: int, path: str, *, deadline: float, check_alive: Callable[[], None]) -> str | None:
    """Wait until `path` on 127.0.0.1 answers 2xx; the last answer in words when it does not by `deadline`.

    `deadline` is on the monotonic clock. `check_alive` runs every 20 ms and raises when waiting has become pointless.

    Raises:
        WrongPathError: there is no such path, it is elsewhere, or it may not be asked; a 5xx may become a 2xx.
    """
    answer = "no answer"
    while time.monotonic() < deadline:
        check_alive()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_POLL_S)
        try:
            connection.request("GET", path)
            # The socket listens from before the target starts, so one request waits in its backlog for the first accept
            _wait_readable(connection.sock, deadline, check_alive)
            connection.sock.settimeout(max(deadline - time.monotonic(), _POLL_S))
            status = connection.getresponse().status
            if 200 <= status < 300:
                return None
            if 300 <= status < 500 and status not in _NOT_YET:
                raise WrongPathError(status)
            answer = f"status {status}"
        except (OSError, http.client.HTTPException) as error:
            answer = f"{answer.split(' (')[0]} ({type(error).__name__})"
        finally:
            connection.close()
        time.sleep(_POLL_S)
    return answer


def wait_any_answer(url: str, path: str, *, timeout_s: float) -> str | None:
    """Ask a running service until it gives any HTTP answer; the reason when it gives none within `timeout_s`."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    deadline = time.monotonic() + timeout_s
    reason = "no answer"
    while time.monotonic() < deadline:
        connection = kind(parts.hostname or "", parts.port, timeout=max(deadline - time.monotonic(), _POLL_S))
        try:
            connection.request("GET", parts.path.rstrip("/") + path)
            connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            time.sleep(0.2)
        else:
            return None
        finally:
            connection.close()
    return reason


def accepting_processes(root_pid: int, listener_inode: int) -> tuple[int, ...] | None:
    """The processes below `root_pid` (itself included) that wait in epoll for connections on the listening socket.

    Event loops register it when their application has started, so these are the workers that are up. None where
    the kernel does not show it (not Linux).
    """
    if not Path("/proc/self/fdinfo").exists():
        return None
    try:
        root = psutil.Process(root_pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return ()
    return tuple(process.pid for process in processes if _accepts(process.pid, listener_inode))


def wait_workers(
    root_pid: int, listener_inode: int, workers: int, *, deadline: float, check_alive: Callable[[], None]
) -> tuple[int, ...] | None:
    """Wait until `workers` processes accept; return those that do, too few of them when `deadline` has come."""
    while (found := accepting_processes(root_pid, listener_inode)) is not None and len(found) < workers:
        if time.monotonic() > deadline:
            break
        check_alive()
        time.sleep(_POLL_S)
    return found


def _wait_readable(sock: socket.socket, deadline: float, check_alive: Callable[[], None]) -> None:
    while time.monotonic() < deadline:
        try:
            sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            check_alive()
        else:
            return


def _accepts(pid: int, listener_inode: int) -> bool:
    folder = Path(f"/proc/{pid}")
    try:
        for fdinfo in (folder / "fdinfo").iterdir():
            watched = [line.split()[1] for line in fdinfo.read_text().splitlines() if line.startswith("tfd:")]
            if any(_inode(folder / "fd" / fd) == listener_inode for fd in watched):
                return True
    except OSError:  # the process or a descriptor went away as we looked
        return False
    return False


def _inode(descriptor: Path) -> int | None:
    try:
        return os.stat(descriptor).st_ino  # noqa: PTH116 -- a link to a socket, which Path.stat follows the same way
    except OSError:
        return None
