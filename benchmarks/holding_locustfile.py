"""Seven requests in ten hold a connection while Postgres sleeps for `--hold-ms`, three look up a hero."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from random import Random

from locust import FastHttpUser, constant, events, task

HEROES = int(os.environ.get("HEROES", "10000"))
random = Random(os.environ.get("POOLBENCH_SEED", "1"))


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--hold-ms", type=int, default=10)


events.init_command_line_parser.add_listener(add_arguments)  # type: ignore[no-untyped-call]  # locust's own


class Holder(FastHttpUser):
    """Someone whose requests are of two kinds."""

    wait_time = constant(1)

    @task(7)
    def sleep(self) -> None:
        self.client.get(f"/lab/sleep?ms={self.environment.parsed_options.hold_ms}", name="/lab/sleep")

    @task(3)
    def get_hero(self) -> None:
        self.client.get(f"/heroes/{random.randint(1, HEROES)}", name="/heroes/{id}")
