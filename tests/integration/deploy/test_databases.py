"""Templates, clones and what a dead run left on a server."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from harness.deploy import checkpoint, clone, start_database, template
from harness.deploy.connection import admin
from harness.deploy.databases import drop_leftovers
from harness.deploy.leftovers import current_owner
from harness.domain.cell import Cell
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec, Load, Pool, Session, Target
from harness.errors import InfrastructureError

pytestmark = pytest.mark.postgres


def filling(tmp_path: Path, *, ends_with: int = 0) -> tuple[Sequence[Sequence[str]], Path]:
    """Commands, of which the only one fills one table, and the file to which it adds a line each time it runs."""
    ran = tmp_path / f"ran-{uuid4().hex[:8]}"
    code = (
        "import os, pathlib, psycopg, sys\n"
        f"pathlib.Path({str(ran)!r}).open('a').write('once\\n')\n"
        "with psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "    connection.execute('CREATE TABLE heroes AS SELECT generate_series(1, 50) AS id')\n"
        "print('the last words')\n"
        f"sys.exit({ends_with})\n"
    )
    return [(sys.executable, "-c", code)], ran


DO = """\
import os, psycopg, sys
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute(sys.argv[1])
"""


def databases(server: Server) -> set[str]:
    with admin(server) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


def a_cell(target: Target) -> Cell:
    parts: dict[str, Any] = {"pool": Pool(), "session": Session(), "database": DatabaseSpec(), "load": Load()}
    return Cell(id="c1", label="one", factors=(), target=target, **parts)


SHOP = """\
import os, psycopg

with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS things (name text)")

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/add":
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            connection.execute("INSERT INTO things VALUES (%s)", [scope["query_string"].decode()])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""
ADD = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + '/add?' + sys.argv[2]).read()"


def test_what_is_filled_through_the_running_service_is_in_every_clone(
    postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "shop.py").write_text(SHOP)
    prepare = tuple(
        ("{python}", "-c", ADD, url, name) for url, name in (("{url}", "a"), ("http://127.0.0.1:{port}", "b"))
    )
    shop = a_cell(Target(app="shop:app", dir=str(tmp_path), prepare=prepare))
    with (
        template(postgres_server, DatabaseSpec(), (), cell=shop) as source,
        clone(postgres_server, source, fresh_name()) as name,
        psycopg.connect(postgres_server.url(name)) as connection,
    ):
        assert connection.execute("SELECT name FROM things ORDER BY name").fetchall() == [("a",), ("b",)]
        assert connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'things'").fetchone() == (2,)
    assert not list(tmp_path.glob("poolbench-prepare-*"))


def test_filling_through_the_service_that_fails_is_named(
    postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "shop.py").write_text(SHOP)
    failing = ("{python}", "-c", "print('the last words'); raise SystemExit(3)")
    before = databases(postgres_server)
    shop = a_cell(Target(app="shop:app", dir=str(tmp_path), prepare=failing))
    with (
        pytest.raises(InfrastructureError, match=r"SystemExit\(3\) ended with code 3") as raised,
        template(postgres_server, DatabaseSpec(), (), cell=shop),
    ):
        pass
    assert raised.value.detail == "the last words"
    assert databases(postgres_server) == before


def fresh_name() -> str:
    return f"poolbench_{uuid4().hex[:4]}_b1-c1"


def test_an_own_apps_database_is_filled_as_the_app_runs(postgres_server: Server, tmp_path: Path) -> None:
    """In its folder, by its interpreter, under the names by which it knows its database."""
    (tmp_path / "fill.py").write_text(
        "import os, pathlib, psycopg, sys\n"
        "parts = {name: os.environ[f'SHOP_{name}'] for name in ('HOST', 'PORT', 'USER', 'PASSWORD', 'DBNAME')}\n"
        "with psycopg.connect(**{name.lower(): value for name, value in parts.items()}) as connection:\n"
        "    connection.execute('CREATE TABLE seen AS SELECT %s AS python', [sys.executable])\n"
        "assert os.environ['DATABASE_URL'].startswith('postgresql+asyncpg://')\n"
    )
    env = {f"SHOP_{name}": f"{{db_{name.lower()}}}" for name in ("HOST", "PORT", "USER", "PASSWORD")}
    env |= {"SHOP_DBNAME": "{db_name}", "DATABASE_URL": "{db_url:postgresql+asyncpg}"}
    shop = Target(app="shop:app", dir=str(tmp_path), python=sys.executable, env=env)
    name = fresh_name()
    with (
        template(postgres_server, DatabaseSpec(), [["{python}", "fill.py"]], cell=a_cell(shop)) as source,
        clone(postgres_server, source, name),
        psycopg.connect(postgres_server.url(name)) as connection,
    ):
        assert connection.execute("SELECT python FROM seen").fetchall() == [(sys.executable,)]


def test_commands_run_one_after_the_other_and_what_they_leave_is_analysed(postgres_server: Server) -> None:
    statements = (
        "CREATE TABLE things AS SELECT generate_series(1, 3000) AS id",
        "CREATE TABLE more AS TABLE things",
    )
    commands = [(sys.executable, "-c", DO, statement) for statement in statements]
    with (
        template(postgres_server, DatabaseSpec(), commands) as source,
        clone(postgres_server, source, fresh_name()) as name,
        psycopg.connect(postgres_server.url(name)) as connection,
    ):
        known = "SELECT reltuples, relallvisible > 0 FROM pg_class WHERE relname IN ('things', 'more')"
        assert connection.execute(known).fetchall() == [(3000, True), (3000, True)]
        assert connection.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'more'").fetchone() == (1,)


def test_after_a_command_that_fails_none_is_run(postgres_server: Server, tmp_path: Path) -> None:
    failing = (sys.executable, "-c", DO, "SELECT 1 / 0")
    then, ran = filling(tmp_path)
    with (
        pytest.raises(InfrastructureError, match=r"(?s)database failed: .* SELECT 1 / 0 ended with") as raised,
        template(postgres_server, DatabaseSpec(), [failing, *then]),
    ):
        pass
    assert "division by zero" in raised.value.detail
    assert not ran.exists()


def test_an_extension_that_the_server_lacks_is_named_with_where_there_is_one(postgres_server: Server) -> None:
    wanted = (sys.executable, "-c", DO, "CREATE EXTENSION flux_capacitor")
    with pytest.raises(InfrastructureError) as raised, template(postgres_server, DatabaseSpec(), [wanted]):
        pass
    assert "without the extension flux_capacitor" in raised.value.next_step
    assert '"container"' in raised.value.next_step


def test_without_a_command_the_database_is_empty(postgres_server: Server) -> None:
    name = fresh_name()
    with (
        template(postgres_server, DatabaseSpec(), ()) as source,
        clone(postgres_server, source, name),
        psycopg.connect(postgres_server.url(name)) as connection,
    ):
        assert connection.execute("SELECT count(*) FROM pg_stat_user_tables").fetchall() == [(0,)]


def test_a_clone_has_the_templates_rows_and_goes_with_its_block(postgres_server: Server, tmp_path: Path) -> None:
    name = fresh_name()
    with (
        template(postgres_server, DatabaseSpec(), filling(tmp_path)[0]) as source,
        clone(postgres_server, source, name) as made,
    ):
        assert made == name
        lingering = psycopg.connect(postgres_server.url(name))  # does not hinder the drop
        assert lingering.execute("SELECT count(*) FROM heroes").fetchone() == (50,)
    assert name not in databases(postgres_server)
    with pytest.raises(psycopg.OperationalError):
        lingering.execute("SELECT 1")
    lingering.close()


def test_clones_do_not_see_each_others_writes(postgres_server: Server, tmp_path: Path) -> None:
    with (
        template(postgres_server, DatabaseSpec(), filling(tmp_path)[0]) as source,
        clone(postgres_server, source, fresh_name()) as one,
        clone(postgres_server, source, fresh_name()) as other,
    ):
        with psycopg.connect(postgres_server.url(one)) as connection:
            connection.execute("DELETE FROM heroes")
        with psycopg.connect(postgres_server.url(other)) as connection:
            assert connection.execute("SELECT count(*) FROM heroes").fetchone() == (50,)


def test_a_template_is_filled_once_however_many_ask_at_once(postgres_server: Server, tmp_path: Path) -> None:
    prepare, ran = filling(tmp_path)

    def ask(_number: int) -> str:
        with template(postgres_server, DatabaseSpec(), prepare) as name:
            return name

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(ask, range(3)))) == 1
    assert ran.read_text() == "once\n"


def test_nobody_may_connect_to_a_template(postgres_server: Server, tmp_path: Path) -> None:
    with (
        template(postgres_server, DatabaseSpec(), filling(tmp_path)[0]) as name,
        pytest.raises(psycopg.OperationalError, match="not currently accepting connections"),
    ):
        psycopg.connect(postgres_server.url(name))


def test_a_failed_filling_shows_its_last_lines_and_leaves_no_database(postgres_server: Server, tmp_path: Path) -> None:
    prepare, ran = filling(tmp_path, ends_with=3)
    before = databases(postgres_server)
    with (
        pytest.raises(InfrastructureError, match="ended with code 3") as raised,
        template(postgres_server, DatabaseSpec(), prepare),
    ):
        pass
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


@pytest.fixture
def url_server(postgres_server: Server) -> Iterator[Server]:
    """The same server as one that is not ours."""
    with start_database(DatabaseSpec(provider="url", url=postgres_server.url("postgres"))) as server:
        yield server


def test_on_a_server_that_is_not_ours_a_template_goes_with_its_block(url_server: Server, tmp_path: Path) -> None:
    prepare, ran = filling(tmp_path)
    with template(url_server, DatabaseSpec(), prepare) as name:
        with template(url_server, DatabaseSpec(), prepare) as again:  # cells that come back to it find it
            assert again == name
        assert name in databases(url_server)
    assert name not in databases(url_server)
    assert ran.read_text() == "once\n"


def test_the_template_of_a_killed_run_is_dropped_by_the_next_start(postgres_server: Server) -> None:
    code = (
        "import os, sys; from harness.deploy import start_database, template\n"
        "from harness.domain.experiment import DatabaseSpec\n"
        "with start_database(DatabaseSpec(provider='url', url=sys.argv[1])) as server:\n"
        "    with template(server, DatabaseSpec(), [('true',)]) as name: print(name, flush=True); os._exit(9)"
    )
    url = postgres_server.url("postgres")
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False)
    name = done.stdout.strip()
    assert name in databases(postgres_server)
    with start_database(DatabaseSpec(provider="url", url=url)) as server:
        assert name not in databases(server)


def test_a_database_that_is_there_already_is_left_alone(postgres_server: Server, tmp_path: Path) -> None:
    """Two resumes of one run on one server would otherwise drop each other's databases."""
    name = fresh_name()
    with template(postgres_server, DatabaseSpec(), filling(tmp_path)[0]) as source:
        with clone(postgres_server, source, name):
            with (
                pytest.raises(InfrastructureError, match=f"a database {name} on the server already"),
                clone(postgres_server, source, name),
            ):
                pass
            assert name in databases(postgres_server)
        assert name not in databases(postgres_server)


def test_the_service_owns_its_database_and_is_no_superuser(postgres_server: Server, tmp_path: Path) -> None:
    """Its tables are its own, an administrator's extensions are there, and what Postgres keeps back stays kept back."""
    code = (
        "import os, psycopg\n"
        "with psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "    connection.execute('CREATE EXTENSION pg_stat_statements')\n"  # not a trusted one
        "    connection.execute('CREATE TABLE heroes AS SELECT generate_series(1, 50) AS id')\n"
    )
    with (
        template(postgres_server, DatabaseSpec(), [(sys.executable, "-c", code)]) as source,
        clone(postgres_server, source, fresh_name()) as name,
        psycopg.connect(postgres_server.app_url(name), autocommit=True) as connection,
    ):
        query = "SELECT rolsuper, rolname FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(query).fetchone() == (False, "poolbench_app")
        connection.execute("ALTER TABLE heroes ADD age int")
        connection.execute("CREATE TABLE more (id int)")
        assert connection.execute("SELECT count(*) FROM heroes").fetchone() == (50,)
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        assert connection.execute(owner).fetchone() == ("poolbench_app",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CHECKPOINT")
        with admin(postgres_server) as watching:
            seen = "SELECT state, query FROM pg_stat_activity WHERE datname = %s AND usename = 'poolbench_app'"
            assert watching.execute(seen, [name]).fetchone() == ("idle", "CHECKPOINT")


def test_reserved_connections_are_not_the_services(tmp_path: Path) -> None:
    spec = DatabaseSpec(settings={"max_connections": 8, "superuser_reserved_connections": 3})
    with start_database(spec) as server:
        taken: list[psycopg.Connection[tuple[object, ...]]] = []
        with pytest.raises(psycopg.OperationalError, match="reserved"):
            taken.extend(psycopg.connect(server.app_url("postgres")) for _ in range(8))
        with admin(server) as connection:  # the observer and the next clone still get in
            count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'poolbench_app'"
            assert connection.execute(count).fetchone() <= (server.max_connections - server.reserved_connections,)
        for each in taken:
            each.close()


def test_a_command_that_does_not_end_is_ended_with_all_it_started(
    postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.deploy.databases.PREPARE_TIMEOUT_S", 1.0)
    monkeypatch.setattr("harness.deploy.databases._SAY_EVERY_S", 0.2)
    said: list[tuple[float, str, str]] = []
    child = f"setsid sleep 600 & echo $! > {tmp_path}/child; echo half of it; sleep 600"
    before = databases(postgres_server)
    with (
        pytest.raises(InfrastructureError, match="was not done within 1 s") as raised,
        template(postgres_server, DatabaseSpec(), [("sh", "-c", child)], say=lambda *told: said.append(told)),
    ):
        pass
    assert raised.value.detail == "half of it"
    assert said
    assert 0 < said[0][0] < 1
    assert said[0][1:] == (f"sh -c {child}", "half of it")
    assert databases(postgres_server) == before
    pid = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_command_that_is_not_there_is_named(postgres_server: Server) -> None:
    with (
        pytest.raises(InfrastructureError, match="alembick cannot be run: No such file") as raised,
        template(postgres_server, DatabaseSpec(), [("alembick", "upgrade", "head")]),
    ):
        pass
    assert "[database] prepare" in raised.value.next_step


def test_a_server_that_is_gone_is_named(postgres_server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = replace(postgres_server, port=unused.getsockname()[1])
        for work in (
            lambda: checkpoint(gone),
            lambda: template(gone, DatabaseSpec()).__enter__(),
            lambda: clone(gone, "poolbench_template", fresh_name()).__enter__(),
            lambda: drop_leftovers(gone),
        ):
            with pytest.raises(InfrastructureError, match=f"127.0.0.1:{gone.port} cannot be used: .*refused"):
                work()


def test_a_statement_that_is_interrupted_is_cancelled_and_silent(postgres_server: Server) -> None:
    """As by Ctrl-C while Postgres is asked: nothing goes on there, and psycopg says nothing on standard error."""
    code = (
        "import os, signal, sys, threading\n"
        "from harness.deploy.connection import admin\n"
        "from harness.domain.deployed import Server\n"
        "from harness.errors import Interrupted\n"
        "def stop(*_): raise Interrupted('Interrupted.')\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "host, port, user, password = sys.argv[1:]\n"
        "server = Server(host=host, port=int(port), user=user, password=password, version='', transport='',\n"
        "    provider='url', max_connections=0, reserved_connections=0, pid=None, owned=False)\n"
        "try:\n"
        "    with admin(server) as connection: connection.execute('SELECT 4711, pg_sleep(60)')\n"
        "except Interrupted: print('interrupted')\n"
    )
    at = (postgres_server.host, str(postgres_server.port), postgres_server.user, postgres_server.password)
    done = subprocess.run([sys.executable, "-c", code, *at], capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
    with admin(postgres_server) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT 4711%' AND state = 'active'"
        assert connection.execute(query).fetchone() == (0,)


def test_a_statement_that_gets_no_answer_is_given_up(postgres_server: Server) -> None:
    """After Ctrl-C no second one is heard: what is left to do must end by itself."""
    with (
        pytest.raises(InfrastructureError, match="cannot be used: wait timeout expired"),
        admin(postgres_server, limit_s=0.3) as connection,
    ):
        connection.execute("SELECT pg_sleep(60)")
