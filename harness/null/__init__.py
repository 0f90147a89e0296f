"""A service that does nothing, in a process of its own: what asking it takes is the instrument's, not a target's.

Standard library only: its process starts within a few milliseconds, and loads nothing that could be busy.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving_nothing(log: Path) -> Iterator[str]:
    """Serve within the block, on a free port of the loopback. Yields the URL.

    Its socket listens already while its process still starts. What it says goes to `log`.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.null", "--fd", str(listening.fileno())],
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,  # it ends when this process does, however that ends
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
