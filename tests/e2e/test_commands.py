"""Services that a command of their own starts: probe and overrides get in, and all of it ends.

One run for all: each is a launch of its own, beside the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from environments import environment_with
from measured import MEASURED

from harness.store import RunStore

pytestmark = pytest.mark.postgres
SERVICE = """\
import os
from fastapi import FastAPI
from sqlalchemy import create_engine, text

assert os.environ["OWN_SITECUSTOMIZE"] == "was imported"
engine = create_engine(os.environ["DSN"], pool_size=20, max_overflow=40, echo=True)
app = FastAPI()

@app.get("/health")
def health():
    return {}

@app.get("/things/{number}")
def thing(number: int):
    with engine.connect() as connection:
        return connection.execute(text("SELECT CAST(:number AS INTEGER)"), {"number": number}).scalar()
"""
SCENARIO = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task
    def look(self):
        self.client.get("/things/7")
"""
OWN_SITECUSTOMIZE = 'import os; os.environ["OWN_SITECUSTOMIZE"] = "was imported"\n'
BEFORE = """\
import os
from sqlalchemy import create_engine
assert create_engine(os.environ["DSN"], pool_size=9).pool.size() == 9, "only what serves is overridden"
os.execvp(os.sys.executable, [os.sys.executable, "-m", "uvicorn", "--port", os.environ["PORT"], "shop:app"])
"""
EXPERIMENT = """\
schema_version = 1
name = "commanded"
[target]
dir = "service"
threadpool_tokens = 11
env = { DSN = "{db_url:postgresql+psycopg2}", PYTHONPATH = ".", PORT = "{port}" }
[pool]
pool_size = 2
max_overflow = 3
[load]
scenario = "visit.py"
rate_rps = 40
warmup_s = 0.5
measure_s = 2.0
[design]
kind = "interleaved"
launches = 1
"""
ARM = """[arms."{way}"]
target.command = {command}
target.python = "{python}"
target.workers = {workers}
"""
GUNICORN = "{python} -m gunicorn -k uvicorn.workers.UvicornWorker -b 127.0.0.1:{port} shop:app"
COMMANDS = {
    "uvicorn": ("{python} -m uvicorn --port {port} --workers 2 shop:app", 2, ()),
    "after-something-else": ("{python} before.py", 1, ()),
    "gunicorn": (f"{GUNICORN} -w 2", 2, ("uvicorn<0.36", "gunicorn<26")),
    "gunicorn-preloaded": (f"{GUNICORN} --preload", 1, ("uvicorn<0.36", "gunicorn<26")),
    "fastapi-run": ("{python} -m fastapi run --port {port} --workers 2 shop.py", 2, ("uvicorn<1", "fastapi-cli<1")),
}
"""words, processes that serve, and what the service's own environment has beside what each needs"""


@pytest.fixture(scope="module")
def shown(shared_poolbench, lacking: Callable[[str], NoReturn]) -> Mapping[str, Any]:
    """What a run shows of all of them, side by side."""
    text = EXPERIMENT
    for way, (command, workers, further) in COMMANDS.items():
        python = Path(sys.executable)
        if further:
            packages = ("sqlalchemy<2.2", "fastapi<1", "psycopg2-binary", *further)
            python = environment_with("3.11", packages, lacking) / "bin" / "python"
        text += ARM.format(way=way, command=json.dumps(command.split()), python=python, workers=workers)
    (shared_poolbench.cwd / "service").mkdir()
    for name, content in (("shop", SERVICE), ("sitecustomize", OWN_SITECUSTOMIZE), ("before", BEFORE)):
        shared_poolbench.write(f"service/{name}.py", content)
    shared_poolbench.write("visit.py", SCENARIO)
    done = shared_poolbench("run", shared_poolbench.write("commanded.toml", text), "--results", "commanded", "--json")
    assert done.returncode in MEASURED, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", COMMANDS)
def test_a_service_that_its_own_command_starts(shown: Mapping[str, Any], way: str) -> None:
    trials = RunStore.open(Path(shown["run"])).read().trials
    evidence = [own for own in trials if own.trial.launch.cell.arm == way][-1]  # of a spoilt sitting there are two
    assert len(evidence.requests) > 40
    assert (evidence.requests["outcome"] == "ok").all()
    assert (evidence.requests["db_ms"] > 0).all(), "each answer carries the probe's figures"
    serving = [process for process in evidence.trial.processes if process.serving]
    assert len(serving) == COMMANDS[way][1]
    assert {process.threadpool_tokens for process in serving} == {11}
    pids = {process.pid for process in serving}
    assert {(own.pool_size, own.max_overflow) for own in evidence.trial.applied if own.pid in pids} == {(2, 3)}
    assert [process.echo_off for process in serving] == [True] * len(serving)
    (cell,) = (cell for cell in shown["cells"] if cell["id"] == evidence.trial.launch.cell.id)
    assert "setting_not_applied" not in cell["findings"]


def test_what_they_have_in_common_is_said_and_nothing_of_them_is_left(
    shown: Mapping[str, Any], shared_poolbench
) -> None:
    assert any("(echo); it was turned off" in note for note in shown["notes"])
    assert shared_poolbench.left_running() == []
