"""What took effect is read back from the process: of a service that decides a setting by itself, that one is named."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analyse.applied import not_applied, read_back
from harness.deploy.launcher import environment_of
from harness.domain.cell import Cell
from harness.domain.deployed import RunningTarget
from harness.domain.evidence import Trial
from harness.domain.experiment import DatabaseSpec, Load, Pool, Session, Target
from harness.domain.load import Launch, Ledger
from harness.observe.probe import read_applied

pytestmark = pytest.mark.postgres

APP = "stubborn_app:create_app"
POOL = Pool(pool_size=2, max_overflow=1, pool_timeout_s=3, pool_recycle_s=60, pool_pre_ping=True, pool_use_lifo=True)


def cell(*, pool: Pool = POOL, session: Session | None = None, **target: Any) -> Cell:
    """A cell of the reference app, which takes every setting."""
    return Cell(
        id="c1",
        label="",
        factors=(),
        pool=pool,
        session=session or Session(),
        target=Target(**target),
        database=DatabaseSpec(),
        load=Load(rate_rps=1.0),
        named=("target.workers",),
    )


def trial_of(asked: Cell, folder: Path) -> Trial:
    """What a launch of this cell would keep of what the service's processes have said until now."""
    launch = Launch(id="b1-c1", block=1, cell=asked)
    target = RunningTarget(launch_id="b1-c1", host="", database=None, pids=(), probe_dir=folder, log=None)
    engines, processes = read_applied([target])
    ledger = Ledger(tasks=(), endpoints=(), turns=())
    return Trial(
        id="b1-c1",
        launch=launch,
        sitting=1,
        start_ns=0,
        segments=(),
        ledger=ledger,
        applied=engines,
        processes=processes,
    )


def wait_until_known(asked: Cell, folder: Path, keys: set[str]) -> Trial:
    deadline = time.monotonic() + 20
    while not keys <= {key for key, found in read_back(trial_of(asked, folder)).items() if found}:
        assert time.monotonic() < deadline, read_back(trial_of(asked, folder))
        time.sleep(0.05)
    return trial_of(asked, folder)


ALWAYS = {
    "target.driver",
    "target.workers",
    "target.threadpool_tokens",
    "target.gc_freeze",
    "session.expire_on_commit",
    "pool.pool_class",
    "pool.pool_size",
}
ASYNCPG = {"target.prepared_statement_cache_size", "target.statement_cache_size"}
PSYCOPG = {"target.prepare_threshold"}


@pytest.mark.parametrize(
    ("hard_coded", "asked", "wrong"),
    [
        ("NOTHING=", cell(), {}),
        ("POOL_SIZE=4", cell(), {"pool.pool_size": (2, (4,))}),
        ("MAX_OVERFLOW=4", cell(), {"pool.max_overflow": (1, (4,))}),
        ("POOL_TIMEOUT_S=4", cell(), {"pool.pool_timeout_s": (3, (4,))}),
        ("POOL_RECYCLE_S=-1", cell(), {"pool.pool_recycle_s": (60, (-1,))}),
        ("POOL_PRE_PING=false", cell(), {"pool.pool_pre_ping": (True, (False,))}),
        ("POOL_USE_LIFO=false", cell(), {"pool.pool_use_lifo": (True, (False,))}),
        ("POOL_CLASS=null", cell(), {"pool.pool_class": ("queue", ("NullPool",))}),
        (
            "POOL_CLASS=queue",
            cell(pool=Pool(pool_class="null")),
            {"pool.pool_class": ("null", ("AsyncAdaptedQueuePool",))},
        ),
        ("EXPIRE_ON_COMMIT=true", cell(), {"session.expire_on_commit": (False, (True,))}),
        (
            "EXPIRE_ON_COMMIT=false",
            cell(session=Session(expire_on_commit=True)),
            {"session.expire_on_commit": (True, (False,))},
        ),
        ("DRIVER=psycopg_sync", cell(), {"target.driver": ("asyncpg", ("psycopg, sync",))}),
        ("DRIVER=psycopg", cell(driver="psycopg_sync"), {"target.driver": ("psycopg, sync", ("psycopg",))}),
        ("THREADPOOL_TOKENS=7", cell(), {"target.threadpool_tokens": (40, (7,))}),
        ("GC_FREEZE=true", cell(gc_freeze=False), {"target.gc_freeze": (False, (True,))}),
        ("GC_FREEZE=false", cell(), {"target.gc_freeze": (True, (False,))}),
        ("STATEMENT_CACHE_SIZE=0", cell(), {"target.statement_cache_size": (100, (0,))}),
        ("PREPARED_STATEMENT_CACHE_SIZE=7", cell(), {"target.prepared_statement_cache_size": (100, (7,))}),
        ("PREPARE_THRESHOLD=-1", cell(driver="psycopg"), {"target.prepare_threshold": (5, (-1,))}),
        ("PREPARE_THRESHOLD=0", cell(driver="psycopg_sync"), {"target.prepare_threshold": (5, (0,))}),
        ("PGBOUNCER=true", cell(pgbouncer=True), {}),  # nothing is kept, as it should be
    ],
)
def test_what_a_service_decides_by_itself_is_named(
    launcher: Any, postgres_url: str, tmp_path: Path, *, hard_coded: str, asked: Cell, wrong: dict[str, Any]
) -> None:
    environment = environment_of(asked, launch_id="b1-c1", database_url=postgres_url)
    keys = set(ALWAYS) if asked.pool.pool_class == "queue" and "null" not in hard_coded else ALWAYS - {"pool.pool_size"}
    with launcher.start(APP, **environment, HARD_CODED=hard_coded) as served:
        for _ in range(3):
            served.get("/use")
        if "null" not in hard_coded:
            has = hard_coded.removeprefix("DRIVER=") if hard_coded.startswith("DRIVER=") else asked.target.driver
            keys |= ASYNCPG if has == "asyncpg" else PSYCOPG
        trial = wait_until_known(asked, tmp_path, keys)
    assert {own.key: (own.asked, own.found) for own in not_applied(trial)} == wrong


@pytest.mark.parametrize(("workers", "wrong"), [(2, {}), (3, {"target.workers": (3, (2,))})])
def test_processes_that_serve_are_counted(launcher: Any, tmp_path: Path, workers: int, wrong: dict[str, Any]) -> None:
    asked = cell(workers=workers, pool=Pool(), app="plain_app:app")
    with launcher.start("plain_app:app", "--workers", "2"):
        deadline = time.monotonic() + 20
        while read_back(trial_of(asked, tmp_path))["target.workers"] != (2,):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        trial = trial_of(asked, tmp_path)
    assert {own.key: (own.asked, own.found) for own in not_applied(trial)} == wrong


def test_of_a_service_without_sqlalchemy_nothing_is_said_of_its_pool(launcher: Any, tmp_path: Path) -> None:
    asked = cell(pool=Pool(), app="plain_app:app")
    with launcher.start("plain_app:app"):
        trial = wait_until_known(asked, tmp_path, {"target.workers"})
    seen = {key for key, found in read_back(trial).items() if found}
    assert seen <= {"target.workers", "target.threadpool_tokens", "target.gc_freeze"}
    assert not_applied(trial) == ()


def test_once_enough_sessions_were_seen_sqlalchemy_has_its_own_method_back(launcher: Any, tmp_path: Path) -> None:
    """Nothing of ours is left on a request's way."""
    with launcher.start(APP, HARD_CODED="NOTHING=") as served:
        hooks: Callable[[], bool] = lambda: served.get("/hooked").json()  # noqa: E731
        assert hooks()
        for _ in range(20):
            served.get("/use")
        assert not hooks()
