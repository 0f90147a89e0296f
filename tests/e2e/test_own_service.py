"""docs/own-service.md, followed: its commands in their order, on a service that hard-codes its engine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from environments import environment_with
from measured import MEASURED

from harness.store import RunStore

pytestmark = pytest.mark.postgres

PAGE = Path(__file__).parents[2] / "docs" / "own-service.md"
OLDER = ("sqlalchemy[asyncio]==2.0.0", "uvicorn==0.32.1", "fastapi==0.100.1", "asyncpg")
SHORTER = ("load.measure_s=1", "load.warmup_s=0.3", "design.launches=1", "pool.pool_size=4,8", "load.rate_rps=20")
DATABASE = """\
import os
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import sessionmaker

HOST = os.environ["SHOP_DB_HOST"]
USER, PASSWORD = os.environ["SHOP_DB_USER"], os.environ["SHOP_DB_PASSWORD"]
PORT = os.environ["SHOP_DB_PORT"]
URL = f"postgresql+asyncpg://{USER}:{PASSWORD}@{HOST}:{PORT}/{os.environ['SHOP_DB_NAME']}"

engine = create_async_engine(URL, pool_size=8, max_overflow=4, echo=True)
Sessions = sessionmaker(engine, class_=AsyncSession)
"""
SERVICE = """\
from fastapi import FastAPI
from sqlalchemy import text
from database import Sessions, engine

app = FastAPI()

@app.on_event("startup")
async def fill():
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE orders AS SELECT generate_series(1, 100) AS id"))

@app.get("/healthz")
async def healthz():
    return {}

@app.get("/orders")
async def orders(limit: int = 20):
    async with Sessions() as session:
        found = await session.execute(text("SELECT id FROM orders ORDER BY id LIMIT :limit"), {"limit": limit})
        return found.scalars().all()

@app.get("/orders/{order_id}")
async def order(order_id: int):
    return {}
"""
ELSEWHERE = """\
import os
from fastapi import FastAPI
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))
app = FastAPI(openapi_url="/api/openapi.json")

@app.get("/api/utils/health-check/")
def health():
    return True

@app.get("/api/orders")
def orders():
    with engine.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar()
"""


def commands() -> list[list[str]]:
    """The page's own, without `poolbench` before them."""
    lines = re.findall(r"^\$ poolbench (.+)$", PAGE.read_text(), re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.timeout(400)
def test_the_page_goes_from_a_clone_to_an_answer(poolbench, lacking: Callable[[str], NoReturn]) -> None:
    (poolbench.cwd / "shop").mkdir()
    poolbench.write("shop/database.py", DATABASE)
    poolbench.write("shop/main.py", SERVICE)
    (poolbench.cwd / "shop" / ".venv").symlink_to(environment_with("3.10", OLDER, lacking))
    init, check, plan, run = commands()

    looked = poolbench(*init)
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "engine 1: asyncpg, AsyncAdaptedQueuePool 8 + 4, made in database.py:10" in looked.stdout
    assert "sessions: sessionmaker (database.py:11)" in looked.stdout
    assert "SHOP_DB_HOST (database.py:5)" in looked.stdout
    assert "health: /healthz" in looked.stdout

    checked = poolbench(*check)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Each task was sent once, and nothing went wrong." in checked.stdout

    planned = poolbench(*plan)
    assert planned.returncode == 0, planned.stderr
    for size in (4, 8, 12, 16):  # half of its own, its own, with its overflow, twice its own
        assert f"pool_size {size}" in planned.stdout

    text = (poolbench.cwd / "pool.toml").read_text()
    (poolbench.cwd / "pool.toml").write_text(text.replace('rate = "40%"', '# rate = "40%"'))
    done = poolbench(*run, *(part for key in SHORTER for part in ("--set", key)), "--json")
    assert done.returncode in MEASURED, done.stdout + done.stderr
    trials = RunStore.open(Path(json.loads(done.stdout)["run"])).read().trials
    assert {trial.trial.applied[0].pool_size for trial in trials} == {4, 8}
    assert all((trial.requests["status"] == 200).all() for trial in trials)


def test_a_document_and_a_health_check_at_paths_of_their_own_are_found(poolbench) -> None:
    (poolbench.cwd / "shop").mkdir()
    poolbench.write("shop/main.py", ELSEWHERE)
    done = poolbench("init", "pool", "--app", "main:app", "--dir", "shop")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "health: /api/utils/health-check/" in done.stdout
    assert "OpenAPI: 2 operations, of which 2 can be sent as they are" in done.stdout
    assert "self.client.get('/api/orders')" in (poolbench.cwd / "pool_scenario.py").read_text()


def test_a_service_that_does_not_start_says_why_and_writes_nothing(poolbench) -> None:
    (poolbench.cwd / "shop").mkdir()
    poolbench.write("shop/main.py", 'import os\nKEY = os.environ["SHOP_KEY"]\n')
    done = poolbench("init", "pool", "--app", "main:app", "--dir", "shop")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "KeyError: 'SHOP_KEY'" in done.stderr
    assert "--env NAME=VALUE" in done.stderr
    assert not (poolbench.cwd / "pool.toml").exists()
