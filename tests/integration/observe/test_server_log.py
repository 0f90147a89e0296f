"""The log of what a real server and this machine do beside the load."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from harness.deploy import start_database
from harness.deploy.connection import admin
from harness.domain.deployed import Server
from harness.domain.experiment import DatabaseSpec
from harness.domain.tables import SERVER_COLUMNS, SERVER_KEYS
from harness.observe import server_log
from harness.observe.host import cpu_times, throttling
from harness.observe.server import ServerSampler


def database_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


@pytest.mark.postgres
def test_the_last_reading_has_all_time_in_transactions(postgres_server: Server, scratch_database: str) -> None:
    with (
        server_log(postgres_server, {database_of(scratch_database): "b1-c1"}) as log,
        psycopg.connect(scratch_database) as connection,
    ):
        connection.execute("SELECT pg_sleep(0.3)")
        time.sleep(0.4)  # idle in transaction
        connection.commit()
        time.sleep(0.3)  # idle: nobody's time
    table = log.table()
    own = table[table["launch_id"] == "b1-c1"]
    last = own.groupby("key", observed=True)["value"].last()
    assert 0.3 <= last["active_s"] < 0.6
    assert 0.4 <= last["idle_in_transaction_s"] < 0.7
    assert last["transactions"] >= 1
    assert log.gaps == ()


@pytest.mark.postgres
def test_server_and_machine_concern_every_launch(postgres_server: Server, scratch_database: str) -> None:
    with server_log(postgres_server, {database_of(scratch_database): "b1-c1"}) as log:
        pass
    table = log.table()
    assert list(table.columns) == [*SERVER_COLUMNS, "launch_id"]
    shared = set(table.loc[table["launch_id"] == "", "key"])
    assert shared >= {"checkpoints", "checkpointer_busy", "autovacuum_workers", "host_cpu_s", "host_steal_s"}
    assert set(table["key"]) <= set(SERVER_KEYS)
    cpu_s = table.loc[table["key"] == "host_cpu_s", "value"]
    assert cpu_s.is_monotonic_increasing


@pytest.mark.postgres
def test_a_checkpoint_is_counted(postgres_server: Server, scratch_database: str) -> None:
    sampler = ServerSampler(postgres_server, {database_of(scratch_database): "b1-c1"})
    try:
        before = {row["key"]: row["value"] for row in sampler.read()}["checkpoints"]
        with psycopg.connect(scratch_database, autocommit=True) as connection:
            connection.execute("CREATE TABLE dirty AS SELECT generate_series(1, 1000) AS n")
        with admin(postgres_server) as connection:
            connection.execute("CHECKPOINT")
        deadline_s = time.monotonic() + 5
        while {row["key"]: row["value"] for row in sampler.read()}["checkpoints"] == before:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    finally:
        sampler.close()


@pytest.mark.postgres
def test_autovacuum_at_work_is_seen() -> None:
    """On a server of its own, whose settings may be changed: a table that is vacuumed slowly, again and again."""
    eager = {"autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_vacuum_cost_limit": 1}
    with start_database(DatabaseSpec(settings=eager)) as server:
        with admin(server) as connection:
            options = "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_cost_delay = 100"
            connection.execute(f"CREATE TABLE dirty (n int) WITH ({options})")
            connection.execute("INSERT INTO dirty SELECT generate_series(1, 20000)")
            connection.execute("DELETE FROM dirty WHERE n % 2 = 0")
        sampler = ServerSampler(server, {"postgres": "b1-c1"})
        deadline_s = time.monotonic() + 30
        while {row["key"]: row["value"] for row in sampler.read()}["autovacuum_workers"] == 0:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        sampler.close()


@pytest.mark.postgres
def test_the_log_waits_until_targets_have_disconnected(postgres_server: Server, scratch_database: str) -> None:
    connection = psycopg.connect(scratch_database)
    connection.execute("SELECT 1")

    def end() -> None:
        time.sleep(0.5)
        connection.commit()
        connection.close()

    with ThreadPoolExecutor(1) as thread, server_log(postgres_server, {database_of(scratch_database): "b1-c1"}) as log:
        thread.submit(end)
    last = log.table().groupby("key", observed=True)["value"].last()
    assert last["idle_in_transaction_s"] >= 0.4


def test_without_a_server_the_machine_is_watched() -> None:
    with server_log(None, {}) as log:
        pass
    assert {"host_cpu_s", "host_steal_s"} <= set(log.table()["key"])


def test_cpu_times_of_proc_stat() -> None:
    found = cpu_times("cpu  100 0 50 800 20 0 10 20 30 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    assert found["host_cpu_s"] == pytest.approx(10.0)
    assert found["host_idle_s"] == pytest.approx(8.2)
    assert found["host_steal_s"] == pytest.approx(0.2)
    assert cpu_times("") == {}


@pytest.mark.parametrize(
    "stat", ["nr_periods 4\nnr_throttled 2\nthrottled_usec 1500000\n", "nr_periods 4\nthrottled_time 1500000000\n"]
)
def test_throttling_of_both_versions_of_control_groups(stat: str) -> None:
    assert throttling(stat) == {"cgroup_throttled_s": 1.5}


def test_a_control_group_without_a_limit_says_nothing() -> None:
    assert throttling("usage_usec 12\nuser_usec 3\n") == {}


@pytest.mark.postgres
def test_a_server_that_dies_hides_no_other_error() -> None:
    """What is known of it says the provider; the log just ends."""
    with start_database(DatabaseSpec()) as server:
        assert server.pid is not None
        with server_log(server, {"postgres": "b1-c1"}) as log:
            os.kill(server.pid, signal.SIGKILL)
            time.sleep(1.5)
    assert any("connection" in gap.reason for gap in log.gaps)
