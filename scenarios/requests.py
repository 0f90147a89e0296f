"""Any requests, in any proportions: for questions about one endpoint, or about two beside each other.

    [load]
    scenario = "requests"
    [load.arguments]
    request = ["3 GET /heroes/{id}", "GET /lab/sleep?ms=20", 'PATCH /heroes/{id} {"age": 30}']

A number before the method is a weight, what follows the path a JSON body. {id} is replaced by the id of a hero,
{ids:10} by a list of ten, {age} by an age, {hero} by a new hero and {heroes:10} by a list of ten, others each time.
`together_s = 1` lets all users of the closed model ask at the same moment, once a second.
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
random = Random(os.environ.get("POOLBENCH_SEED", "1"))
"""the same for the cells of a block, another for each generator process"""
_FORM = re.compile(r"(?:(\d+) )?([A-Z]+) (/\S*)(?: (\S.*))?")
_PLACE = re.compile(r"\{(id|age|hero|ids:|heroes:)(\d*)\}")


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


def filled(text: str) -> str:
    """Put something else into each place of a path or body."""
    return _PLACE.sub(lambda place: _filling(place[1], int(place[2] or 0)), text)


def _filling(kind: str, count: int) -> str:
    match kind:
        case "id":
            return str(random.randint(1, HEROES))
        case "age":
            return str(random.randint(18, 99))
        case "ids:":
            return str(random.sample(range(1, HEROES + 1), count))
        case "heroes:":
            return f"[{', '.join(_hero() for _ in range(count))}]"
        case _:
            return _hero()


def _hero() -> str:
    number = f"{random.getrandbits(32):08x}"
    texts = f'"name": "Hero {number}", "secret_name": "Secret {number}", "password": "password-{number}"'
    return f'{{{texts}, "age": {random.randint(18, 99)}}}'


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
        self.client.request(
            own.method,
            filled(own.path),
            name=own.name,
            data=filled(own.body) or None,
            headers={"Content-Type": "application/json"} if own.body else None,
        )
