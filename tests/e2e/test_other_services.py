"""Services that are not the reference app: one that poolbench deploys, and one that already runs."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.store import RunStore

MEASURED = (0, 4)
SCENARIO = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task
    def look(self):
        self.client.get("/things")
"""
APP = """\
import os
from fastapi import FastAPI
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"), pool_size=3)
app = FastAPI()

@app.get("/health")
def health():
    return {}

@app.get("/things")
def things():
    with engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM things")).scalar()
"""
IMPORTS = "import os\nfrom sqlalchemy.pool import NullPool"
PREPARE = """\
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE things AS SELECT generate_series(1, 10) AS id")
"""
EXPERIMENT = """\
schema_version = 1
name = "other"
{sections}
[load]
scenario = "visit.py"
rate_rps = 30
warmup_s = 0.2
measure_s = 1.0
[design]
kind = "blocked"
launches = 1
"""


class Service(BaseHTTPRequestHandler):
    """Answers anything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Says nothing."""


@pytest.fixture
def running_service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_service_that_already_runs_is_measured_from_outside(poolbench, running_service: str) -> None:
    poolbench.write("visit.py", SCENARIO)
    text = EXPERIMENT.format(sections=f'[target]\nurl = "{running_service}"')
    done = poolbench("run", poolbench.write("other.toml", text), "--json")
    assert done.returncode in MEASURED, done.stderr
    shown = json.loads(done.stdout)
    (trial,) = RunStore.open(Path(shown["run"])).read().trials
    assert (trial.requests["outcome"] == "ok").all()
    assert len(trial.requests) > 10
    assert len(trial.activity) == 0
    assert any("measured from outside" in note for note in shown["notes"]), shown["notes"]
    html = (Path(shown["run"]) / "report.html").read_text()
    assert running_service in html


@pytest.mark.postgres
def test_a_factor_that_takes_no_effect_anywhere_is_no_comparison(poolbench) -> None:
    """A null pool has no size: its cells are equal, and the faster of them is no finding."""
    poolbench.write("visit.py", SCENARIO)
    poolbench.write("shop.py", APP.replace("pool_size=3", "poolclass=NullPool").replace("import os", IMPORTS))
    poolbench.write("fill.py", PREPARE)
    sections = (
        '[matrix]\n"pool.pool_size" = [1, 5]\n[target]\napp = "shop:app"\n'
        f'[database]\nprepare = ["{sys.executable}", "fill.py"]'
    )
    done = poolbench("run", poolbench.write("other.toml", EXPERIMENT.format(sections=sections)))
    assert done.returncode == 4, done.stdout + done.stderr
    said = (
        "Nothing can be concluded: pool.pool_size did not take effect: 1, 5 were asked for, the service has none "
        "(NullPool)."
    )
    assert said in " ".join(done.stdout.split())
    (folder,) = (poolbench.cwd / "results").iterdir()
    shown = json.loads(poolbench("report", str(folder), "--json").stdout)
    assert (shown["state"], shown["recommended"]) == ("not_applied", None)
    for cell in shown["cells"]:
        assert "setting_not_applied" in cell["findings"]
        assert cell["not_applied"] == {"pool.pool_size": ["none (NullPool)"]}


@pytest.mark.postgres
def test_an_unchanged_app_of_ones_own_is_deployed_and_probed(poolbench) -> None:
    poolbench.write("visit.py", SCENARIO)
    poolbench.write("shop.py", APP)
    poolbench.write("fill.py", PREPARE)
    sections = f'[target]\napp = "shop:app"\n[database]\nprepare = ["{sys.executable}", "fill.py"]'
    done = poolbench("run", poolbench.write("other.toml", EXPERIMENT.format(sections=sections)), "--json")
    assert done.returncode in MEASURED, done.stderr
    (trial,) = RunStore.open(Path(json.loads(done.stdout)["run"])).read().trials
    answered = trial.requests[trial.requests["status"] == 200]
    assert len(answered) == len(trial.requests) > 10
    assert (answered["db_ms"] > 0).all()
    assert (trial.probe["connection_max"].iloc[-1]) == 13  # its own pool_size 3 and SQLAlchemy's default overflow of 10
    assert trial.probe["connection_checkouts"].iloc[-1] > len(answered) / 2  # read ten times a second, before the end
