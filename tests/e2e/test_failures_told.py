"""A service that raises: what failed is told, with what its log said then, and nothing that it said at other times."""

from __future__ import annotations

import json

import pytest
from measured import MEASURED

from harness.store import RunStore

pytestmark = pytest.mark.postgres
SCENARIO = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task
    def order(self):
        self.client.post("/orders")
"""
APP = """\
import logging, sys, time
from fastapi import FastAPI

logging.basicConfig(stream=sys.stderr)
began = []
app = FastAPI()

@app.get("/health")
def health():
    return {}

@app.post("/orders")
def order():
    if not began:
        began.append(time.monotonic())
        logging.error("the cache is cold")
    if time.monotonic() - began[0] > 3:
        try:
            raise KeyError("stock")
        except KeyError:
            logging.exception("order 17 is lost")
            raise
    return {}
"""
EXPERIMENT = """\
schema_version = 1
name = "raising"
[target]
app = "shop:app"
[load]
scenario = "visit.py"
rate_rps = 20
warmup_s = 0.2
measure_s = 5.0
[design]
launches = 1
"""


def test_the_log_lines_around_failures_are_told_and_no_others(poolbench) -> None:
    poolbench.write("visit.py", SCENARIO)
    poolbench.write("shop.py", APP)
    done = poolbench("run", poolbench.write("raising.toml", EXPERIMENT))
    assert done.returncode in MEASURED, done.stdout + done.stderr
    (folder,) = (poolbench.cwd / "results").iterdir()
    trial = RunStore.open(folder).read().trials[-1]  # where the instrument failed, there are two
    failed = (trial.requests["outcome"] != "ok").sum()
    assert 10 < failed < len(trial.requests)
    log = trial.target_log.decode()
    assert "ERROR:root:the cache is cold" in log
    shown = json.loads(poolbench("report", str(folder), "--json").stdout)
    (cell,) = shown["cells"]
    assert cell["failures"][0]["status"] == 500
    assert cell["logged"] == {
        "ERROR:root:order 17 is lost: KeyError: 'stock'": failed,
        "KeyError: 'stock'": failed,  # what uvicorn says of it
    }
    report = (folder / "report.html").read_text()
    for text in (done.stdout, report):
        assert "order 17 is lost" in " ".join(text.split())
        assert "the cache is cold" not in text
    assert "Within a second of them its service logged: " in report
