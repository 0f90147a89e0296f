"""Every shipped scenario, in the open model and under plain locust, against a stub with the hero paths."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from load_stub import Answer, Run, Seen, Stub, segment, serving

SCENARIOS = Path(__file__).parents[3] / "scenarios"
NAMES = sorted(path.stem for path in SCENARIOS.glob("[!_]*.py"))


class Heroes:
    """The hero API as far as scenarios can tell: 10 000 heroes, more on request, none deleted twice."""

    def __init__(self) -> None:
        self._next_id = itertools.count(10_001)
        self._ids = set(range(1, 10_001))

    def __call__(self, seen: Seen) -> Answer:
        if seen.path == "/heroes" and seen.method == "POST":
            return self._create(json.loads(seen.body))
        if re.fullmatch(r"/heroes\?offset=\d+&limit=(20|100)", seen.path) and seen.method == "GET":
            return Answer(body=b"[]")
        one = re.fullmatch(r"/heroes/(\d+)", seen.path)
        if one is None or int(one[1]) not in self._ids:
            return Answer(status=404)
        return self._one(seen, int(one[1]))

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
        if seen.method == "PATCH":
            return Answer(status=200 if set(json.loads(seen.body)) == {"age"} else 422)
        return Answer(status=200 if seen.method == "GET" else 405)


def test_there_are_scenarios_to_test() -> None:
    assert NAMES == ["list_pages", "mixed", "read_heavy", "write_heavy"]


@pytest.mark.parametrize("name", NAMES)
def test_in_the_open_model(run: Run, name: str) -> None:
    result = run((SCENARIOS / f"{name}.py").read_text(), Heroes(), segments=[segment(rate_rps=150.0)])
    assert set(result.rows.outcome) == {"ok"}
    assert len(result.rows) > 100
    assert not any(re.search(r"\d", endpoint) for endpoint in result.rows.endpoint), "endpoints carry no ids"


@pytest.mark.parametrize("name", NAMES)
def test_under_plain_locust(name: str, tmp_path: Path) -> None:
    stub = Stub(Heroes())
    scenario = str(SCENARIOS / f"{name}.py")
    with serving(stub) as url:
        command = [sys.executable, "-m", "locust", "-f", scenario, "--host", url]
        done = subprocess.run(
            [*command, "--headless", "-t", "2s", "-u", "2", "-r", "2"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert len(stub.seen) > 5
