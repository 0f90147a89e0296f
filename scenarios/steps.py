"""Load that rises and falls again, step by step, to see whether the service comes back, and how soon.

    [load]
    scenario = "steps"
    rate_rps = 4  # of arrivals
    warmup_s = 0
    [load.arguments]
    path = "/lab/sleep?ms=200"
    times = [1, 3, 9, 3]  # requests that an arrival sends at once, so 4, 12, 36 and 12 a second
    step_s = 4
    [design]
    kind = "blocked"  # steps go by the clock, from the first arrival on

Each step is an endpoint of its own in the report: "GET /lab/sleep (a)", "GET /lab/sleep (b)" and so on.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from random import Random
from string import ascii_lowercase

import gevent
from locust import FastHttpUser, events, task

HEROES = int(os.environ.get("HEROES", "10000"))
"""heroes with ids 1 to HEROES exist"""
random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the cells of a block, another for each generator process"""
begun_s: list[float] = []
"""when the first arrival came; empty before"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--path", default="/heroes/{id}", help="what is asked")
    parser.add_argument("--times", type=int, action="append", required=True, help="requests an arrival sends, by step")
    parser.add_argument("--step-s", type=float, default=4.0, help="length of a step; the last one goes on")


events.init_command_line_parser.add_listener(add_arguments)  # type: ignore[no-untyped-call]  # locust's own


class Visitors(FastHttpUser):
    """As many as the step wants, at the same moment."""

    @task
    def come(self) -> None:
        options = self.environment.parsed_options
        if not begun_s:
            begun_s.append(time.monotonic())
        step = min(int((time.monotonic() - begun_s[0]) / options.step_s), len(options.times) - 1)
        name = f"{options.path.partition('?')[0]} ({ascii_lowercase[step]})"
        paths = [options.path.replace("{id}", str(random.randint(1, HEROES))) for _ in range(options.times[step])]
        gevent.joinall([gevent.spawn(self.client.get, path, name=name) for path in paths])
