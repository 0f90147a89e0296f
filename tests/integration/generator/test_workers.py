"""More than one generator process: the same arrivals, divided; counts added up; a lost worker named."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from load_stub import Answer, Stub, closed, segment, serving, whole_turns

from harness import drive
from harness.domain.experiment import Workers
from harness.domain.load import LaunchLoad, LoadOutput, LoadPlan, Segment
from harness.errors import InfrastructureError, UsageError

pytestmark = pytest.mark.usefixtures("forking")

SCENARIO = """
    from locust import FastHttpUser, task

    class User(FastHttpUser):
        @task(3)
        def read(self):
            self.client.get("/read")

        @task
        def write(self):
            self.client.post("/write", json={})
"""


def a_plan(
    folder: Path,
    url: str,
    segments: Sequence[Segment],
    *,
    processes: int = 1,
    workers: Workers | None = None,
    pause_s: float = 0.2,
    **load: int,
) -> LoadPlan:
    folder.mkdir(exist_ok=True)
    scenario = folder / "scenario.py"
    scenario.write_text(textwrap.dedent(SCENARIO))
    values = {"request_timeout_s": 2.0, "max_in_flight": 200} | load
    launches = tuple(
        LaunchLoad(launch_id=launch_id, host=url, scenario=scenario, **values)  # type: ignore[arg-type]
        for launch_id in dict.fromkeys(each.launch_id for each in segments)
    )
    return LoadPlan(
        launches=launches,
        segments=tuple(segments),
        turns=whole_turns(segments, pause_s),
        pause_s=pause_s,
        output_dir=folder / "out",
        environment={"HEROES": "7"},
        processes=processes,
        workers=workers,
    )


def executed(plan: LoadPlan) -> tuple[LoadOutput, pd.DataFrame]:
    with drive.start(plan) as generator:
        generator.targets_up()
        generator.wait_ready(30.0)
        generator.go()
        output = generator.wait()
    rows = [drive.read_rows(plan.output_dir, load.launch_id, plan.segments) for load in plan.launches]
    return output, pd.concat(rows, ignore_index=True)


def offsets_ns(output: LoadOutput, rows: pd.DataFrame) -> list[tuple[int, str, int]]:
    """Number, task and intended time of every arrival, the last counted from the segment's start."""
    start_ns = output.ledger.turns[0].start_ns
    own = rows[(rows.segment == 0) & (rows.sequence == 0)].sort_values("arrival")
    return list(zip(own.arrival, own.task.astype(str), own.intended_ns - start_ns, strict=True))


def test_processes_together_do_what_one_would_have_done(tmp_path: Path) -> None:
    segments = [segment(0, rate_rps=200.0), closed(1, users=5, launch_id="C", duration_s=0.5)]
    with serving(Stub(lambda _: Answer(delay_s=0.005))) as url:
        alone, alone_rows = executed(a_plan(tmp_path / "alone", url, segments))
        shared, rows = executed(a_plan(tmp_path / "shared", url, segments, processes=3))
    assert offsets_ns(shared, rows) == offsets_ns(alone, alone_rows)
    assert drive.check_ledger(shared.ledger, rows) == ()
    assert (shared.lost_workers, shared.clock_uncertainty_ms) == ((), 0.0)
    first, second = shared.ledger.turns
    assert (first.start_ns, first.end_ns) == (shared.start_ns, shared.start_ns + 1_000_000_000)
    assert second.start_ns >= first.idle_ns + 200_000_000, "all begin the next turn when the last of them can"
    assert second.end_ns == second.start_ns + 500_000_000
    assert list(rows.dtypes) == list(alone_rows.dtypes) or set(rows.columns) == set(alone_rows.columns)
    executions = rows[(rows.segment == 1) & (rows.sequence == 0)].arrival
    assert (rows[rows.segment == 1].started_ns >= second.start_ns).all()
    assert executions.is_unique
    assert set(executions % 3) == {0, 1, 2}
    assert (rows.outcome == "ok").all()
    log = drive.read_generator_log(tmp_path / "shared" / "out")
    assert log.t_ns.is_monotonic_increasing
    assert len(log) >= 3


def test_a_cap_is_shared_and_a_staircase_judged_together(tmp_path: Path) -> None:
    """Six places answer 10 a second each: 30/s is carried by all together, 240/s and what follows is not."""
    steps = [
        segment(i, phase="staircase", start_s=i * 0.8, duration_s=0.6, rate_rps=rate, arrivals="uniform")
        for i, rate in enumerate((30.0, 240.0, 480.0))
    ]
    with serving(Stub(lambda _: Answer(delay_s=0.1))) as url:
        output, rows = executed(a_plan(tmp_path, url, steps, processes=2, max_in_flight=6))
    (turn,) = output.ledger.turns
    assert turn.load_end_ns == 1_400_000_000, "the last step is left out"
    assert set(rows.segment) == {0, 1}
    assert turn.in_flight_peak == 6
    assert drive.check_ledger(output.ledger, rows) == ()


def test_workers_are_told_a_password_that_is_written_nowhere(tmp_path: Path) -> None:
    with serving(stub := Stub(lambda _: Answer())) as url:
        address = url.replace("://", "://alice:SECRETPW-7@")
        executed(a_plan(tmp_path, address, [segment(rate_rps=40.0, duration_s=0.5)], processes=2))
    assert {seen.headers.get("authorization") for seen in stub.seen} == {"Basic YWxpY2U6U0VDUkVUUFctNw=="}
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file() and b"SECRETPW-7" in p.read_bytes()] == []


def test_a_killed_worker_is_named_and_left_out(tmp_path: Path) -> None:
    with serving(Stub(lambda _: Answer())) as url:
        plan = a_plan(tmp_path, url, [segment(rate_rps=100.0, duration_s=2.0)], processes=2)
        with drive.start(plan) as generator:
            generator.targets_up()
            generator.wait_ready(30.0)
            generator.go()
            time.sleep(0.8)  # somewhere within the segment
            victim = psutil.Process(generator.pid).children()[0]
            victim.kill()
            output = generator.wait()
        rows = drive.read_rows(plan.output_dir, "L", plan.segments)
    (name,) = output.lost_workers
    assert f"process {victim.pid} on {socket.gethostname()}" in name
    assert drive.check_ledger(output.ledger, rows) == ()
    (stripe,) = set(rows.arrival % 2)
    assert f"{2 - stripe} (process" in name, "the other one's arrivals are all there, and only those"
    assert 60 < len(rows) < 140


def test_all_workers_lost_is_an_infrastructure_error(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "http://127.0.0.1:1", [segment(duration_s=20.0)], processes=2)
    with drive.start(plan) as generator:
        generator.targets_up()
        generator.wait_ready(30.0)
        for child in psutil.Process(generator.pid).children():
            child.kill()
        generator.go()
        with pytest.raises(InfrastructureError, match=r"lost|ended"):
            generator.wait()


def test_a_scenario_that_sends_nothing_is_refused_by_all_together(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "http://127.0.0.1:1", [segment(duration_s=0.4)], processes=2)
    plan.launches[0].scenario.write_text(
        "from locust import FastHttpUser, task\n\nclass Idle(FastHttpUser):\n"
        "    @task\n    def nothing(self):\n        pass\n"
    )
    with pytest.raises(UsageError, match="sent no request"):
        executed(plan)


def test_each_process_draws_anew_and_each_block_and_its_cells_draw_the_same(tmp_path: Path) -> None:
    """A shipped scenario. Cells of a block: two launches of a plan, or of two plans with the block's seed."""
    shipped = Path(__file__).parents[3] / "scenarios" / "read_heavy.py"
    drawn: dict[str, dict[int, str]] = {}
    for name, seed, launch_ids in (("interleaved", "7", "AB"), ("blocked", "7", "A"), ("another block", "8", "A")):
        stub = Stub(lambda _: Answer())
        with serving(stub) as url:
            segments = [
                segment(index, launch_id, rate_rps=100.0, duration_s=0.4) for index, launch_id in enumerate(launch_ids)
            ]
            plan = a_plan(tmp_path / name, url, segments, processes=2)
            launches = tuple(replace(load, scenario=shipped) for load in plan.launches)
            environment = {"HEROES": "1000000", "POOLBENCH_SEED": seed}
            executed(replace(plan, launches=launches, environment=environment))
        for seen in stub.seen:
            cell, _, arrival = seen.headers["x-poolbench-arrival"].partition("-")
            drawn.setdefault(f"{name} {launch_ids[int(cell)]}", {})[int(arrival)] = f"{seen.path} {seen.body!r}"
    assert drawn["interleaved A"] == drawn["interleaved B"] == drawn["blocked A"]
    lists = [
        [path for arrival, path in drawn[name].items() if arrival % 2 == stripe]
        for name in ("blocked A", "another block A")
        for stripe in (0, 1)
    ]
    assert all(len(paths) > 5 for paths in lists)
    singles = [[path for path in paths if "?" not in path] for paths in lists]
    assert len(set().union(*singles)) >= sum(map(len, singles)) - 1, "of a million heroes, hardly one twice"


def test_workers_that_do_not_come_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLBENCH_GATHER_S", "0.5")
    workers = Workers(expect=2, bind=f"127.0.0.1:{a_free_port()}")
    plan = a_plan(tmp_path, "http://127.0.0.1:1", [segment()], workers=workers)
    with drive.start(plan) as generator, pytest.raises(InfrastructureError, match=r"0 of 2 workers .* joined") as few:
        generator.wait_ready(30.0)
    assert "harness.generator.worker" in few.value.next_step


def test_a_scenario_that_no_worker_can_run_is_refused(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "http://127.0.0.1:1", [segment()], processes=2)
    plan.launches[0].scenario.write_text("x = 1\n")
    with drive.start(plan) as generator, pytest.raises(UsageError, match="has no user class"):
        generator.wait_ready(30.0)


@contextmanager
def remote_workers(count: int, port: int, folder: Path, prefix: Sequence[str] = ()) -> Iterator[None]:
    """Workers as another machine runs them: a folder of their own, nothing but an address to go by."""
    command = [*prefix, sys.executable, "-m", "harness.generator.worker", f"127.0.0.1:{port}", "--once"]
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(drive.__file__).parents[1])}
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True))
            for _ in range(count)
        ]
        try:
            yield
        finally:
            for worker in workers:
                try:
                    os.killpg(worker.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def can_shift_clocks() -> bool:
    unshare = shutil.which("unshare")
    command = [str(unshare), "--time", "--monotonic", "1000", "true"]
    return unshare is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("clock", ["the same clock", "another clock"])
def test_workers_elsewhere_send_their_rows_in_our_time(tmp_path: Path, clock: str) -> None:
    """In a time namespace of its own a process has another monotonic clock, as on another machine."""
    prefix: list[str] = []
    if clock == "another clock":
        if not can_shift_clocks():
            pytest.skip("this machine does not let a process have a clock of its own (unshare --time)")
        prefix = ["unshare", "--time", "--monotonic", "1000"]
    port = a_free_port()
    stub = Stub(lambda _: Answer(delay_s=0.01))
    segments = [segment(rate_rps=200.0)]
    with serving(stub) as url, remote_workers(2, port, tmp_path / "elsewhere", prefix):
        workers = Workers(expect=2, bind=f"127.0.0.1:{port}")
        output, rows = executed(a_plan(tmp_path / "here", url, segments, workers=workers))
        alone, alone_rows = executed(a_plan(tmp_path / "alone", url, segments))
    assert drive.check_ledger(output.ledger, rows) == ()
    assert output.lost_workers == ()
    ours, expected = offsets_ns(output, rows), offsets_ns(alone, alone_rows)
    assert [arrival[:2] for arrival in ours] == [arrival[:2] for arrival in expected]
    apart = np.array([arrival[2] for arrival in ours]) - [arrival[2] for arrival in expected]
    assert np.abs(apart).max() <= 2e6 * output.clock_uncertainty_ms + 1e3
    assert (output.clock_uncertainty_ms > 0) == bool(prefix)
    assert output.clock_uncertainty_ms < 50
    assert rows.intended_ns.between(output.start_ns - 5e7, output.start_ns + 1.05e9).all()
    assert (rows.outcome == "ok").all()
    assert list((tmp_path / "elsewhere").iterdir()) == []
