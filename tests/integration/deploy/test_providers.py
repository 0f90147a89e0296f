"""One contract for every way to get a server, and the specifications each refuses."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from contracts import ProviderContract

from harness.deploy import PROVIDERS, checkpoint, start_database
from harness.deploy.connection import admin
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec
from harness.errors import InfrastructureError, UsageError

pytestmark = pytest.mark.postgres


@pytest.fixture(params=["embedded", "url", "container"])
def spec(request: pytest.FixtureRequest) -> DatabaseSpec:
    if request.param == "url":
        return DatabaseSpec(provider="url", url=request.getfixturevalue("postgres_url"))
    if request.param == "container":
        return DatabaseSpec(provider="container", image=request.getfixturevalue("container_image"))
    return DatabaseSpec(provider="embedded")


@pytest.fixture
def server(spec: DatabaseSpec) -> Iterator[Server]:
    with start_database(spec) as started:
        yield started


class TestProviders(ProviderContract):
    pass


def test_it_takes_connections_and_is_what_it_says(server: Server) -> None:
    with psycopg.connect(server.url(server.maintenance_database)) as connection:
        actual = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    assert server.version.startswith(actual["server_version"])
    assert server.max_connections == int(actual["max_connections"])
    assert server.transport.startswith("tcp, scram-sha-256")


def test_databases_can_be_made_and_dropped(server: Server) -> None:
    with admin(server) as connection:
        connection.execute("CREATE DATABASE poolbench_contract")
        connection.execute("DROP DATABASE poolbench_contract WITH (FORCE)")


def test_every_provider_of_the_schema_is_there() -> None:
    assert set(PROVIDERS) == {"embedded", "container", "url"}


def test_the_embedded_server_leaves_nothing() -> None:
    with start_database(DatabaseSpec()) as server:
        with admin(server) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        folder = Path(row[0]).parent
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=2)


def test_a_server_that_was_killed_is_the_cause_of_what_fails(spec: DatabaseSpec) -> None:
    if spec.provider == "url":
        return  # not ours: its log and its end are not known here

    def use_a_killed_server() -> None:
        with start_database(spec) as server:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            while True:
                checkpoint(server)

    with pytest.raises(InfrastructureError, match="ended in the middle of the run, with signal 9") as raised:
        use_a_killed_server()
    assert "database system is ready to accept connections" in raised.value.detail
    assert "memory" in raised.value.next_step


def test_what_fails_while_the_server_lives_is_left_as_it_is() -> None:
    with pytest.raises(InfrastructureError, match="the target's own fault"), start_database(DatabaseSpec()):
        raise InfrastructureError("the target's own fault")


def test_the_embedded_server_asks_for_its_password(postgres_server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres_server.url("postgres").replace(postgres_server.password, "wrong"))


def test_settings_are_applied_over_durable_defaults() -> None:
    wanted = {"work_mem": "9MB", "max_connections": 37, "autovacuum": True}
    with start_database(DatabaseSpec(settings=wanted)) as server, admin(server) as connection:
        names = ["work_mem", "max_connections", "autovacuum", "fsync", "synchronous_commit"]
        assert [connection.execute(f"SHOW {name}").fetchone() for name in names] == [
            ("9MB",),
            ("37",),
            ("on",),
            ("on",),
            ("on",),
        ]
        assert server.max_connections == 37


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shared_bufers": "1GB"}, 'unrecognized configuration parameter "shared_bufers"'),
        ({"work_mem": "lots"}, 'invalid value for parameter "work_mem": "lots"'),
        ({"max_connections": 0}, "outside the valid range"),
        ({"port": 5432}, '"port" is chosen by poolbench itself'),
    ],
)
def test_a_refused_setting_is_told_in_postgres_words(settings: dict[str, str | int], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised, start_database(DatabaseSpec(settings=settings)):
        pass
    assert raised.value.next_step


def test_a_foreign_server_keeps_its_settings(postgres_url: str, postgres_server: Server) -> None:
    same = DatabaseSpec(
        provider="url", url=postgres_url, settings={"max_connections": postgres_server.max_connections, "fsync": True}
    )
    with start_database(same) as server:
        assert server.port == postgres_server.port
    other = DatabaseSpec(provider="url", url=postgres_url, settings={"work_mem": "123MB"})
    with pytest.raises(UsageError, match=r"work_mem = 123MB.*has 4MB"), start_database(other):
        pass
    unknown = DatabaseSpec(provider="url", url=postgres_url, settings={"work_men": "4MB"})
    with pytest.raises(UsageError, match='knows no setting "work_men"'), start_database(unknown):
        pass


def test_a_wrong_password_is_not_shown(postgres_server: Server) -> None:
    url = postgres_server.url("postgres").replace(postgres_server.password, "hunter2hunter2")
    with (
        pytest.raises(InfrastructureError, match="password authentication failed") as raised,
        start_database(DatabaseSpec(provider="url", url=url)),
    ):
        pass
    shown = f"{raised.value}{raised.value.detail}{raised.value.__cause__!r}"
    assert "hunter2hunter2" not in shown
    assert f"{postgres_server.host}:{postgres_server.port}" in shown


def test_tls_is_asked_for_where_the_url_asks_for_it(postgres_url: str) -> None:
    with start_database(DatabaseSpec(provider="url", url=f"{postgres_url}?sslmode=prefer")) as server:
        assert server.sslmode == "prefer"
    spec = DatabaseSpec(provider="url", url=f"{postgres_url}?sslmode=require")
    with pytest.raises(InfrastructureError, match="does not support SSL, but SSL was required"), start_database(spec):
        pass


def test_an_unreachable_server_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        spec = DatabaseSpec(provider="url", url=f"postgresql://me:s3cret@127.0.0.1:{port}/db")
        with pytest.raises(InfrastructureError, match=f"127.0.0.1:{port} cannot be used") as raised:
            start_database(spec).__enter__()
    assert "s3cret" not in str(raised.value)


def test_a_user_who_may_not_create_databases_is_told(postgres_server: Server) -> None:
    with admin(postgres_server) as connection:
        connection.execute("CREATE ROLE humble LOGIN PASSWORD 'pw'")
        try:
            url = f"postgresql://humble:pw@{postgres_server.host}:{postgres_server.port}/postgres"
            with (
                pytest.raises(UsageError, match=r'"humble".*may not create databases'),
                start_database(DatabaseSpec(provider="url", url=url)),
            ):
                pass
        finally:
            connection.execute("DROP ROLE humble")


def test_without_an_engine_the_container_provider_says_so_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:  # accepts, and never answers: what a hanging engine looks like
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with (
            pytest.raises(InfrastructureError, match="No Docker engine answers within 3 s") as raised,
            start_database(DatabaseSpec(provider="container")),
        ):
            pass
    assert "embedded" in raised.value.next_step
    assert time.monotonic() - began < 30  # testcontainers alone would wait for minutes
