"""`poolbench run --check`: each task once through the real generator, what would go wrong, and nothing kept."""

from __future__ import annotations

import json
import signal

import pytest

pytestmark = pytest.mark.postgres

SERVICE = """\
import os
import psycopg
from fastapi import FastAPI, HTTPException
from sqlalchemy import create_engine, text

URL = os.environ["DATABASE_URL"]
engine = create_engine(URL.replace("postgresql:", "postgresql+psycopg:"), pool_size=3)
app = FastAPI()
{more}

@app.get("/health")
def health():
    return {{}}

@app.get("/things")
def things():
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()

@app.get("/missing")
def missing():
    with engine.connect() as connection:
        return connection.execute(text("SELECT * FROM nothing")).scalar()

@app.get("/secret")
def secret():
    raise HTTPException(401)
"""
WELL = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task(99)
    def look(self):
        self.client.get("/things")
        self.client.get("/things")
    @task(1)
    def seldom(self):
        self.client.get("/health")
"""
BADLY = (
    WELL
    + """\
    @task(1)
    def missing(self):
        self.client.get("/missing")
    @task(1)
    def secret(self):
        self.client.get("/secret")
    @task(1)
    def silent(self):
        pass
"""
)
EXPERIMENT = """\
schema_version = 1
name = "shop"
[matrix]
pool.pool_size = [1, 4]
[target]
app = "shop:app"
[load]
scenario = "visit.py"
rate = "40%"
"""


def test_every_task_is_sent_once_whatever_its_weight(poolbench) -> None:
    poolbench.write("shop.py", SERVICE.format(more=""))
    poolbench.write("visit.py", WELL)
    done = poolbench("run", poolbench.write("shop.toml", EXPERIMENT), "--check", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    (target,) = shown["targets"]  # two cells that differ in their pool have one
    look, seldom = target["tasks"]
    assert ([r["endpoint"] for r in look["requests"]], look["statements"], look["checkouts"]) == (
        ["GET /things", "GET /things"],
        2,
        2,
    )
    assert ([r["endpoint"] for r in seldom["requests"]], seldom["statements"]) == (["GET /health"], 0)
    assert target["engines"] == ["psycopg, QueuePool 4 + 10"]  # the last cell's size, the service's own overflow
    assert shown["well"]
    assert not (poolbench.cwd / "results").exists()


def test_what_would_go_wrong_is_said_with_its_cause(poolbench) -> None:
    poolbench.write("shop.py", SERVICE.format(more="stray = [psycopg.connect(URL) for _ in range(2)]"))
    poolbench.write("visit.py", BADLY)
    done = poolbench("run", poolbench.write("shop.toml", EXPERIMENT), "--check", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    texts = [problem["text"] for problem in json.loads(done.stdout)["targets"][0]["problems"]]
    missing, secret, silent, strangers = texts
    assert 'relation "nothing" does not exist' in missing
    assert "401, it wants a login" in secret
    assert silent.startswith("silent sent nothing")
    assert strangers.startswith("Connections that belong to none of its engines: 2.")


def test_a_pool_beside_the_engine_and_the_probe_user_are_shown(poolbench) -> None:
    pool = "from psycopg_pool import ConnectionPool\nown = ConnectionPool(URL, min_size=2, max_size=3, open=True)"
    poolbench.write("shop.py", SERVICE.format(more=pool))
    poolbench.write("visit.py", WELL)
    file = poolbench.write("shop.toml", EXPERIMENT + '[probe_user]\nrequest = "GET /secret"\n')
    assert "a probe user sends GET /secret, 0.2 times a second" in poolbench("plan", file).stdout
    done = poolbench("run", file, "--check", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    (target,) = json.loads(done.stdout)["targets"]
    (asked,) = target["tasks"][-1]["requests"]
    assert (target["tasks"][-1]["name"], asked["endpoint"], asked["status"]) == ("probe user", "GET /secret", 401)
    (problem,) = target["problems"]
    assert problem["text"].startswith("probe user, GET /secret: 401")
    assert any("psycopg_pool.ConnectionPool of 2 to 3, made in shop.py:10" in note for note in target["notes"])


def test_what_only_users_can_go_through_is_gone_through_by_users(poolbench) -> None:
    poolbench.write("shop.py", SERVICE.format(more=""))
    slowly = WELL.replace("FastHttpUser, task", "FastHttpUser, constant, task")
    slowly = slowly.replace("(FastHttpUser):", "(FastHttpUser):\n    wait_time = constant(0.2)")
    poolbench.write("visit.py", slowly + "        self.wait()\n")
    closed = EXPERIMENT.replace('rate = "40%"', 'model = "closed"\nusers = 9')
    done = poolbench("run", poolbench.write("shop.toml", closed), "--check", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (target,) = json.loads(done.stdout)["targets"]
    assert "look" in [task["name"] for task in target["tasks"]]


def test_a_check_that_is_interrupted_leaves_no_folder(poolbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(poolbench.cwd / "tmp"))
    (poolbench.cwd / "tmp").mkdir()
    poolbench.write("shop.py", SERVICE.format(more=""))
    poolbench.write("visit.py", WELL)
    process = poolbench.start("run", poolbench.write("shop.toml", EXPERIMENT), "--check")
    poolbench.wait_for(process, lambda: list(poolbench.cwd.glob("tmp/poolbench-check-*/1/go.json")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert list((poolbench.cwd / "tmp").iterdir()) == []
