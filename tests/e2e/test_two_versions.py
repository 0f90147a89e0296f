"""Two commits of a service that is no part of poolbench, measured side by side from one repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from measured import MEASURED
from repositories import commit, repository, worktrees

from harness.store import RunStore

pytestmark = pytest.mark.postgres
SERVICE = """\
import os
from fastapi import FastAPI
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))
app = FastAPI()

@app.get("/health")
def health():
    return {{}}

@app.get("/things")
def things():
    with engine.connect() as connection:
        for _ in range({times}):
            found = connection.execute(text("SELECT name FROM {table}")).scalar()
    return found
"""
FILL = """\
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE {table} AS SELECT repeat('x', {length}) AS name")
"""
SCENARIO = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task
    def look(self):
        self.client.get("/things")
"""
EXPERIMENT = """\
schema_version = 1
name = "versions"
[target]
app = "shop:app"
dir = "repository/service"
[database]
prepare = ["{python}", "fill.py"]
[arms.base]
target.ref = "main"
[arms.head]
[load]
scenario = "look.py"
rate_rps = 40
warmup_s = 0.5
measure_s = 1.0
[design]
kind = "interleaved"
launches = 1
segment_s = 0.5
"""


def version(table: str, *, times: int, length: int) -> dict[str, str]:
    """The service with its table's name, its statements a request and the length of its answer."""
    return {
        "service/shop.py": SERVICE.format(table=table, times=times),
        "service/fill.py": FILL.format(table=table, length=length),
    }


def test_each_side_runs_its_own_code_on_its_own_tables(poolbench) -> None:
    top = poolbench.cwd / "repository"
    repository(top, version("before", times=1, length=10))
    for name, text in version("after", times=2, length=30).items():  # the working tree, not committed
        (top / name).write_text(text)
    poolbench.write("look.py", SCENARIO)
    done = poolbench("run", poolbench.write("versions.toml", EXPERIMENT), "--json")
    assert done.returncode in MEASURED, done.stderr
    shown = json.loads(done.stdout)

    run = RunStore.open(Path(shown["run"])).read()
    base, head = run.info.cells
    assert base.commit == run.info.experiment.commits["main"]
    for cell, length, statements in ((base, 10, 1), (head, 30, 2)):
        trial = next(own for own in run.trials if own.trial.launch.cell.id == cell.id)
        assert trial.trial.launch.cell.target.dir == str(top / "service"), "where it lies, and not where it was"
        measured = trial.requests[trial.requests["phase"] == "measure"]
        assert set(measured["response_bytes"]) == {length + 2}
        counts = trial.counts[trial.counts["route"] == "/things"]
        assert counts["statements"].sum() == statements * counts["requests"].sum() > 0
    versions = {cell["arm"]: cell["versions"] for cell in shown["cells"]}
    assert versions["base"] == [{"commit": base.commit, "changes": ""}]
    assert [own["commit"] for own in versions["head"]] == [base.commit]
    assert versions["head"][0]["changes"]
    assert worktrees(top) == [str(top)]
    assert poolbench.left_running() == []

    commit(top, {})  # main moves on: what is resumed is what it was
    folder = Path(shown["run"])
    for trial_folder in (folder / "trials").iterdir():
        trial_folder.rename(trial_folder.with_name(f".{trial_folder.name}.aside"))
    resumed = poolbench("run", "--resume", str(folder), "--json")
    assert resumed.returncode in MEASURED, resumed.stderr
    again = {cell["arm"]: cell["versions"] for cell in json.loads(resumed.stdout)["cells"]}
    assert again["base"] == versions["base"]
    assert again["head"] != versions["head"]
