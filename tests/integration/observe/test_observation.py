"""Observing a real server and real processes."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest

from harness.deploy import start_database
from harness.deploy.connection import admin
from harness.domain.deployed import RunningTarget, Server
from harness.domain.experiment import DatabaseSpec
from harness.domain.tables import ACTIVITY_COLUMNS, PROBE_COLUMNS, PROCESS_COLUMNS
from harness.errors import InfrastructureError
from harness.observe import observe
from harness.observe.postgres import APPLICATION_NAME, ActivitySampler, activity_sampler
from harness.observe.process import PostgresTreeSampler, ProcessSampler, Root, spare_cpus, tree, usage_of
from harness.observe.server import ServerSampler

BUSY = "import sys, time; print('up', flush=True)\nwhile True: sum(range(1000))"
IDLE = "import time; print('up', flush=True); time.sleep(600)"


def database_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


def target(*, database: str | None = None, pids: tuple[int, ...] = (), probe_dir: Path | None = None) -> RunningTarget:
    return RunningTarget(
        launch_id="b1-c1", host="http://127.0.0.1:1", database=database, pids=pids, probe_dir=probe_dir, log=None
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def child() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.postgres
def test_connections_are_told_apart_by_state_and_wait(postgres_server: Server, scratch_database: str) -> None:
    with (
        activity_sampler(postgres_server, {database_of(scratch_database): "b1-c1"}) as sampler,
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(scratch_database, autocommit=True) as idle,
        psycopg.connect(scratch_database) as in_transaction,
        psycopg.connect(scratch_database) as waiting,
    ):
        idle.execute("SELECT pg_advisory_lock(4711)")
        in_transaction.execute("SELECT 1")
        thread.submit(waiting.execute, "SELECT pg_advisory_lock(4711)")
        rows = {}

        def lock_is_awaited() -> bool:
            rows.clear()
            rows.update({(row["state"], row["wait_event_type"]): row for row in sampler.read()})
            return ("active", "Lock") in rows

        until(lock_is_awaited)
        assert set(rows) == {("idle", "Client"), ("idle in transaction", "Client"), ("active", "Lock")}
        assert {row["connections"] for row in rows.values()} == {1}
        assert rows["active", "Lock"]["wait_event"] == "advisory"
        assert math.isnan(float(str(rows["idle", "Client"]["oldest_transaction_s"])))
        earlier = float(str(rows["idle in transaction", "Client"]["oldest_transaction_s"]))
        again = {row["state"]: row for row in sampler.read()}
        assert float(str(again["idle in transaction"]["oldest_transaction_s"])) > earlier  # the view is not frozen
        idle.execute("SELECT pg_advisory_unlock_all()")


@pytest.mark.postgres
def test_a_database_without_connections_has_one_empty_row(postgres_server: Server, scratch_database: str) -> None:
    with activity_sampler(postgres_server, {database_of(scratch_database): "b1-c1"}) as sampler:
        (row,) = sampler.read()
    assert (row["launch_id"], row["state"], row["connections"]) == ("b1-c1", "", 0)


@pytest.mark.postgres
def test_the_observer_connects_again_and_reports_the_gap(postgres_server: Server, scratch_database: str) -> None:
    with observe(
        server=postgres_server,
        targets=[target(database=database_of(scratch_database))],
        generator_pid=os.getpid(),
        interval_s=0.05,
    ) as observation:
        with admin(postgres_server) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [APPLICATION_NAME]
            ).fetchall()
            assert ended == [(True,)]
            ended_ns = time.monotonic_ns()
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            until(lambda: connection.execute(query, [APPLICATION_NAME]).fetchone() == (1,))
        time.sleep(0.3)  # a few readings over the new connection
        observed = observation.finish()
    reasons = [gap.reason for gap in observed.gaps if gap.sampler == "postgres" and gap.reason]
    assert len(reasons) == 1
    assert "administrator command" in reasons[0] or "server closed the connection" in reasons[0]
    assert observed.activity["t_ns"].max() > ended_ns


@pytest.mark.postgres
def test_no_free_connection_is_told(postgres_server: Server) -> None:
    with pytest.raises(InfrastructureError, match="observer gets no connection"):
        ActivitySampler(replace(postgres_server, password="wrong"), {"postgres": "b1-c1"})


@pytest.fixture
def standing_still(postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Stops the observer's own backends: their side of the connection stays up and says nothing."""
    monkeypatch.setattr("harness.observe.postgres.ANSWER_TIMEOUT_S", 0.4)
    stopped: list[int] = []

    def stop() -> None:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        with admin(postgres_server) as connection:
            stopped.extend(pid for (pid,) in connection.execute(query, [APPLICATION_NAME]).fetchall())
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    until(lambda: not any(map(psutil.pid_exists, stopped)))


@pytest.mark.postgres
@pytest.mark.parametrize("kind", [ActivitySampler, ServerSampler])
def test_a_server_that_stands_still_becomes_a_gap(
    postgres_server: Server,
    scratch_database: str,
    standing_still: Callable[[], None],
    kind: type[ActivitySampler] | type[ServerSampler],
) -> None:
    sampler = kind(postgres_server, {database_of(scratch_database): "b1-c1"})
    assert sampler.read()
    standing_still()
    with pytest.raises(psycopg.OperationalError):
        sampler.read()
    sampler.close()


@pytest.mark.postgres
def test_readings_go_on_over_another_connection(
    postgres_server: Server, scratch_database: str, standing_still: Callable[[], None]
) -> None:
    with observe(
        server=postgres_server,
        targets=[target(database=database_of(scratch_database))],
        generator_pid=os.getpid(),
        interval_s=0.02,
    ) as observation:
        standing_still()
        stood_ns = time.monotonic_ns()
        time.sleep(1.5)
        observed = observation.finish()
    assert [gap.reason for gap in observed.gaps if gap.sampler == "postgres"] == [
        "OperationalError: no answer within 0.4 s"
    ]
    assert observed.activity["t_ns"].max() > stood_ns + 0.5e9


@pytest.mark.postgres
def test_a_server_that_is_gone_is_named_without_advice_about_connections(postgres_server: Server) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = replace(postgres_server, port=unused.getsockname()[1])
        with pytest.raises(InfrastructureError, match=f"127.0.0.1:{gone.port}: .*refused") as raised:
            ActivitySampler(gone, {"postgres": "b1-c1"})
    assert "max_connections" not in str(raised.value)


def test_who_dies_is_noticed_with_code_and_time_and_reaped_by_nobody(
    child: Callable[[str], subprocess.Popen[str]],
) -> None:
    killed, living = child(IDLE), child(IDLE)
    orphan = child(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {IDLE!r}])")
    (grandchild,) = psutil.Process(orphan.pid).children()
    targets = [target(pids=(each.pid,)) for each in (killed, living)]
    targets.append(replace(target(pids=(orphan.pid,)), launch_id="b1-c2", workers=(grandchild.pid,)))
    with observe(server=None, targets=targets, generator_pid=os.getpid(), interval_s=0.05) as observation:
        began_ns = time.monotonic_ns()
        killed.kill()
        until(lambda: len(observation.deaths) == 1)
        os.kill(orphan.pid, signal.SIGSTOP)  # so that it does not reap its child
        grandchild.kill()
        until(lambda: len(observation.deaths) == 2)
        deaths = observation.finish().deaths
    assert [(death.role, death.launch_id, death.pid, death.code) for death in deaths] == [
        ("target", "b1-c1", killed.pid, -signal.SIGKILL),
        ("worker", "b1-c2", grandchild.pid, -signal.SIGKILL),
    ]
    assert began_ns < deaths[0].t_ns < deaths[1].t_ns < time.monotonic_ns()
    assert killed.wait(timeout=10) == -signal.SIGKILL  # it was still there to be reaped


def test_an_exit_code_is_told_and_what_ends_afterwards_is_not(child: Callable[[str], subprocess.Popen[str]]) -> None:
    ended, later = child("import time; print('up', flush=True); time.sleep(0.5); raise SystemExit(3)"), child(IDLE)
    targets = [target(pids=(ended.pid, later.pid))]
    with observe(server=None, targets=targets, generator_pid=os.getpid(), interval_s=0.05) as observation:
        until(lambda: len(observation.deaths) == 1)
        observation.stop()
        later.kill()
        later.wait()
    assert [(death.pid, death.code) for death in observation.finish().deaths] == [(ended.pid, 3)]


def test_who_was_dead_already_is_told_too(child: Callable[[str], subprocess.Popen[str]]) -> None:
    ended = child(IDLE)
    ended.kill()
    ended.wait()
    with observe(server=None, targets=[target(pids=(ended.pid,))], generator_pid=os.getpid(), interval_s=0.05) as seen:
        pass
    assert [(death.pid, death.code) for death in seen.finish().deaths] == [(ended.pid, None)]


@pytest.mark.postgres
def test_the_death_of_a_backend_and_of_postgres_itself(child: Callable[[str], subprocess.Popen[str]]) -> None:
    with start_database(DatabaseSpec()) as server:
        assert server.pid is not None
        with (
            psycopg.connect(server.url("postgres"), autocommit=True) as victim,
            observe(
                server=server,
                targets=[target(database="postgres")],
                generator_pid=os.getpid(),
                interval_s=0.05,
            ) as observation,
        ):
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            until(lambda: len(observation.deaths) == 1)
            os.kill(server.pid, signal.SIGKILL)
            until(lambda: len(observation.deaths) == 2)
            deaths = observation.finish().deaths
    assert [(death.role, death.launch_id) for death in deaths] == [("checkpointer", ""), ("postgres", "")]
    assert (deaths[1].pid, deaths[1].code) == (server.pid, -signal.SIGKILL)


@pytest.mark.postgres
def test_an_observation_yields_all_tables(
    postgres_server: Server,
    scratch_database: str,
    child: Callable[[str], subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    line = {name: 1 if "int" in dtype else 0.5 for name, dtype in PROBE_COLUMNS.items()}
    (tmp_path / "probe-1.jsonl").write_text(json.dumps(line) + "\n")
    served, generator = child(BUSY), child(IDLE)
    targets = [target(database=database_of(scratch_database), pids=(served.pid,), probe_dir=tmp_path)]
    with (
        psycopg.connect(scratch_database, autocommit=True),
        observe(server=postgres_server, targets=targets, generator_pid=generator.pid, interval_s=0.05) as observation,
    ):
        time.sleep(1.0)
        observed = observation.finish()
        assert observation.finish() is observed
    for frame, columns in (
        (observed.activity, ACTIVITY_COLUMNS),
        (observed.probe, PROBE_COLUMNS),
        (observed.process, PROCESS_COLUMNS),
    ):
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {**columns, "launch_id": "category"}
    assert set(observed.activity["state"]) == {"idle"}
    assert set(observed.activity["launch_id"]) == {"b1-c1"}
    assert len(observed.probe) == 1
    process = observed.process
    pids = {role: set(rows["pid"]) for role, rows in process.groupby("role", observed=True)}
    assert pids == {
        "target": {served.pid},
        "generator": {generator.pid},
        "harness": {os.getpid()},
        "postgres": {postgres_server.pid},
    }
    used_s = process.groupby("role", observed=True)["cpu_s"].agg(lambda cpu_s: cpu_s.max() - cpu_s.min())
    assert used_s["target"] > 0.1
    assert used_s["generator"] < used_s["target"]
    assert (process["rss_bytes"] > 1_000_000).all()


@pytest.mark.postgres
def test_a_pause_stops_all_reading(postgres_server: Server, scratch_database: str) -> None:
    with observe(
        server=postgres_server,
        targets=[target(database=database_of(scratch_database))],
        generator_pid=os.getpid(),
        interval_s=0.02,
    ) as observation:
        time.sleep(0.2)
        observation.pause()
        paused_ns = time.monotonic_ns()
        time.sleep(0.4)
        resumed_ns = time.monotonic_ns()
        observation.resume()
        time.sleep(0.2)
        observed = observation.finish()
    for frame in (observed.activity, observed.process):
        assert not frame["t_ns"].between(paused_ns, resumed_ns).any()
        assert (frame["t_ns"] < paused_ns).any()
        assert (frame["t_ns"] > resumed_ns).any()
    assert not any(gap.t_ns < resumed_ns < gap.t_ns + gap.length_s * 1e9 for gap in observed.gaps)


def test_without_a_server_the_processes_are_still_seen(child: Callable[[str], subprocess.Popen[str]]) -> None:
    generator = child(IDLE)
    with observe(
        server=None, targets=[target(database="shop")], generator_pid=generator.pid, interval_s=0.02
    ) as observation:
        time.sleep(0.2)
    observed = observation.finish()
    assert observed.activity.empty
    assert set(observed.process["role"]) == {"generator", "harness"}


def test_a_tree_is_followed_as_it_grows(child: Callable[[str], subprocess.Popen[str]]) -> None:
    leaf = IDLE
    for _ in range(2):
        leaf = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {leaf!r}])"
    root = child(leaf)
    assert sorted(tree(root.pid)) == sorted(
        [root.pid, *(process.pid for process in psutil.Process(root.pid).children(recursive=True))]
    )
    assert len(tree(root.pid)) == 3
    rows = ProcessSampler([Root(pid=root.pid, role="target", launch_id="b1-c1")]).read()
    assert [row["pid"] for row in rows] == tree(root.pid)


def test_usage_agrees_with_psutil(child: Callable[[str], subprocess.Popen[str]]) -> None:
    process = child(BUSY)
    time.sleep(0.3)
    before = psutil.Process(process.pid).cpu_times()
    usage = usage_of(process.pid)
    after = psutil.Process(process.pid).cpu_times()
    assert usage is not None
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert before.user + before.system - tick_s <= usage.cpu_s <= after.user + after.system + tick_s
    assert usage.rss_bytes == pytest.approx(psutil.Process(process.pid).memory_info().rss, rel=0.2)
    assert usage.threads == 1


def test_an_ended_process_uses_nothing(child: Callable[[str], subprocess.Popen[str]]) -> None:
    process = child(IDLE)
    process.kill()
    until(lambda: (usage := usage_of(process.pid)) is not None and usage.ended)  # not reaped yet
    assert ProcessSampler([Root(pid=process.pid, role="target", launch_id="b1-c1")]).read() == []
    process.wait()
    assert usage_of(process.pid) is None
    assert tree(process.pid) == []


@pytest.mark.postgres
def test_postgres_cpu_keeps_what_ended_connections_used(postgres_server: Server, scratch_database: str) -> None:
    assert postgres_server.pid is not None
    sampler = PostgresTreeSampler(postgres_server.pid)

    def cpu_s() -> float:
        (row,) = sampler.read()
        return float(str(row["cpu_s"]))

    before_s = cpu_s()
    with psycopg.connect(scratch_database) as connection:
        backend = connection.execute("SELECT pg_backend_pid(), count(*) FROM generate_series(1, 3000000)").fetchone()
        assert backend is not None
        with_connection_s = cpu_s()
    until(lambda: usage_of(backend[0]) is None)
    used_s = with_connection_s - before_s
    assert used_s > 0.05
    assert cpu_s() - before_s >= 0.9 * used_s


@pytest.mark.postgres
def test_shared_memory_is_counted_once(postgres_server: Server, scratch_database: str) -> None:
    assert postgres_server.pid is not None
    connections = [psycopg.connect(scratch_database) for _ in range(10)]
    (row,) = PostgresTreeSampler(postgres_server.pid).read()
    naive = sum(process.memory_info().rss for process in psutil.Process(postgres_server.pid).children())
    for connection in connections:
        connection.close()
    assert int(str(row["rss_bytes"])) < 0.7 * naive


def test_readings_come_in_the_order_of_time() -> None:
    with observe(server=None, targets=[], generator_pid=os.getpid(), interval_s=0.01) as observation:
        time.sleep(0.1)
    frame = observation.finish().process
    assert len(frame) > 2
    assert frame["t_ns"].is_monotonic_increasing


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes")
def test_samplers_keep_off_the_processors_a_target_is_pinned_to(child: Callable[[str], subprocess.Popen[str]]) -> None:
    own = os.sched_getaffinity(0)
    pinned = child(f"import os; os.sched_setaffinity(0, {{{min(own)}}}); {IDLE}")
    anywhere = child(IDLE)
    assert spare_cpus([pinned.pid]) == (own - {min(own)} or own)
    assert spare_cpus([pinned.pid, anywhere.pid]) == own
    with observe(server=None, targets=[target(pids=(pinned.pid,))], generator_pid=os.getpid(), interval_s=0.01):
        (sampler,) = (thread for thread in threading.enumerate() if thread.name.startswith("sampler "))
        assert sampler.native_id is not None
        until(lambda: os.sched_getaffinity(sampler.native_id or 0) == spare_cpus([pinned.pid]))
    assert os.sched_getaffinity(0) == own


STOPPED = """
import sys, threading, time
from harness.observe.sampler import SamplerLoop

class Sampler:
    name = "process"
    def read(self):
        return [{}]

def tell():  # once a reading is over: one that is stopped itself may be Postgres's doing
    told = 0
    while True:
        if len(loop.rows) > told:
            told = len(loop.rows)
            print(loop.rows[-1]["t_ns"], flush=True)
        time.sleep(0.005)

loop = SamplerLoop(Sampler(), interval_s=0.1)
loop.start()
threading.Thread(target=tell, daemon=True).start()
sys.stdin.readline()
loop.stop()
print([gap.length_s >= 0.3 for gap in loop.gaps])
"""


def test_a_stall_of_300_ms_is_a_gap() -> None:
    """Wherever between two readings it begins; the process is stopped as a whole, and nothing of it fails."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)  # a busy machine is late with it
        time.sleep(0.3)
        continued_ns = time.monotonic_ns()
        process.send_signal(signal.SIGCONT)
        until(lambda: process.stdout is not None and int(process.stdout.readline()) >= continued_ns)
        found, _ = process.communicate("stop\n", timeout=20)
    assert found.splitlines()[-1] == "[True]"


def stopped_for(seconds: float, *pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_who_stands_still_is_told_from_who_is_idle_or_busy(child: Callable[[str], subprocess.Popen[str]]) -> None:
    stopped, idle, busy, generator = child(IDLE), child(IDLE), child(BUSY), child(IDLE)
    targets = [replace(target(pids=(each.pid,)), launch_id=f"b1-c{n}") for n, each in enumerate((stopped, idle, busy))]
    with observe(server=None, targets=targets, generator_pid=generator.pid, interval_s=0.05) as observation:
        time.sleep(0.3)
        began_ns = time.monotonic_ns()
        stopped_for(0.8, stopped.pid)
        until(lambda: psutil.Process(stopped.pid).status() != psutil.STATUS_STOPPED)
        time.sleep(0.3)
        os.kill(generator.pid, signal.SIGSTOP)  # and stays so to the end of all readings
        time.sleep(0.4)
        observation.stop()
        os.kill(generator.pid, signal.SIGCONT)
        service, late = observation.finish().standstills
    assert (service.role, service.launch_id, service.pid) == ("target", "b1-c0", stopped.pid)
    assert service.t_ns > began_ns
    assert service.length_s > 0.3
    assert (late.role, late.launch_id, late.pid) == ("generator", "", generator.pid)


GROUPS = Path("/sys/fs/cgroup")
FREEZERS = {
    "second version": ((GROUPS, GROUPS / "unified"), "cgroup.freeze", ("1", "0")),
    "first version": ((GROUPS / "freezer",), "freezer.state", ("FROZEN", "THAWED")),
}


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="control groups are root's to make")
@pytest.mark.parametrize("version", FREEZERS)
def test_what_is_frozen_with_its_control_group_stands_still(
    child: Callable[[str], subprocess.Popen[str]], version: str
) -> None:
    """As docker pause does; the process's own state says that it sleeps."""
    roots, switch, (on, off) = FREEZERS[version]
    group = next((root / f"poolbench-test-{os.getpid()}" for root in roots if (root / "cgroup.procs").exists()), None)
    if group is None:
        pytest.skip(f"no control groups of the {version} here")
    frozen, idle = child(IDLE), child(IDLE)
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        (group / "cgroup.procs").write_text(str(frozen.pid))
        targets = [replace(target(pids=(each.pid,)), launch_id=f"b1-c{n}") for n, each in enumerate((frozen, idle))]
        with observe(server=None, targets=targets, generator_pid=os.getpid(), interval_s=0.05) as observation:
            time.sleep(0.3)
            (group / switch).write_text(on)
            time.sleep(0.8)
            assert psutil.Process(frozen.pid).status() != psutil.STATUS_STOPPED
            (group / switch).write_text(off)
            time.sleep(0.3)
            (found,) = observation.finish().standstills
    finally:
        (group / switch).write_text(off)
        frozen.kill()
        frozen.wait()
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
    assert (found.role, found.launch_id, found.pid) == ("target", "b1-c0", frozen.pid)
    assert found.length_s > 0.3


@pytest.mark.postgres
def test_a_backend_that_stands_still_is_told_by_its_database(
    postgres_server: Server, scratch_database: str, child: Callable[[str], subprocess.Popen[str]]
) -> None:
    generator = child(IDLE)
    with (
        psycopg.connect(scratch_database, autocommit=True) as connection,
        observe(
            server=postgres_server,
            targets=[target(database=database_of(scratch_database))],
            generator_pid=generator.pid,
            interval_s=0.05,
        ) as observation,
    ):
        pid = connection.info.backend_pid
        stopped_for(2.5, pid)  # Postgres's processes are looked at once a second
        assert connection.execute("SELECT 1").fetchone() == (1,)
        (found,) = observation.finish().standstills
    assert (found.role, found.launch_id, found.pid) == ("backend", "b1-c1", pid)


def test_pgbouncer_and_relays_are_watched_too(child: Callable[[str], subprocess.Popen[str]]) -> None:
    bouncer, relay = child(IDLE), child(IDLE)
    with observe(
        server=None,
        targets=[],
        generator_pid=os.getpid(),
        interval_s=0.05,
        relay_pids={"b1-c1": relay.pid},
        bouncer_pids={"b1-c1": bouncer.pid},
    ) as observation:
        os.kill(relay.pid, signal.SIGSTOP)
        bouncer.kill()
        until(lambda: len(observation.deaths) == 1)
        time.sleep(0.3)
        observed = observation.finish()
    assert [(death.role, death.launch_id, death.code) for death in observed.deaths] == [("pgbouncer", "b1-c1", -9)]
    assert [(still.role, still.launch_id) for still in observed.standstills] == [("relay", "b1-c1")]
