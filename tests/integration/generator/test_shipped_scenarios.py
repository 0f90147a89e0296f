"""Every shipped scenario, in the open model and under plain locust, against a stub with the hero paths."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from load_stub import Answer, Seen, Stub, segment, serving, whole_turns

from harness import drive
from harness.domain.load import LaunchLoad, LoadPlan

SCENARIOS = Path(__file__).parents[3] / "scenarios"
NAMES = sorted(path.stem for path in SCENARIOS.glob("[!_]*.py"))
REQUESTS = (
    "3 GET /heroes/{id}",
    'PATCH /heroes/{id} {"age": {age}}',
    "POST /heroes {hero}",
    "POST /heroes/import {heroes:2}",
    'POST /teams/{id}/heroes {"hero_ids": {ids:3}}',
)
ARGUMENTS: dict[str, dict[str, tuple[str | int, ...]]] = {
    "requests": {"request": REQUESTS},
    "pairs": {"fields": ("two",)},
    "steps": {"times": (1, 2)},
}
"""what scenarios are told: some have nothing of their own, and of two changes of one field one is lost here"""


class Heroes:
    """The hero API as far as scenarios can tell: 10 000 heroes, more on request, none deleted twice."""

    def __init__(self) -> None:
        self._next_id = itertools.count(10_001)
        self._ids = set(range(1, 10_001))
        self._changes: dict[int, dict[str, object]] = {}

    def __call__(self, seen: Seen) -> Answer:
        if seen.path == "/heroes" and seen.method == "POST":
            return self._create(json.loads(seen.body))
        if seen.path == "/heroes/import" and seen.method == "POST":
            return self._only(201, [self._create(hero).status for hero in json.loads(seen.body)] == [201, 201])
        if re.fullmatch(r"/teams/\d+/heroes", seen.path) and seen.method == "POST":
            ids = json.loads(seen.body)["hero_ids"]
            return self._only(200, len(set(ids)) == 3 and set(ids) <= self._ids)
        if re.fullmatch(r"/heroes\?offset=\d+&limit=(20|100)", seen.path) and seen.method == "GET":
            return Answer(body=b"[]")
        one = re.fullmatch(r"/heroes/(\d+)", seen.path)
        if one is None or int(one[1]) not in self._ids:
            return Answer(status=404)
        return self._one(seen, int(one[1]))

    def _only(self, status: int, is_right: bool) -> Answer:
        return Answer(status=status if is_right else 422)

    def _create(self, hero: dict[str, object]) -> Answer:
        if set(hero) != {"name", "secret_name", "password", "age"} or len(str(hero["password"])) < 8:
            return Answer(status=422)
        hero_id = next(self._next_id)
        self._ids.add(hero_id)
        return Answer(status=201, body=json.dumps({"id": hero_id, "name": hero["name"]}).encode())

    def _one(self, seen: Seen, hero_id: int) -> Answer:
        if seen.method == "DELETE" and hero_id > 10_000:
            self._ids.discard(hero_id)
            return Answer(status=204, body=b"")
        if seen.method == "PATCH" and json.loads(seen.body).keys() <= {"age", "name"}:
            self._changes.setdefault(hero_id, {}).update(json.loads(seen.body))
        elif seen.method != "GET":
            return Answer(status=405)
        return Answer(body=json.dumps(self._changes.get(hero_id, {})).encode())


def test_there_are_scenarios_to_test() -> None:
    assert NAMES == ["list_pages", "mixed", "pairs", "read_heavy", "requests", "steps", "write_heavy"]


def test_in_the_open_model(tmp_path: Path) -> None:
    """All in one process, a launch and a service each."""
    segments = [segment(i, name, rate_rps=150.0) for i, name in enumerate(NAMES)]
    with ExitStack() as stack:
        launches = tuple(
            LaunchLoad(
                launch_id=name,
                host=stack.enter_context(serving(Stub(Heroes()))),
                scenario=SCENARIOS / f"{name}.py",
                arguments=ARGUMENTS.get(name, {}),
                request_timeout_s=5.0,
                max_in_flight=200,
            )
            for name in NAMES
        )
        plan = LoadPlan(launches=launches, segments=tuple(segments), turns=whole_turns(segments), output_dir=tmp_path)
        generator = stack.enter_context(drive.start(plan))
        generator.targets_up()
        generator.wait_ready(30.0)
        generator.go()
        generator.wait()
    for name in NAMES:
        rows = drive.read_rows(tmp_path, name, segments)
        assert set(rows.outcome) == {"ok"}, name
        assert len(rows) > 100
        assert not any(re.search(r"\d", endpoint) for endpoint in rows.endpoint), "endpoints carry no ids"


def test_each_draws_from_the_seed_it_is_given() -> None:
    seeds = ["", "1", "7/0", "7/1"]
    code = f"""
import os, runpy
for seed in {seeds}:
    os.environ.pop("POOLBENCH_SEED", None)
    os.environ.update({{"POOLBENCH_SEED": seed}} if seed else {{}})
    print([runpy.run_path(path)["random"].random() for path in {[str(SCENARIOS / f"{name}.py") for name in NAMES]}])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    drawn = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    assert drawn[0] == drawn[1], "plain locust gives none"
    for own in zip(*drawn[1:], strict=True):
        assert len(set(own)) == 3


def test_the_users_of_requests_pause_or_ask_together() -> None:
    code = f"""
import runpy, time
from types import SimpleNamespace as Some
wait_time = runpy.run_path({str(SCENARIOS / "requests.py")!r})["Requester"].wait_time
time.monotonic = lambda: 5.5
for together_s in (0.0, 2.0):
    options = Some(pause_s=3.0, together_s=together_s)
    print(wait_time(Some(environment=Some(parsed_options=options))))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["3.0", "0.5"], "the next moment that two seconds divide is 6"


def test_under_plain_locust(tmp_path: Path) -> None:
    """Side by side, since each only has to work."""
    stubs = {name: Stub(Heroes()) for name in NAMES}
    with ExitStack() as stack:
        runs = {name: stack.enter_context(plain_locust(name, stubs[name], tmp_path)) for name in NAMES}
        at_work = set(NAMES)
        while at_work:
            for name in [name for name in at_work if len(stubs[name].seen) > 5 or runs[name].poll() is not None]:
                runs[name].terminate()
                at_work.discard(name)
            time.sleep(0.05)
        outputs = {name: process.communicate(timeout=60)[1] for name, process in runs.items()}
    for name in NAMES:
        assert runs[name].returncode == 0, outputs[name]
        assert len(stubs[name].seen) > 5


@contextmanager
def plain_locust(name: str, stub: Stub, folder: Path) -> Iterator[subprocess.Popen[str]]:
    with serving(stub) as url:
        command = [sys.executable, "-m", "locust", "-f", str(SCENARIOS / f"{name}.py"), "--host", url]
        options = ["--headless", "-t", "100s", "-u", "2", "-r", "2"]
        for argument, values in ARGUMENTS.get(name, {}).items():
            options += [word for value in values for word in (f"--{argument}", str(value))]
        with subprocess.Popen([*command, *options], cwd=folder, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()
