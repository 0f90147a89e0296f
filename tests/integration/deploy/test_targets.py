"""Targets with real processes: started side by side, waited for, and gone afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.deploy import TargetStart, launch, launch_all
from harness.deploy.processes import LOG_BYTES_MAX, has_ended, start_group, stop_groups, tail
from harness.domain.deployed import RunningTarget
from harness.errors import InfrastructureError
from harness.observe import observe

MakeStart = Callable[..., TargetStart]


def ask(target: RunningTarget) -> dict[str, Any]:
    with urllib.request.urlopen(f"{target.host}/anything", timeout=5) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_target_answers_with_its_cells_settings_and_is_gone_afterwards(make_start: MakeStart) -> None:
    start = make_start(database_url="postgresql://u:p%40@127.0.0.1:5432/poolbench_ab_b1-c1")
    with launch(
        start.launch, database_url=start.database_url, probe=True, probe_dir=start.probe_dir, log=start.log
    ) as target:
        answer = ask(target)
        environment = answer["environment"]
        assert target.pids == (answer["pid"],)
        assert (target.launch_id, target.database) == (start.launch.id, "poolbench_ab_b1-c1")
        assert environment["POOL_SIZE"] == "3"
        assert environment["DATABASE_URL"] == start.database_url
        assert environment["POOLBENCH_PROBE_DIR"] == str(target.probe_dir)
    assert gone(answer["pid"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(target.host.rsplit(":", 1)[1])), timeout=2)


def test_without_the_probe_there_is_none(make_start: MakeStart) -> None:
    with launch_all([make_start()], probe=False) as (target,):
        assert target.probe_dir is None
        assert "POOLBENCH_PROBE_DIR" not in ask(target)["environment"]


def test_several_start_side_by_side_in_the_order_given(make_start: MakeStart, tmp_path: Path) -> None:
    """Each waits at its import until all are there, so they could not come up one after the other."""
    head = """
        (HERE / f"here-{os.getpid()}").touch()
        until = time.monotonic() + 15
        while len(list(HERE.glob("here-*"))) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(list(HERE.glob("here-*"))) == 3
    """
    starts = [make_start(head=head) for _ in range(3)]
    with launch_all(starts, probe=False) as targets:
        assert [target.launch_id for target in targets] == [start.launch.id for start in starts]
        pids = [ask(target)["pid"] for target in targets]
        assert pids == [target.pids[0] for target in targets]
    assert all(gone(pid) for pid in pids)


def test_every_worker_is_up_before_the_block_begins(make_start: MakeStart, tmp_path: Path) -> None:
    """The second worker is slow on purpose: an answer from the first is not enough."""
    head = """
        try:
            (HERE / "first").mkdir()
        except FileExistsError:
            time.sleep(1.0)
        with (HERE / "up").open("a") as up:
            up.write(f"{os.getpid()}\\n")
    """
    with launch_all([make_start(head=head, workers=2)], probe=False) as (target,):
        workers = [int(line) for line in (tmp_path / "up").read_text().split()]
        assert len(workers) == 2
        assert sorted(target.workers) == sorted(workers)
        assert set(workers) <= {child.pid for child in psutil.Process(target.pids[0]).children(recursive=True)}
    assert all(gone(pid) for pid in (*workers, *target.pids))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the death of another's child")
def test_a_worker_that_dies_is_noticed_though_its_supervisor_replaces_it(make_start: MakeStart) -> None:
    with (
        launch_all([make_start(workers=2)], probe=False) as (target,),
        observe(server=None, targets=[target], generator_pid=os.getpid(), interval_s=0.1) as observation,
    ):
        victim = target.workers[0]
        os.kill(victim, signal.SIGKILL)
        deadline_s = time.monotonic() + 10
        while not observation.deaths:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        (death,) = observation.finish().deaths
    assert (death.role, death.launch_id, death.pid, death.code) == ("worker", target.launch_id, victim, -signal.SIGKILL)


def test_a_busy_port_is_named(make_start: MakeStart) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(InfrastructureError, match=f"127.0.0.1:{port}: Address already in use") as raised,
            launch_all([make_start(port=port)], probe=False),
        ):
            pass
    assert "port = 0" in raised.value.next_step


def two_free_ports() -> int:
    """The first of two that follow each other, below those that the system gives to whoever asks for any."""
    for port in range(20_000 + os.getpid() % 5_000, 32_000):
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("no two ports are free")


def test_a_fixed_port_counts_up_over_the_launches(make_start: MakeStart) -> None:
    port = two_free_ports()
    with launch_all([make_start(port=port), make_start(port=port)], probe=False) as targets:
        assert [target.host for target in targets] == [f"http://127.0.0.1:{port + step}" for step in range(2)]


def test_a_target_that_dies_at_start_shows_its_last_lines_at_once(make_start: MakeStart) -> None:
    healthy, broken = make_start(), make_start(head="raise RuntimeError('the password file is missing')")
    began = time.monotonic()
    with (
        pytest.raises(InfrastructureError, match=r"ended as it started, with code 3\.") as raised,
        launch_all([healthy, broken], probe=False),
    ):
        pass
    assert "the password file is missing" in raised.value.detail
    assert len(raised.value.detail.splitlines()) <= 20
    assert str(broken.log) in raised.value.next_step
    assert time.monotonic() - began < broken.launch.cell.target.start_timeout_s


def test_the_signal_that_ended_a_target_is_named(make_start: MakeStart) -> None:
    head = "import signal; os.kill(os.getpid(), signal.SIGKILL)"
    with (
        pytest.raises(InfrastructureError, match=r"ended as it started, with signal 9 \(SIGKILL\)"),
        launch_all([make_start(head=head)], probe=False),
    ):
        pass


def test_a_target_that_is_never_healthy_is_ended(make_start: MakeStart, tmp_path: Path) -> None:
    start = make_start(status=503, start_timeout_s=2.0, head="(HERE / 'pid').write_text(str(os.getpid()))")
    with (
        pytest.raises(InfrastructureError, match="not ready within 2 s: /health gave status 503"),
        launch_all([start], probe=False),
    ):
        pass
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("status", [404, 401, 307])
def test_a_path_that_is_not_there_is_named_at_once(make_start: MakeStart, status: int) -> None:
    start = make_start(status=status, start_timeout_s=100.0, health_path="/helth")
    began_s = time.monotonic()
    with (
        pytest.raises(InfrastructureError, match=f"answers {status} for /helth") as raised,
        launch_all([start], probe=False),
    ):
        pass
    assert "[target] health_path" in raised.value.next_step
    assert time.monotonic() - began_s < start.launch.cell.target.start_timeout_s / 2


def test_a_command_that_is_not_there_is_named(make_start: MakeStart) -> None:
    with (
        pytest.raises(InfrastructureError, match="gunicron cannot be run: No such file") as raised,
        launch_all([make_start(command=("gunicron", "{port}"))], probe=False),
    ):
        pass
    assert "[target] command" in raised.value.next_step


def test_a_command_that_ends_is_named_with_its_last_lines(make_start: MakeStart) -> None:
    command = ("sh", "-c", "echo the last words; exit 3; {port}")
    with (
        pytest.raises(InfrastructureError, match=r"The target sh -c .* ended as it started, with code 3") as raised,
        launch_all([make_start(command=command)], probe=False),
    ):
        pass
    assert "the last words" in raised.value.detail


def test_a_check_of_the_host_is_guessed_from_400(make_start: MakeStart) -> None:
    with (
        pytest.raises(InfrastructureError, match="answers 400 for /health") as raised,
        launch_all([make_start(status=400)], probe=False),
    ):
        pass
    assert "must let 127.0.0.1 pass" in raised.value.next_step


def test_a_service_that_is_overloaded_as_it_starts_is_waited_for(make_start: MakeStart) -> None:
    with (
        pytest.raises(InfrastructureError, match=r"not ready within 4 s: /health gave status 429"),
        launch_all([make_start(status=429, start_timeout_s=4)], probe=False),
    ):
        pass


def test_a_blocked_target_is_ended_too(make_start: MakeStart, tmp_path: Path) -> None:
    head = "(HERE / 'pid').write_text(str(os.getpid())); time.sleep(120)"
    with (
        pytest.raises(InfrastructureError, match="/health gave no answer"),
        launch_all([make_start(head=head, start_timeout_s=1.5)], probe=False),
    ):
        pass
    assert gone(int((tmp_path / "pid").read_text()))


def test_whatever_happens_in_the_block_the_target_ends(make_start: MakeStart) -> None:
    with pytest.raises(KeyboardInterrupt), launch_all([make_start()], probe=False) as (target,):
        raise KeyboardInterrupt
    assert gone(target.pids[0])


def test_a_group_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/child; while :; do sleep 1; done' & wait; wait"
    process = start_group(["sh", "-c", script], environment=os.environ, log=tmp_path / "log")
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        assert not has_ended(process)
        time.sleep(0.01)
    child = int((tmp_path / "child").read_text())
    stop_groups([process], grace_s=0.2)
    assert process.returncode == -signal.SIGKILL
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=5)
    assert gone(child)


def test_children_are_swept_though_their_leader_ended_first(tmp_path: Path) -> None:
    process = start_group(
        ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child"], environment=os.environ, log=tmp_path / "log"
    )
    while not has_ended(process):
        time.sleep(0.01)
    child = psutil.Process(int((tmp_path / "child").read_text()))
    stop_groups([process], grace_s=5)
    psutil.wait_procs([child], timeout=5)
    assert gone(child.pid)


def test_what_left_the_group_is_ended_too(make_start: MakeStart, tmp_path: Path) -> None:
    head = """
        import subprocess
        for _ in range(2):
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            with (HERE / "children").open("a") as children:
                children.write(f"{child.pid}\\n")
    """
    with launch_all([make_start(head=head)], probe=False):
        children = [int(line) for line in (tmp_path / "children").read_text().split()]
        assert len(children) == 2
        assert not any(gone(pid) for pid in children)
    assert all(gone(pid) for pid in children)


def test_a_long_log_keeps_its_beginning_and_its_end(make_start: MakeStart) -> None:
    head = """
        print("the first line")
        for _ in range(90_000):
            print("z" * 99)
        print("the last line", flush=True)
    """
    start = make_start(head=head)
    with launch_all([start], probe=False):
        assert start.log.stat().st_size > LOG_BYTES_MAX
    text = start.log.read_text()
    assert start.log.stat().st_size <= LOG_BYTES_MAX + 100
    assert text.startswith("the first line\n" + "z" * 99 + "\n")
    assert "the last line\n" in text[-2000:]
    (cut,) = [line for line in text.splitlines() if "poolbench left out" in line]
    left_out = int(re.findall(r"\d+", cut)[0])
    assert left_out + len(text) - len(cut) - 1 == 15 + 90_000 * 100 + 14
    assert tail(start.log).endswith("the last line")


class _NotFound(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Silence."""


def test_a_running_service_is_used_as_it_is(make_start: MakeStart) -> None:
    """Any answer will do: it may have no health path at all."""
    with HTTPServer(("127.0.0.1", 0), _NotFound) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with launch_all([make_start(url=url + "/", database_url="postgresql://u:p@h/shop")], probe=True) as (target,):
            assert (target.host, target.pids, target.probe_dir, target.log) == (url, (), None, None)
            assert target.database == "shop"
        with pytest.raises(urllib.error.HTTPError, match="404"):  # it is still there
            urllib.request.urlopen(url, timeout=5)
        server.shutdown()


def test_a_service_that_does_not_answer_is_named(make_start: MakeStart) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with (
            pytest.raises(InfrastructureError, match=f"The service at {url} does not answer"),
            launch_all([make_start(url=url, start_timeout_s=0.5)], probe=False),
        ):
            pass
