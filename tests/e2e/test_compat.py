"""A service that hard-codes its engine, in its own interpreter: measured rightly and overridden with every version.

`make compat` goes through all of the covering set; otherwise three of it. Each environment is made from the package
index once and kept in the user's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, product
from pathlib import Path
from typing import NoReturn

import pytest
from covering import Row, covering
from environments import environment_with
from measured import MEASURED

from harness.analyse import analyse
from harness.analyse.littles_law import SHARE_MAX, held, probe_share
from harness.store import RunStore

pytestmark = pytest.mark.postgres
FACTORS: Mapping[str, Sequence[str]] = {
    "python": ("3.9", "3.10", "3.11", "3.12", "3.13"),
    "sqlalchemy": ("==1.4.54", "==2.0.0", "==2.0.36", "<2.1", "<2.2"),
    "uvicorn": ("==0.20.0", "==0.30.6", "==0.32.1", "<1"),
    "fastapi": ("==0.78.0", "==0.100.1", "<1"),
    "driver": ("asyncpg", "psycopg", "psycopg2"),
    "form": ("module", "class", "around"),
}
THREE = (
    ("3.9", "==1.4.54", "==0.20.0", "==0.78.0", "asyncpg", "around"),
    ("3.10", "==2.0.0", "==0.32.1", "==0.100.1", "psycopg", "class"),
    ("3.13", "<2.1", "<1", "<1", "psycopg2", "module"),
)
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary"}


def goes_together(row: Row) -> bool:
    python, sqlalchemy, _uvicorn, _fastapi, driver, form = row
    if sqlalchemy == "==1.4.54" and driver == "psycopg":
        return False  # since 2.0
    if sqlalchemy == "<2.2" and python == "3.9":
        return False  # 2.1 needs 3.10
    if sqlalchemy == "==2.0.0" and python == "3.13":
        return False  # which came two years later; SQLAlchemy follows since 2.0.31
    return form != "around" or driver == "asyncpg"  # create_engine takes the sync half of psycopg


EVERYTHING = os.environ.get("POOLBENCH_COMPAT") == "all"
CHOSEN = tuple(covering(tuple(FACTORS.values()), goes_together)) if EVERYTHING else THREE
WAYS = ("import", "start")
FAILING_WAYS = tuple(product(THREE, WAYS) if EVERYTHING else zip(THREE, cycle(WAYS), strict=False))

SERVICE = """\
import os
import harness
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

DRIVER, FORM = os.environ["SHOP_DRIVER"], os.environ["SHOP_FORM"]
URL = os.environ["SHOP_DSN"].replace("postgresql:", "postgresql+" + DRIVER + ":")
OWN = dict(pool_size=20, max_overflow=40, pool_timeout=7, echo=True)
assert harness.OWNER == "theirs"
app = FastAPI()

def is_async():
    return DRIVER != "psycopg2"

def make():
    if not is_async():
        return create_engine(URL, **OWN)
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
    return AsyncEngine(create_engine(URL, future=True, **OWN)) if FORM == "around" else create_async_engine(URL, **OWN)

class Database:
    def __init__(self):
        self.engine = make()

engine = Database().engine if FORM == "class" else make()
FIRST, SECOND = text("SELECT CAST(:number AS INTEGER)"), text("SELECT pg_sleep(0.01)")

@app.get("/health")
def health():
    return {}

if is_async():
    from sqlalchemy.ext.asyncio import AsyncSession

    @app.get("/things/{number}")
    async def thing(number: int):
        async with AsyncSession(engine) as session:
            await session.execute(SECOND)
            return (await session.execute(FIRST, {"number": number})).scalar()
else:
    @app.get("/things/{number}")
    def thing(number: int):
        with Session(engine) as session:
            session.execute(SECOND)
            return session.execute(FIRST, {"number": number}).scalar()
"""
SCENARIO = """\
from locust import FastHttpUser, task

class Visitor(FastHttpUser):
    @task
    def look(self):
        self.client.get("/things/7")
"""
FAILING = """\
import os

if os.environ["SHOP_FAILS"] == "import":
    raise RuntimeError("as asked")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "as asked"})
"""
FAILING_EXPERIMENT = """\
schema_version = 1
name = "failing"
[target]
app = "shop:app"
python = "{python}"
workers = 2
env = {{ SHOP_FAILS = "{fails}" }}
start_timeout_s = 120
[load]
scenario = "visit.py"
rate_rps = 40
"""
EXPERIMENT = """\
schema_version = 1
name = "compat"
[target]
app = "shop:app"
dir = "service"
python = "{python}"
threadpool_tokens = 11
env = {{ SHOP_DRIVER = "{driver}", SHOP_FORM = "{form}", SHOP_DSN = "{{db_url}}" }}
[pool]
pool_size = 2
max_overflow = 3
[observe]
detail = true
[load]
scenario = "visit.py"
rate_rps = 40
warmup_s = 0.5
measure_s = 2.0
[design]
kind = "blocked"
launches = 1
"""


def interpreter_with(row: Row, lacking: Callable[[str], NoReturn]) -> Path:
    """The interpreter of an environment with these packages."""
    python, sqlalchemy, uvicorn, fastapi, driver, _form = row
    packages = [f"sqlalchemy[asyncio]{sqlalchemy}", f"uvicorn{uvicorn}", f"fastapi{fastapi}"]
    return environment_with(python, [*packages, PACKAGES.get(str(driver), str(driver))], lacking) / "bin" / "python"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("row", CHOSEN, ids=" ".join)
def test_an_unchanged_service_is_measured_and_overridden(
    poolbench, lacking: Callable[[str], NoReturn], row: Row
) -> None:
    driver, form = row[-2:]
    python = interpreter_with(row, lacking)
    (poolbench.cwd / "service" / "harness").mkdir(parents=True)
    poolbench.write("service/harness/__init__.py", 'OWNER = "theirs"\n')
    poolbench.write("service/shop.py", SERVICE)
    poolbench.write("visit.py", SCENARIO)
    text = EXPERIMENT.format(python=python, driver=driver, form=form)
    done = poolbench("run", poolbench.write("compat.toml", text), "--json")
    assert done.returncode in MEASURED, done.stdout + done.stderr
    run = RunStore.open(Path(json.loads(done.stdout)["run"])).read()
    evidence = run.trials[-1]  # where the instrument failed, the launch is measured once more
    trial = evidence.trial

    # What the service hard-codes is overridden where the experiment names it, and stays its own where not.
    (engine,) = trial.applied
    assert (engine.driver, engine.pool_size, engine.max_overflow, engine.pool_timeout_s) == (driver, 2, 3, 7)
    assert evidence.probe["connection_max"].iloc[-1] == 5
    assert evidence.probe["threadpool_tokens_total"].iloc[-1] == 11
    assert "INFO sqlalchemy.engine" not in "".join(log.read_text() for log in Path(run_folder(done)).rglob("*.log"))

    counts = evidence.counts[evidence.counts["status"] == 200]
    things = counts[counts["route"] == "/things/{number}"]
    requests = things["requests"].sum()
    assert requests > 50
    assert (things["statements"].sum(), things["checkouts"].sum(), things["transactions"].sum()) == (
        2 * requests,
        requests,
        requests,
    )

    holds = evidence.holds[evidence.holds["status"] == 200]
    assert (holds["holds"].sum(), holds["statements"].sum(), holds["left"].sum()) == (requests, 2 * requests, 0)
    assert set(holds["connections"]) == {1}
    assert holds["hold_s"].sum() > holds["query_s"].sum() > 0.01 * requests  # of which each sleeps that long
    assert {site.partition(":")[0] for site in evidence.sites["site"]} == {"shop.py"}

    counted = held(evidence.probe)
    assert counted is not None
    assert probe_share(counted) <= SHARE_MAX
    reasons = analyse(run).summary.certificates[trial.id].reasons
    assert not [reason.message for reason in reasons if reason.code.startswith("littles_law")]
    assert not [reason.message for reason in reasons if reason.code == "setting_not_applied"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("row", "fails"), FAILING_WAYS)
def test_workers_that_fail_as_they_start_end_the_run_at_once(
    poolbench, lacking: Callable[[str], NoReturn], row: Row, fails: str
) -> None:
    poolbench.write("shop.py", FAILING)
    poolbench.write("visit.py", SCENARIO)
    text = FAILING_EXPERIMENT.format(python=interpreter_with(row, lacking), fails=fails)
    done = poolbench("run", poolbench.write("failing.toml", text))
    assert done.returncode == 5, done.stdout + done.stderr
    assert "ended as it started, with code 3." in done.stderr
    assert "as asked" in done.stderr


def run_folder(done: subprocess.CompletedProcess[str]) -> str:
    return str(json.loads(done.stdout)["run"])
