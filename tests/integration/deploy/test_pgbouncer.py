"""A PgBouncer for each launch that asks for one: in transaction mode, with its own pool, and gone with the block."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from harness.deploy import bouncers, distances
from harness.deploy.leftovers import TOKEN_VARIABLE, current_owner
from harness.domain.cell import Cell
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec, Load, Network, Pool, Session, Target
from harness.domain.load import Launch
from harness.errors import InfrastructureError

CELL = Cell(
    id="c1",
    label="one",
    factors=(),
    pool=Pool(),
    session=Session(),
    target=Target(),
    database=DatabaseSpec(),
    load=Load(),
)


@pytest.fixture
def installed() -> None:
    """Skipped by name where it is not installed; in CI, which installs it, that is a failure."""
    if shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "pgbouncer is not installed (Debian's package pgbouncer)"
        )


def launch(name: str, network: Network | None = None, **target: object) -> Launch:
    settings = Target(**target)  # type: ignore[arg-type]  # any field may be given
    return Launch(id=name, cell=replace(CELL, target=settings, network=network or Network()), block=1)


def bouncer_processes() -> list[psutil.Process]:
    """Those that this process answers for."""
    token = current_owner().token
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "pgbouncer" and process.environ().get(TOKEN_VARIABLE) == token:
                found.append(process)
        except psutil.Error:
            continue
    return found


def setting(url: str, name: str) -> str:
    """A setting in PgBouncer's own words."""
    console = psycopg.conninfo.make_conninfo(url, dbname="pgbouncer")
    with psycopg.connect(console, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        return {str(row[0]): str(row[1]) for row in connection.execute("SHOW CONFIG")}[name]


@pytest.mark.postgres
@pytest.mark.usefixtures("installed")
def test_each_has_its_own_in_transaction_mode(scratch_database: str) -> None:
    launches = [
        launch("direct"),
        launch("one", pgbouncer=True, pgbouncer_pool_size=1),
        launch("other", pgbouncer=True),
    ]
    direct = {each.id: scratch_database for each in launches}
    with bouncers(launches, direct) as near:
        urls, processes = near.urls, bouncer_processes()
        assert set(near.pids) == {"one", "other"}
        assert set(near.pids.values()) == {process.pid for process in processes}
        folders = [Path(process.cmdline()[-1]).parent for process in processes]
        assert len(processes) == 2
        assert urls["direct"] == scratch_database
        assert len(set(urls.values())) == 3
        assert [setting(urls[name], "default_pool_size") for name in ("one", "other")] == ["1", "20"]
        assert {setting(urls[name], "pool_mode") for name in ("one", "other")} == {"transaction"}
        with ExitStack() as stack:
            # one server connection for three clients at once: it is given back at the end of each transaction
            clients = [stack.enter_context(psycopg.connect(urls["one"], autocommit=True)) for _ in range(3)]
            backends = {client.execute("SELECT pg_backend_pid()").fetchone() for client in clients * 2}
        assert len(backends) == 1
        for process, folder in zip(processes, folders, strict=True):
            assert process.uids().real != 0
            assert {path.stat().st_mode & 0o077 for path in (folder, folder / "users.txt")} == {0}
    assert bouncer_processes() == []
    assert not any(folder.exists() for folder in folders)


@pytest.mark.postgres
@pytest.mark.usefixtures("installed")
def test_a_wrong_password_is_not_let_in(scratch_database: str) -> None:
    with bouncers([launch("one", pgbouncer=True)], {"one": scratch_database}) as near:
        wrong = psycopg.conninfo.make_conninfo(near.urls["one"], password="wrong")
        with pytest.raises(psycopg.OperationalError, match="auth"):
            psycopg.connect(wrong)


@pytest.mark.postgres
@pytest.mark.usefixtures("installed")
def test_a_relay_lies_behind_it(postgres_server: Server, scratch_database: str) -> None:
    launches = [launch("far", Network(rtt_ms=1), pgbouncer=True)]
    with (
        distances(postgres_server, launches, {"far": scratch_database}) as far,
        bouncers(launches, far.urls) as near,
    ):
        urls = near.urls
        far.begin()
        assert urls["far"] not in (scratch_database, far.urls["far"])
        with psycopg.connect(urls["far"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert far.readings()["far"].round_trips >= 2  # BEGIN and SELECT


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that the unprivileged user can reach as well, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_one_that_does_not_come_up_says_why(public_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script stands for a PgBouncer that cannot run on this machine."""
    program = public_folder / "pgbouncer"
    program.write_text("#!/bin/sh\necho cannot load a library\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(public_folder), prepend=os.pathsep)
    urls = {"one": "postgresql://u:p@127.0.0.1:1/d"}
    with (
        pytest.raises(InfrastructureError, match="ended with code 7") as refused,
        bouncers([launch("one", pgbouncer=True)], urls),
    ):
        pass
    assert "cannot load a library" in refused.value.detail


def test_nothing_is_needed_where_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    urls = {"one": "postgresql://u:p@127.0.0.1:1/d"}
    with bouncers([launch("one")], urls) as through:
        assert (through.urls, through.pids) == (urls, {})


def test_without_pgbouncer_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    urls = {"one": "postgresql://u:p@127.0.0.1:1/d"}
    with (
        pytest.raises(InfrastructureError, match="neither on PATH") as refused,
        bouncers([launch("one", pgbouncer=True)], urls),
    ):
        pass
    assert "apt-get install pgbouncer" in refused.value.next_step
    assert "target.pgbouncer = false" in refused.value.next_step
