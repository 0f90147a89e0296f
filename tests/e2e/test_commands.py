"""Services that a command of their own starts: probe and overrides get in, and all of it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

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
command = {command}
dir = "service"
python = "{python}"
workers = {workers}
threadpool_tokens = 11
env = {{ DSN = "{{db_url:postgresql+psycopg2}}", PYTHONPATH = ".", PORT = "{{port}}" }}
[pool]
pool_size = 2
max_overflow = 3
[load]
scenario = "visit.py"
rate_rps = 40
warmup_s = 0.5
measure_s = 2.0
[design]
kind = "blocked"
launches = 1
"""
GUNICORN = "{python} -m gunicorn -k uvicorn.workers.UvicornWorker -b 127.0.0.1:{port} shop:app"
COMMANDS = {
    "uvicorn": ("{python} -m uvicorn --port {port} --workers 2 shop:app", 2, ()),
    "after something else": ("{python} before.py", 1, ()),
    "gunicorn": (f"{GUNICORN} -w 2", 2, ("uvicorn<0.36", "gunicorn<26")),
    "gunicorn, loaded before it forks": (f"{GUNICORN} --preload", 1, ("uvicorn<0.36", "gunicorn<26")),
    "fastapi run": ("{python} -m fastapi run --port {port} --workers 2 shop.py", 2, ("uvicorn<1", "fastapi-cli<1")),
}
"""words, processes that serve, and what the service's own environment has beside what each needs"""


@pytest.mark.parametrize("way", COMMANDS)
def test_a_service_that_its_own_command_starts(poolbench, lacking: Callable[[str], NoReturn], way: str) -> None:
    command, workers, further = COMMANDS[way]
    python = Path(sys.executable)
    if further:
        packages = ("sqlalchemy<2.2", "fastapi<1", "psycopg2-binary", *further)
        python = environment_with("3.11", packages, lacking) / "bin" / "python"
    (poolbench.cwd / "service").mkdir()
    for name, text in (("shop", SERVICE), ("sitecustomize", OWN_SITECUSTOMIZE), ("before", BEFORE)):
        poolbench.write(f"service/{name}.py", text)
    poolbench.write("visit.py", SCENARIO)
    text = EXPERIMENT.format(command=json.dumps(command.split()), python=python, workers=workers)
    done = poolbench("run", poolbench.write("commanded.toml", text), "--json")
    assert done.returncode in MEASURED, done.stderr
    shown = json.loads(done.stdout)
    evidence = RunStore.open(Path(shown["run"])).read().trials[-1]  # where the instrument failed, there are two
    assert len(evidence.requests) > 40
    assert (evidence.requests["outcome"] == "ok").all()
    assert (evidence.requests["db_ms"] > 0).all(), "each answer carries the probe's figures"
    serving = [process for process in evidence.trial.processes if process.serving]
    assert len(serving) == workers
    assert {process.threadpool_tokens for process in serving} == {11}
    pids = {process.pid for process in serving}
    assert {(own.pool_size, own.max_overflow) for own in evidence.trial.applied if own.pid in pids} == {(2, 3)}
    assert "setting_not_applied" not in shown["cells"][0]["findings"]
    assert any("(echo); it was turned off" in note for note in shown["notes"])
    assert poolbench.left_running() == []
