"""Locust as it comes: FastHttpUser, its own closed loop, constant_throughput where STOCK_THROUGHPUT says how much.

With STOCK_REPORT, a path, it also writes what it did per second and per CPU second once it is warm.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant_throughput, events, task

THROUGHPUT = float(os.environ.get("STOCK_THROUGHPUT", "0"))
"""requests a second of one user; 0: no pause between them"""
REPORT = os.environ.get("STOCK_REPORT")
WARMUP_S = 1.0


class Stock(FastHttpUser):
    """Asks for one path again and again."""

    concurrency = 1
    if THROUGHPUT:
        wait_time = constant_throughput(THROUGHPUT)

    @task
    def read(self) -> None:
        self.client.get("/")


def _measure(environment: Any, path: str) -> None:
    """From a second after the start until the run's end; on a greenlet, so Locust's own timing decides when."""
    gevent.sleep(WARMUP_S)
    total = environment.stats.total
    requests, start_s, cpu_s = total.num_requests, time.monotonic(), time.process_time()

    def report(**_: Any) -> None:
        done, span_s = total.num_requests - requests, time.monotonic() - start_s
        used_s = time.process_time() - cpu_s
        Path(path).write_text(json.dumps({"rps": done / span_s, "cpu_us_per_request": 1e6 * used_s / done}))

    environment.events.test_stopping.add_listener(report)


if REPORT:
    _started: Any = events.spawning_complete  # not typed
    _init: Any = events.init

    def _start(environment: Any, **_: Any) -> None:
        _started.add_listener(lambda **__: gevent.spawn(_measure, environment, REPORT))

    _init.add_listener(_start)
