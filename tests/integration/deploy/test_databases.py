"""Templates, clones and what a dead run left on a server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from harness.deploy import checkpoint, clone, template
from harness.deploy.connection import admin
from harness.deploy.databases import drop_leftovers
from harness.deploy.leftovers import current_owner
from harness.domain.evidence import Server
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError

pytestmark = pytest.mark.postgres


def filling(tmp_path: Path, *, ends_with: int = 0) -> tuple[Sequence[str], Path]:
    """A prepare command that fills one table, and the file to which it adds a line each time it runs."""
    ran = tmp_path / f"ran-{uuid4().hex[:8]}"
    code = (
        "import os, pathlib, psycopg, sys\n"
        f"pathlib.Path({str(ran)!r}).open('a').write('once\\n')\n"
        "with psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "    connection.execute('CREATE TABLE heroes AS SELECT generate_series(1, 50) AS id')\n"
        "print('the last words')\n"
        f"sys.exit({ends_with})\n"
    )
    return (sys.executable, "-c", code), ran


def databases(server: Server) -> set[str]:
    with admin(server) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


def fresh_name() -> str:
    return f"poolbench_{uuid4().hex[:4]}_b1-c1"


def test_a_clone_has_the_templates_rows_and_goes_with_its_block(postgres_server: Server, tmp_path: Path) -> None:
    source = template(postgres_server, DatabaseSpec(), filling(tmp_path)[0])
    name = fresh_name()
    with clone(postgres_server, source, name) as made:
        assert made == name
        lingering = psycopg.connect(postgres_server.url(name))  # does not hinder the drop
        assert lingering.execute("SELECT count(*) FROM heroes").fetchone() == (50,)
    assert name not in databases(postgres_server)
    with pytest.raises(psycopg.OperationalError):
        lingering.execute("SELECT 1")
    lingering.close()


def test_clones_do_not_see_each_others_writes(postgres_server: Server, tmp_path: Path) -> None:
    source = template(postgres_server, DatabaseSpec(), filling(tmp_path)[0])
    with clone(postgres_server, source, fresh_name()) as one, clone(postgres_server, source, fresh_name()) as other:
        with psycopg.connect(postgres_server.url(one)) as connection:
            connection.execute("DELETE FROM heroes")
        with psycopg.connect(postgres_server.url(other)) as connection:
            assert connection.execute("SELECT count(*) FROM heroes").fetchone() == (50,)


def test_a_template_is_filled_once_however_many_ask_at_once(postgres_server: Server, tmp_path: Path) -> None:
    prepare, ran = filling(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(template, postgres_server, DatabaseSpec(), prepare) for _ in range(3)]
        assert len({future.result() for future in asked}) == 1
    assert ran.read_text() == "once\n"


def test_nobody_may_connect_to_a_template(postgres_server: Server, tmp_path: Path) -> None:
    name = template(postgres_server, DatabaseSpec(), filling(tmp_path)[0])
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(postgres_server.url(name))


def test_a_failed_filling_shows_its_last_lines_and_leaves_no_database(postgres_server: Server, tmp_path: Path) -> None:
    prepare, ran = filling(tmp_path, ends_with=3)
    before = databases(postgres_server)
    with pytest.raises(InfrastructureError, match="ended with code 3") as raised:
        template(postgres_server, DatabaseSpec(), prepare)
    assert ran.exists()
    assert "the last words" in raised.value.detail
    assert databases(postgres_server) == before


def test_a_checkpoint_is_forced_on_our_own_server_only(postgres_server: Server) -> None:
    def location() -> object:
        with admin(postgres_server) as connection:
            return connection.execute("SELECT checkpoint_lsn FROM pg_control_checkpoint()").fetchone()

    before = location()
    checkpoint(postgres_server)
    assert location() != before


def test_only_databases_signed_by_a_dead_run_are_dropped(postgres_server: Server) -> None:
    code = "from harness.deploy.leftovers import current_owner; print(current_owner().to_text())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    comments = {
        f"poolbench_dead_{uuid4().hex[:6]}": dead,
        f"poolbench_live_{uuid4().hex[:6]}": current_owner().to_text(),
        f"poolbench_users_own_{uuid4().hex[:6]}": "our production data",
        f"poolbench_silent_{uuid4().hex[:6]}": None,
        f"unrelated_{uuid4().hex[:6]}": dead,
    }
    with admin(postgres_server) as connection:
        for name, comment in comments.items():
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
            connection.execute(SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(name), Literal(comment)))
        try:
            dropped = drop_leftovers(postgres_server)
            assert [name for name in dropped if name in comments] == [next(iter(comments))]
            assert set(comments) - databases(postgres_server) == {next(iter(comments))}
        finally:
            for name in comments:
                connection.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))
