"""What cannot be run is said in a sentence, and nothing is left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from load_stub import Answer, Run, Stub, closed, segment, serving, whole_turns

from harness import drive
from harness.domain.load import LaunchLoad, LoadPlan
from harness.errors import InfrastructureError, UsageError

REFUSED = {
    "no user class": ("import locust\nx = 1\n", "has no user class"),
    "no task": (
        "from locust import FastHttpUser\n\nclass Idle(FastHttpUser):\n    pass\n",
        "The user class Idle in",
    ),
    "does not import": (
        "from locust import FastHttpUser\n\nvalue = undefined_name\n",
        r"cannot be imported: line 3: NameError: name 'undefined_name' is not defined",
    ),
    "syntax": ("from locust import (\n", "cannot be imported: line 1: SyntaxError"),
    "exits": ("import sys\nsys.exit('no token')\n", "cannot be imported: line 2: SystemExit: no token"),
    "nested task set": (
        """
        from locust import FastHttpUser, TaskSet, task

        class Forum(TaskSet):
            @task
            def read(self):
                self.client.get("/")

        class User(FastHttpUser):
            tasks = [Forum]
        """,
        "nests the TaskSet Forum",
    ),
    "wait": (
        """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
                self.wait()
        """,
        r"User.read in .* calls self.wait\(\)",
    ),
    "wait of the user": (
        """
        from locust import FastHttpUser, SequentialTaskSet, task

        class Steps(SequentialTaskSet):
            @task
            def read(self):
                self.user.wait()

        class User(FastHttpUser):
            tasks = [Steps]
        """,
        r"Steps.read in .* calls self.wait\(\)",
    ),
    "on_start": (
        """
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            def on_start(self):
                self.token = self.client.get("/login").json()["token"]

            @task
            def read(self):
                self.client.get("/")
        """,
        "on_start of User in .* raised KeyError: 'token'",
    ),
    "stops the test": (
        """
        from locust import FastHttpUser, task
        from locust.exception import StopTest

        class User(FastHttpUser):
            @task
            def read(self):
                raise StopTest("licence expired")
        """,
        "stopped the test in read: StopTest: licence expired",
    ),
    "a greenlet of its own": (
        """
        import gevent
        from locust import FastHttpUser, events, task

        def refresh():
            raise ValueError("no such token")

        @events.test_start.add_listener
        def start(**_):
            gevent.spawn(refresh)

        class User(FastHttpUser):
            @task
            def read(self):
                self.client.get("/")
        """,
        r"A greenlet of the scenario raised ValueError: no such token \(refresh, line 6\)",
    ),
    "exits in a task": (
        """
        import sys
        from locust import FastHttpUser, task

        class User(FastHttpUser):
            @task
            def read(self):
                sys.exit("enough")
        """,
        "stopped the test in read: SystemExit: enough",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_scenario_that_cannot_run_is_refused_with_the_reason(run: Run, name: str) -> None:
    source, sentence = REFUSED[name]
    with pytest.raises(UsageError, match=sentence) as refused:
        run(source)
    assert refused.value.next_step
    assert "Traceback" not in str(refused.value)


def test_a_scenario_that_stops_the_test_in_the_closed_model_is_refused_too(run: Run) -> None:
    with pytest.raises(UsageError, match="stopped the test in read: StopTest: licence expired"):
        run(REFUSED["stops the test"][0], segments=[closed()])


def test_what_the_open_model_cannot_run_is_offered_the_closed_one(run: Run) -> None:
    with pytest.raises(UsageError) as refused:
        run(REFUSED["nested task set"][0])
    assert 'model = "closed"' in refused.value.next_step


def test_a_disk_that_is_full_during_the_load_is_named_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "generator.jsonl").symlink_to("/dev/full")
    with pytest.raises(InfrastructureError, match=r"The disk that holds .* is full"):
        run(a_scenario(tmp_path).read_text(), segments=[segment(duration_s=60.0)])


def test_an_endless_loop_in_a_scenario_is_found_by_file_and_line(tmp_path: Path) -> None:
    scenario, reached = tmp_path / "scenario.py", tmp_path / "reached"
    scenario.write_text(f"open({str(reached)!r}, 'w').close()\nwhile True:\n    x = 1\n")
    with drive.start(a_plan(tmp_path, scenario)) as generator:
        generator.targets_up()
        deadline_s = time.monotonic() + 60
        while not reached.exists():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        with pytest.raises(InfrastructureError, match=r"took longer than 0\.5 s to make its users") as late:
            generator.wait_ready(0.5)
    assert re.search(r'scenario\.py", line [23] in <module>', late.value.detail)


def a_plan(tmp_path: Path, scenario: Path, host: str = "http://127.0.0.1:1") -> LoadPlan:
    load = LaunchLoad(launch_id="L", host=host, scenario=scenario, request_timeout_s=2.0, max_in_flight=50)
    segments = (segment(duration_s=30.0),)
    return LoadPlan(launches=(load,), segments=segments, turns=whole_turns(segments), output_dir=tmp_path / "out")


def a_scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.py"
    path.write_text(
        textwrap.dedent(
            """
            from locust import FastHttpUser, task

            class User(FastHttpUser):
                @task
                def read(self):
                    self.client.get("/")
            """
        )
    )
    return path


def test_a_missing_scenario_is_refused(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, tmp_path / "missing.py")
    with drive.start(plan) as generator, pytest.raises(UsageError, match=r"missing\.py does not exist"):
        generator.wait_ready(20.0)


def test_a_generator_that_dies_is_an_infrastructure_error(tmp_path: Path) -> None:
    with drive.start(a_plan(tmp_path, a_scenario(tmp_path))) as generator:
        generator.targets_up()
        generator.wait_ready(20.0)
        generator.go()
        os.kill(generator.pid, signal.SIGKILL)
        with pytest.raises(InfrastructureError, match="exit code -9"):
            generator.wait()


def test_waiting_never_lasts_for_ever(tmp_path: Path) -> None:
    with drive.start(a_plan(tmp_path, a_scenario(tmp_path))) as generator:
        with pytest.raises(InfrastructureError, match=r"longer than 0.2 s to make its users") as late:
            generator.wait_ready(0.2)  # nobody said that the targets are up
        assert "generator.log" in late.value.next_step


def test_leaving_the_block_kills_the_generator_and_its_children(tmp_path: Path) -> None:
    scenario = a_scenario(tmp_path)
    source = scenario.read_text() + "\nimport subprocess\nsubprocess.Popen(['sleep', '600'])\n"
    scenario.write_text(source)

    def leave_by_an_error() -> list[psutil.Process]:
        with drive.start(a_plan(tmp_path, scenario)) as generator:
            generator.targets_up()
            generator.wait_ready(20.0)
            process = psutil.Process(generator.pid)
            family.extend([process, *process.children(recursive=True)])
            raise KeyboardInterrupt
        return family

    family: list[psutil.Process] = []
    with pytest.raises(KeyboardInterrupt):
        leave_by_an_error()
    assert len(family) == 2
    _, alive = psutil.wait_procs(family, timeout=5.0)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_a_generator_does_not_outlive_a_killed_orchestrator(tmp_path: Path) -> None:
    """The orchestrator gets no chance to clean up; the generator notices by itself."""
    a_scenario(tmp_path)
    program = f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from test_generator_failures import a_plan
from harness import drive
with drive.start(a_plan(Path({str(tmp_path)!r}), Path({str(tmp_path / "scenario.py")!r}))) as generator:
    generator.targets_up()
    generator.wait_ready(20.0)
    print(generator.pid, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as orchestrator:
        assert orchestrator.stdout is not None
        generator = psutil.Process(int(orchestrator.stdout.readline()))
        orchestrator.kill()
    try:
        generator.wait(20.0)
    except psutil.TimeoutExpired:
        generator.kill()
        raise


def test_progress_is_told_while_the_plan_runs_and_the_generator_reports_on_itself(tmp_path: Path) -> None:
    told: list[float] = []
    stub = Stub(lambda _: Answer(delay_s=0.01))
    with serving(stub) as url:
        plan = a_plan(tmp_path, a_scenario(tmp_path), url)
        short = (segment(duration_s=2.5),)
        plan = replace(plan, segments=short, turns=whole_turns(short))
        with drive.start(plan) as generator:
            generator.targets_up()
            generator.wait_ready(20.0)
            generator.go()
            generator.wait(told.append)
    assert 5 <= len(told) <= 14
    assert told == sorted(told)
    assert told[-1] == pytest.approx(2.5, abs=0.6)
    log = drive.read_generator_log(plan.output_dir)
    assert len(log) >= 2
    assert (log.cpu_share > 0).all()
    assert log.t_ns.is_monotonic_increasing
    assert log.lag_max_ms.max() > 0
