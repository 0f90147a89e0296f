"""Services that are not the reference app: one that poolbench deploys, and one that already runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from measured import MEASURED

from harness.store import RunStore

SCENARIO = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task
    def look(self):
        self.client.get("/things")
"""
COUNTING = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task
    def look(self):
        with self.client.get("/things", catch_response=True) as answer:
            if answer.text != "11":
                answer.failure(f"{answer.text} things")
"""
APP = """\
import os
from fastapi import FastAPI
from sqlalchemy import URL, create_engine, text

parts = {name: os.environ[f"SHOP_{name.upper()}"] for name in ("username", "password", "host", "port", "database")}
url = URL.create("postgresql+psycopg", **parts | {"port": int(parts["port"])})
engine = create_engine(url, pool_size=3, max_overflow=7, pool_timeout=9)
app = FastAPI()

@app.get("/health")
def health():
    return {}

@app.get("/things")
def things():
    with engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM things")).scalar()

@app.post("/things")
def add():
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO things VALUES (1000)"))
"""
WITHOUT_ENGINE = """\
import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    size = int(os.environ["POOL"])
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=size, max_size=size)
    yield
    await app.state.pool.close()

app = FastAPI(lifespan=lifespan)

@app.get("/health")
async def health():
    return {}

@app.get("/things")
async def things():
    async with app.state.pool.acquire() as connection:
        return await connection.fetchval("SELECT 1")
"""
POOL = "pool_size=3, max_overflow=7, pool_timeout=9"
IMPORTS = "import os\nfrom sqlalchemy.pool import NullPool"
PREPARE = """\
import os, sys, psycopg
with psycopg.connect(os.environ["SHOP_DSN"]) as connection:
    connection.execute(sys.argv[1])
"""
OVER_HTTP = """\
import sys, urllib.request
assert urllib.request.urlopen(sys.argv[1] + "/things", data=b"").status == 200
"""
OWN = """\
[target]
app = "shop:app"
prepare = ["{python}", "over_http.py", "{url}"]
[target.env]
SHOP_USERNAME = "{db_user}"
SHOP_PASSWORD = "{db_password}"
SHOP_HOST = "{db_host}"
SHOP_PORT = "{db_port}"
SHOP_DATABASE = "{db_name}"
SHOP_DSN = "{db_url}"
[pool]
max_overflow = 1
[database]
prepare = [
    ["{python}", "fill.py", "CREATE SCHEMA extra"],
    ["{python}", "fill.py", "CREATE TABLE things AS SELECT generate_series(1, 10) AS id"],
]
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
    trial = RunStore.open(Path(shown["run"])).read().trials[-1]  # where the instrument failed, there are two
    assert (trial.requests["outcome"] == "ok").all()
    assert len(trial.requests) > 10
    assert len(trial.activity) == 0
    assert any("measured from outside" in note for note in shown["notes"]), shown["notes"]
    html = (Path(shown["run"]) / "report.html").read_text()
    assert running_service in html


@pytest.fixture(params=["embedded", "url", "container"])
def provider(request: pytest.FixtureRequest) -> str:
    """What [database] says of where Postgres comes from."""
    if request.param == "url":
        return f'provider = "url"\nurl = "{request.getfixturevalue("postgres_url")}"'
    if request.param == "container":
        return f'provider = "container"\nimage = "{request.getfixturevalue("container_image")}"'
    return 'provider = "embedded"'


@pytest.mark.postgres
def test_a_factor_that_takes_no_effect_anywhere_is_no_comparison(poolbench) -> None:
    """A null pool has no size: its cells are equal, and the faster of them is no finding."""
    poolbench.write("visit.py", SCENARIO)
    poolbench.write("shop.py", APP.replace(POOL, "poolclass=NullPool").replace("import os", IMPORTS))
    poolbench.write("fill.py", PREPARE)
    poolbench.write("over_http.py", OVER_HTTP)
    sections = '[matrix]\n"pool.pool_size" = [1, 5]\n' + OWN.replace("max_overflow = 1", "")
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
def test_an_unchanged_app_of_ones_own_is_filled_overridden_and_probed_with_every_provider(
    poolbench, provider: str
) -> None:
    poolbench.write("visit.py", COUNTING)
    poolbench.write("shop.py", APP)
    poolbench.write("fill.py", PREPARE)
    poolbench.write("over_http.py", OVER_HTTP)
    file = poolbench.write("other.toml", EXPERIMENT.format(sections=OWN + provider))
    if "embedded" in provider:  # a check takes its place as a run does
        checked = poolbench("run", file, "--check")
        assert checked.returncode == 0, checked.stdout + checked.stderr

    done = poolbench("run", file, "--json")
    assert done.returncode in MEASURED, done.stderr
    trial = RunStore.open(Path(json.loads(done.stdout)["run"])).read().trials[-1]  # as above
    answered = trial.requests[trial.requests["outcome"] == "ok"]  # ten things of the first prepare, one of the second
    assert len(answered) == len(trial.requests) > 10
    assert (answered["db_ms"] > 0).all()
    (engine,) = trial.trial.applied
    assert (engine.pool_size, engine.max_overflow, engine.pool_timeout_s) == (3, 1, 9)  # its own, ours, its own
    assert trial.probe["connection_max"].iloc[-1] == 4
    assert trial.probe["connection_checkouts"].iloc[-1] > len(answered) / 2  # read ten times a second, before the end
    assert len(trial.activity) > 0


@pytest.mark.postgres
def test_a_pool_of_the_drivers_own_is_named_counted_and_swept_through_its_variable(poolbench) -> None:
    poolbench.write("visit.py", SCENARIO)
    poolbench.write("shop.py", WITHOUT_ENGINE)
    sections = '[matrix]\ntarget.env.POOL = ["2", "5"]\n[target]\napp = "shop:app"'
    file = poolbench.write("other.toml", EXPERIMENT.format(sections=sections))
    checked = poolbench("run", file, "--check", "--set", "pool.pool_size=2")
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "pool.pool_size would not take effect: the service has no engine of SQLAlchemy's" in checked.stdout
    assert "asyncpg.Pool of 5 to 5, made in shop.py:10" in checked.stdout

    done = poolbench("run", file, "--json")
    assert done.returncode in MEASURED, done.stderr
    shown = json.loads(done.stdout)
    (note,) = (note for note in shown["notes"] if "no engine" in note)
    for size in (2, 5):
        assert f"asyncpg.Pool of {size} to {size}, made in shop.py:10" in note
    trials = RunStore.open(Path(shown["run"])).read().trials
    for trial in trials:
        connections = trial.activity.groupby("t_ns")["connections"].sum()
        assert trial.trial.launch.cell.factors == (("target.env.POOL", str(connections.max())),)
