"""Behind a real PgBouncer in transaction mode: the setting makes each driver work, and without it they do not."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from sqlalchemy import make_url, text

from target_app.settings import DriverMode

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.postgres,
]


@pytest.fixture(autouse=True)
def installed() -> None:
    """Skipped by name where it is not installed; in CI, which installs it, that is a failure."""
    if PGBOUNCER is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "pgbouncer is not installed (Debian's package pgbouncer)"
        )


HERO = {"name": "Bounced", "secret_name": "s", "password": "12345678"}

# Two server connections for many clients: what a session leaves behind, another one finds.
CONFIGURATION = """\
[databases]
* = host={host} port={server_port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def bounced_url(seeded_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The seeded database through a PgBouncer of our own."""
    assert PGBOUNCER is not None
    url, port = make_url(seeded_url), free_port()
    folder = tmp_path_factory.mktemp("pgbouncer")
    configuration, log = folder / "pgbouncer.ini", folder / "pgbouncer.log"
    configuration.write_text(
        CONFIGURATION.format(host=url.host, server_port=url.port, user=url.username, password=url.password, port=port)
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PGBOUNCER, "/dev/stdin"],  # it refuses to run as root, and nobody may not read our folders
            stdin=configuration.open("rb"),
            stdout=output,
            stderr=output,
            user=pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None,
        )
    try:
        bounced = url.set(port=port).render_as_string(hide_password=False)
        wait_until_it_serves(bounced, process, log)
        yield bounced
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def wait_until_it_serves(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + 10
    while True:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.02)
        else:
            return


async def statuses_under_load(client: Any) -> set[int]:
    """What twelve clients at once are answered, each reading and writing in turn."""

    async def one(number: int) -> list[int]:
        answers = []
        for _ in range(3):
            answers.append(await client.get(f"/heroes/{number + 1}"))
            answers.append(await client.post("/heroes", json=HERO))
            answers.append(await client.get("/heroes?limit=3"))
        return [answer.status_code for answer in answers]

    return {status for statuses in await asyncio.gather(*map(one, range(12))) for status in statuses}


@pytest.mark.parametrize("pool_class", ["queue", "null"])
@pytest.mark.parametrize("driver", get_args(DriverMode))
async def test_every_driver_works_behind_it(serve: Any, driver: str, pool_class: str, bounced_url: str) -> None:
    pool = {"pool_class": pool_class, "pool_size": 12, "max_overflow": 0, "threadpool_tokens": 40}
    async with serve(driver=driver, database_url=bounced_url, pgbouncer=True, **pool) as client:
        assert await statuses_under_load(client) == {200, 201}


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_ping_leaves_no_transaction_open(serve: Any, driver: str, bounced_url: str, ask: Any) -> None:
    """It would keep one of PgBouncer's server connections until the request's first statement."""
    in_transaction = (
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    pool = {"pool_size": 1, "max_overflow": 0, "pool_pre_ping": True}
    async with serve(driver=driver, database_url=bounced_url, pgbouncer=True, **pool) as client:
        assert (await client.get("/heroes/1")).status_code == 200
        engine = client.app.state.database.engine
        async with engine.connect() as connection:  # pinged: it was used before
            assert ask(in_transaction) == []
            await connection.execute(text("SELECT 1"))
            assert ask(in_transaction) == [("idle in transaction",)]


async def test_imports_and_savepoints_work_behind_it(serve: Any, driver: str, bounced_url: str) -> None:
    async with serve(driver=driver, database_url=bounced_url, pgbouncer=True) as client:
        rows = [HERO, HERO | {"team_id": 999_999}]
        result = (await client.post("/heroes/import", json=rows)).json()

    assert (len(result["imported"]), len(result["refused"])) == (1, 1)


async def test_psycopg_reads_without_a_transaction_behind_it(serve: Any, bounced_url: str) -> None:
    settings = {"driver": "psycopg", "pgbouncer": True, "autocommit_reads": True}
    async with serve(database_url=bounced_url, pool_size=12, **settings) as client:
        assert await statuses_under_load(client) == {200, 201}


@pytest.mark.parametrize(("driver", "settings"), [("asyncpg", {}), ("psycopg", {"prepare_threshold": 0})])
async def test_without_the_setting_prepared_statements_get_lost(
    serve: Any, driver: str, settings: dict[str, int], bounced_url: str
) -> None:
    async with serve(driver=driver, database_url=bounced_url, pool_size=12, max_overflow=0, **settings) as client:
        # Which server connection a client gets is chance: one burst nearly always meets a wrong one, twenty do.
        seen: set[int] = set()
        for _ in range(20):
            seen |= await statuses_under_load(client)
            if 500 in seen:
                break
    assert 500 in seen
