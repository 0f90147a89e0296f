"""Any requests, in any proportions: for questions about one endpoint, or about two beside each other.

    [load]
    scenario = "requests"
    [load.arguments]
    request = ["3 GET /heroes/{id}", "GET /lab/sleep?ms=20", 'PATCH /heroes/{id} {"age": 30}']

A number before the method is a weight, what follows the path a JSON body. {id} is replaced by the id of a hero, another
one each time, {ids} by the first hundred. `together_s = 1` lets all users of the closed model ask at the same moment,
once a second.
"""

from __future__ import annotations

import os
import re
import time
from argparse import ArgumentParser, ArgumentTypeError
from random import Random
from typing import NamedTuple

from locust import FastHttpUser, events, task

HEROES = int(os.environ.get("HEROES", "10000"))
"""heroes with ids 1 to HEROES exist"""
_FIRST_IDS = ", ".join(str(hero) for hero in range(1, 101))
random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the cells of a block, another for each generator process"""
_FORM = re.compile(r"(?:(\d+) )?([A-Z]+) (/\S*)(?: (\S.*))?")


class Request(NamedTuple):
    """What is sent, and how often beside the others."""

    weight: int
    method: str
    path: str
    body: str
    """JSON; empty: none"""

    @property
    def name(self) -> str:
        """As it stands in reports: without its query."""
        return self.path.partition("?")[0]


def request(text: str) -> Request:
    """Read "3 PATCH /path?query body", without the number for 1, without the body for none."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise ArgumentTypeError(f"{text!r} is no request such as 'GET /heroes/{{id}}'")
    return Request(int(form[1] or 1), form[2], form[3], form[4] or "")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--request", type=request, action="append", required=True, help="3 GET /path?query body")
    parser.add_argument("--pause-s", type=float, default=0.0, help="between two requests of a user (closed model)")
    parser.add_argument("--together-s", type=float, default=0.0, help="or all users at once, each so many seconds")


events.init_command_line_parser.add_listener(add_arguments)  # type: ignore[no-untyped-call]  # locust's own


class Requester(FastHttpUser):
    """Someone who sends one of the requests, and then the next."""

    def wait_time(self) -> float:
        together_s: float = self.environment.parsed_options.together_s
        if together_s:
            return together_s - time.monotonic() % together_s
        return float(self.environment.parsed_options.pause_s)

    @task
    def send(self) -> None:
        wanted: list[Request] = self.environment.parsed_options.request
        (own,) = random.choices(wanted, weights=[each.weight for each in wanted])
        hero = str(random.randint(1, HEROES))
        self.client.request(
            own.method,
            own.path.replace("{id}", hero),
            name=own.name,
            data=own.body.replace("{id}", hero).replace("{ids}", _FIRST_IDS) or None,
            headers={"Content-Type": "application/json"} if own.body else None,
        )
