"""Asks one endpoint again and again; KEY in its path is one of so many keys, in turn."""

from __future__ import annotations

from argparse import ArgumentParser
from itertools import count
from typing import Any

from locust import FastHttpUser, constant, events, task


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--path", default="/lab/heartbeat")
    parser.add_argument("--keys", type=int, default=1)


_parser: Any = events.init_command_line_parser
_parser.add_listener(add_arguments)


class Asker(FastHttpUser):
    """Someone who wants one thing."""

    wait_time = constant(0)
    asked = count()

    @task
    def ask(self) -> None:
        options = self.environment.parsed_options
        key = next(self.asked) % options.keys + 1
        self.client.get(options.path.replace("KEY", str(key)), name=options.path)
