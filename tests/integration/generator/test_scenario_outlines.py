"""What `poolbench plan` says of scenarios, which it loads in a process of their own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from harness import scenario
from harness.domain.load import ScenarioOutline
from harness.errors import InfrastructureError, UsageError
from harness.outline import outline
from harness.plan import expand, parse_experiment

OPEN = "rate_rps = 10\n"
SHOP = """
    import sys
    from locust import FastHttpUser, between, events, task
    print("noise", file=sys.stdout)

    @events.init_command_line_parser.add_listener
    def _(parser):
        parser.add_argument("--token", required=True)

    @events.init.add_listener
    def _(**_):
        raise SystemExit("nobody is told anything")

    class Shopper(FastHttpUser):
        weight = 3
        wait_time = between(1, 2)

        @task(2)
        def look(self):
            self.client.get("/look")

        @task
        def buy(self):
            self.client.get("/buy")

    class Clerk(FastHttpUser):
        fixed_count = 1

        @task
        def stock(self):
            self.client.get("/stock")
"""


def looked_at(tmp_path: Path, source: str, load: str) -> tuple[ScenarioOutline, ...]:
    (tmp_path / "shop.py").write_text(textwrap.dedent(source))
    head = 'schema_version = 1\nname = "x"\n[load]\nscenario = "shop.py"\n'
    experiment = parse_experiment(head + textwrap.dedent(load), source="x.toml", folder=tmp_path)
    return scenario.look_at(expand(experiment))


def test_tasks_with_their_shares_and_users_with_their_numbers(tmp_path: Path) -> None:
    load = """
        rate_rps = 10
        arguments = { token = "t" }
        [matrix]
        pool.pool_size = [1, 2]
        load.user_classes = [["Shopper"], ["Shopper", "Clerk"]]
    """
    one, both = looked_at(tmp_path, SHOP, load)
    assert one.tasks == pytest.approx({"look": 2 / 3, "buy": 1 / 3})
    assert both.tasks == pytest.approx({"Shopper.look": 1 / 2, "Shopper.buy": 1 / 4, "Clerk.stock": 1 / 4})
    assert one.notes == ("wait_time of Shopper does not apply in the open model: arrivals follow the rate.",)
    assert len(both.notes) == 2
    (closed,) = looked_at(tmp_path, SHOP, 'model = "closed"\nusers = 5\narguments = { token = "t" }\n')
    assert (closed.users, closed.tasks, closed.notes) == ({"Clerk": 1, "Shopper": 4}, {}, ())


def test_what_applies_to_none_of_many_classes_is_said_once(tmp_path: Path) -> None:
    classes = "".join(
        f"class U{n}(HttpUser):\n    wait_time = constant(1)\n    tasks = [lambda user: None]\n" for n in range(5)
    )
    (one,) = looked_at(tmp_path, "from locust import *\n" + classes, OPEN)
    assert one.notes == (
        "wait_time of U0, U1, U2 and 2 others does not apply in the open model: arrivals follow the rate.",
    )


def test_the_plan_says_it_in_words(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(textwrap.dedent(SHOP))
    head = 'schema_version = 1\nname = "x"\n[load]\nscenario = "shop.py"\narguments = { token = "t" }\n'
    experiment = parse_experiment(head + "rate_rps = 10\n", source="x.toml", folder=tmp_path)
    planned = outline(experiment, scenarios=scenario.look_at(expand(experiment)))
    assert planned.notes[:3] == (
        "shop (open): Shopper.look 50 %, Shopper.buy 25 %, Clerk.stock 25 %.",
        "fixed_count of Clerk does not apply in the open model: its weight gives its share.",
        "wait_time of Shopper does not apply in the open model: arrivals follow the rate.",
    )
    (shown,) = planned.as_dict()["scenarios"]
    assert shown["tasks"]["Clerk.stock"] == 0.25


REFUSED = {
    "a required argument": (SHOP, "arguments are required: --token"),
    "a load shape": (
        "from locust import *\nclass Steps(LoadTestShape):\n    def tick(self):\n        return None\n",
        "has the load shape Steps",
    ),
    "no end of an arrival": (
        "from locust import *\nclass T(TaskSet):\n    tasks = [print]\nclass U(HttpUser):\n    tasks = [T]\n",
        "nests the TaskSet T",
    ),
    "an import that exits": ("raise SystemExit('no')\n", "cannot be imported: line 1: SystemExit: no"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_before_anything_starts(tmp_path: Path, name: str) -> None:
    source, sentence = REFUSED[name]
    with pytest.raises(UsageError, match=sentence):
        looked_at(tmp_path, source, OPEN)


def test_nothing_is_made_that_a_kill_could_leave_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)  # read TMPDIR again
    looks = f"import os\nopen({str(tmp_path / 'seen')!r}, 'w').write(str(os.listdir({str(temporary)!r})))\n"
    looked_at(tmp_path, f"{looks}from locust import *\nclass U(HttpUser):\n    tasks = [print]\n", OPEN)
    assert (tmp_path / "seen").read_text() == "[]"


def test_an_import_that_does_not_end_or_ends_the_process_is_named(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InfrastructureError, match=r"that loads .*shop\.py ended with exit code 3"):
        looked_at(tmp_path, "import os\nprint('noise', flush=True)\nos._exit(3)\n", OPEN)
    monkeypatch.setattr(scenario, "PATIENCE_S", 1.0)
    with pytest.raises(UsageError, match=r"Loading .*shop\.py took longer than 1 s"):
        looked_at(tmp_path, "import time\ntime.sleep(600)\n", OPEN)
