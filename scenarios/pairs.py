"""Two changes of one hero at the same moment: does one of them get lost, or refused?

The sample "pair lost update" fails where both were answered 200, though only one of them is what the hero has now.
With --fields two the changes are of different fields, so that neither needs to be lost.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from random import Random

import gevent
from locust import FastHttpUser, events, task

HEROES = int(os.environ.get("HEROES", "10000"))
"""heroes with ids 1 to HEROES exist"""
random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the cells of a block, another for each generator process"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--fields", choices=["one", "two"], default="one", help="which the two changes are of")


events.init_command_line_parser.add_listener(add_arguments)  # type: ignore[no-untyped-call]  # locust's own


class Pair(FastHttpUser):
    """Two people who correct the same hero."""

    @task
    def change_twice(self) -> None:
        path = f"/heroes/{random.randint(1, HEROES)}"
        age = random.randint(18, 99)
        first: dict[str, object] = {"age": age}
        second = {"age": age + 100} if self.environment.parsed_options.fields == "one" else {"name": f"Hero {age}"}
        changes = [gevent.spawn(self.client.patch, path, json=body, name="/heroes/{id}") for body in (first, second)]
        statuses = [change.get().status_code for change in changes]
        hero = self.client.get(path, name="/heroes/{id}").json()
        kept = first.items() <= hero.items() and second.items() <= hero.items()
        lost = statuses == [200, 200] and not kept
        self.environment.events.request.fire(
            request_type="pair",
            name="lost update",
            response_time=0,
            response_length=0,
            exception=RuntimeError("both changes were accepted, and one is gone") if lost else None,
        )
