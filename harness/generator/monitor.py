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


def live_no_longer_than(parent_pid: int) -> None:
    """End this process at once when `parent_pid` is no longer its parent; 0: whoever its parent is."""
    if parent_pid:
        gevent.spawn(_follow, parent_pid)


def _follow(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        gevent.sleep(1.0)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def watching(path: Path, engine: Engine, flushes: Sequence[Callable[[], None]]) -> Iterator[None]:
    """Append a line a second to `path` while in the block, and call each of `flushes` as often."""
    with path.open("w", encoding="utf-8") as lines:
        greenlet = gevent.spawn(_watch, lines.write, lines.flush, engine, flushes)
        try:
            yield
        finally:
            greenlet.kill()


def _watch(
    write: Callable[[str], object],
    flush: Callable[[], None],
    engine: Engine,
    flushes: Sequence[Callable[[], None]],
) -> None:
    seen_ns, cpu_s, stall_max_ns = time.monotonic_ns(), time.process_time(), 0
    while True:
        before_ns = time.monotonic_ns()
        gevent.sleep(TICK_S)
        now_ns = time.monotonic_ns()
        stall_max_ns = max(stall_max_ns, now_ns - before_ns - round(TICK_S * 1e9))
        if now_ns - seen_ns < 1e9:
            continue
        used_s = time.process_time()
        line = {
            "t_ns": now_ns,
            "cpu_share": round((used_s - cpu_s) * 1e9 / (now_ns - seen_ns), 4),
            "stall_max_ms": round(stall_max_ns / 1e6, 3),
            "in_flight": engine.in_flight,
            "lag_max_ms": round(engine.take_lag_max_ns() / 1e6, 3),
        }
        try:
            write(json.dumps(line) + "\n")
            flush()
            for each in flushes:
                each()
        except OSError as error:  # a full disk: what is measured from now on could not be kept
            engine.fail(error)
            return
        seen_ns, cpu_s, stall_max_ns = now_ns, used_s, 0
