"""Watches the generator itself, once a second: a busy or stalled load generator measures itself, not the target."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gevent

from harness.generator.engine import Engine

TICK_S = 0.01
"""how often the stall probe looks whether the event loop comes round"""


@contextmanager
def watching(path: Path, engine: Engine, flushes: Sequence[Callable[[], None]], parent_pid: int) -> Iterator[None]:
    """Append a line a second to `path` while in the block, and call each of `flushes` as often.

    When `parent_pid` is no longer the parent, the orchestrator is gone: the process ends itself at once.
    """
    with path.open("w", encoding="utf-8") as lines:
        greenlet = gevent.spawn(_watch, lines.write, lines.flush, engine, flushes, parent_pid)
        try:
            yield
        finally:
            greenlet.kill()


def _watch(
    write: Callable[[str], object],
    flush: Callable[[], None],
    engine: Engine,
    flushes: Sequence[Callable[[], None]],
    parent_pid: int,
) -> None:
    seen_ns, cpu_s, stall_max_ns = time.monotonic_ns(), time.process_time(), 0
    while True:
        before_ns = time.monotonic_ns()
        gevent.sleep(TICK_S)
        now_ns = time.monotonic_ns()
        stall_max_ns = max(stall_max_ns, now_ns - before_ns - round(TICK_S * 1e9))
        if now_ns - seen_ns < 1e9:
            continue
        if parent_pid and os.getppid() != parent_pid:
            os.kill(os.getpid(), signal.SIGKILL)
        used_s = time.process_time()
        line = {
            "t_ns": now_ns,
            "cpu_share": round((used_s - cpu_s) * 1e9 / (now_ns - seen_ns), 4),
            "stall_max_ms": round(stall_max_ns / 1e6, 3),
            "in_flight": engine.in_flight,
            "lag_max_ms": round(engine.take_lag_max_ns() / 1e6, 3),
        }
        write(json.dumps(line) + "\n")
        flush()
        for each in flushes:
            each()
        seen_ns, cpu_s, stall_max_ns = now_ns, used_s, 0
