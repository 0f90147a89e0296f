"""[load.arguments] as the scenario's own argument parser gets them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCENARIO = """
    import argparse
    from locust import FastHttpUser, events, task

    @events.init_command_line_parser.add_listener
    def _(parser):
        group = parser.add_argument_group("shop")
        group.add_argument("--currency", default="EUR", env_var="SHOP_CURRENCY")
        group.add_argument("-n", "--item-count", type=int, default=1)
        parser.add_argument("--token", required=True, is_secret=True)
        parser.add_argument("--deep", action="store_true")
        parser.add_argument("--cache", action=argparse.BooleanOptionalAction, default=True)
        parser.add_argument("--old-flag", type=bool, default=True)
        parser.add_argument("--pages", nargs="+", default=[])
        parser.add_argument("--header", action="append", default=[])
        parser.add_argument("--env", choices=["dev", "prod"], default="dev")
        parser.add_argument("shops", nargs="*")

    class User(FastHttpUser):
        @task
        def read(self):
            self.client.get("/")
"""
ASK = """
    import json, sys
    from pathlib import Path
    from harness.domain.load import LaunchLoad
    from harness.errors import PoolbenchError
    from harness.generator.scenario import load_scenario
    wanted = json.loads(sys.argv[2])
    load = LaunchLoad(launch_id="L", host="http://h", scenario=Path(sys.argv[1]), request_timeout_s=1, max_in_flight=1,
                      arguments=wanted)
    try:
        options = vars(load_scenario(load, {"open"}).environment.parsed_options)
    except PoolbenchError as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
    else:
        print(json.dumps(options, default=str))
"""


def ask(tmp_path: Path, arguments: str, **environment: str) -> str:
    """The scenario's options as JSON, or the refusal: asked in a process of its own, which Locust patches."""
    scenario = tmp_path / "scenario.py"
    scenario.write_text(textwrap.dedent(SCENARIO))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ASK), str(scenario), arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "", **environment},
    )
    return done.stdout.strip()


def test_every_kind_of_argument_takes_its_value(tmp_path: Path) -> None:
    given = """{"currency": "USD", "item-count": 3, "token": "-t=1", "deep": true, "cache": false, "old_flag": false,
                "pages": ["a", "b"], "header": ["x=1", "y=2"], "env": "prod", "shops": ["one", "two"]}"""
    options = ask(tmp_path, given)
    for part in (
        '"currency": "USD"',
        '"item_count": 3',
        '"token": "-t=1"',
        '"deep": true',
        '"cache": false',
        '"old_flag": false',
        '"pages": ["a", "b"]',
        '"header": ["x=1", "y=2"]',
        '"env": "prod"',
        '"shops": ["one", "two"]',
        '"host": "http://h"',
    ):
        assert part in options, options


def test_what_is_not_given_comes_from_its_variable_or_its_default(tmp_path: Path) -> None:
    options = ask(tmp_path, '{"token": "t", "deep": false}', SHOP_CURRENCY="CHF")
    for part in ('"currency": "CHF"', '"item_count": 1', '"deep": false', '"cache": true', '"pages": []'):
        assert part in options, options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{}", "does not accept its arguments: the following arguments are required: --token."),
        ('{"token": "t", "curency": "USD"}', "has no argument 'curency'."),
        ('{"token": "t", "env": "test"}', "argument --env: invalid choice: 'test'"),
        ('{"token": "t", "item-count": "many"}', "argument -n/--item-count: invalid int value: 'many'"),
        ('{"token": "t", "currency": ["USD", "EUR"]}', "argument 'currency' takes one value."),
    ],
)
def test_what_it_does_not_accept_is_refused_with_the_reason(tmp_path: Path, arguments: str, said: str) -> None:
    refusal = ask(tmp_path, arguments)
    assert refusal.startswith('"UsageError: ')
    assert said in refusal
    assert "currency, item_count, token" in refusal or "one value" in refusal
