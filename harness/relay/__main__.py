"""The relay's process: `python -m harness.relay HOST PORT --rtt-ms 10`.

It listens on a free port of 127.0.0.1 and says which on standard output; then it obeys lines on standard input
(`read`, `restart`, `reset`, `blackhole`, `heal`) and answers each with its readings. It ends when standard input does,
so that nothing is left when its parent dies.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.relay.relay import Relay

_FILES_WANTED = 8192


class _Ended(Exception):  # noqa: N818 -- the parent's wish, not an error
    """Standard input is at its end."""


class _Commands:
    """Lines on standard input, obeyed as they come."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._actions: Mapping[bytes, Callable[[], None]] = {
            b"read": lambda: None,
            b"restart": relay.restart,
            b"reset": relay.reset,
            b"blackhole": relay.blackhole,
            b"heal": relay.heal,
        }
        self._partial = b""

    def read(self, _events: int) -> None:
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            raise _Ended
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._actions[line]()
            _say(self._relay.readings())


def allow_many_files() -> None:
    """Each connection takes two descriptors, and 1024 in all are the usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, _FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(values: Mapping[str, float]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m harness.relay", description="Pass TCP on, later.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--rtt-ms", type=float, default=0.0, help="round trip to add, half of it each way")
    parser.add_argument("--idle-s", type=float, help="drop connections that were idle this long")
    parser.add_argument("--on-idle", choices=("reset", "blackhole"), default="reset", help="how they are dropped")
    options = parser.parse_args()
    with contextlib.suppress(OSError):  # Linux wakes sleepers up to 50 us late to save power unless told otherwise
        Path("/proc/self/timerslack_ns").write_text("1000")
    allow_many_files()
    relay = Relay(
        upstream=(options.host, options.port), rtt_ms=options.rtt_ms, idle_s=options.idle_s, on_idle=options.on_idle
    )
    relay.watch(sys.stdin.fileno(), _Commands(relay).read)
    _say({"port": relay.port})
    with contextlib.suppress(_Ended):
        while True:
            relay.step()


if __name__ == "__main__":
    main()
