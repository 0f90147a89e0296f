"""What the instrument adds is recorded beside the load: a service that does nothing, and answers that lay there."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from load_stub import Answer, Run, Stub, segment, serving

from harness import drive
from harness.domain.experiment import Workers
from harness.domain.tables import NULL_COLUMNS
from harness.null import serving_nothing

READ = """
    from locust import {base}, task

    class User({base}):
        @task
        def read(self):
            self.client.get("/read")
"""
COMPUTING = """
    import time
    from locust import FastHttpUser, task

    class User(FastHttpUser):
        @task
        def read(self):
            self.client.get("/read")
            until_s = time.monotonic() + 0.03
            while time.monotonic() < until_s:
                pass
"""


@pytest.mark.parametrize("base", ["FastHttpUser", "HttpUser"])
def test_a_service_that_does_nothing_is_asked_beside_the_load(run: Run, base: str) -> None:
    result = run(READ.format(base=base), segments=[segment(duration_s=2.0)])
    null = drive.read_null(result.plan.output_dir)
    assert {name: str(kind) for name, kind in null.dtypes.items()} == dict(NULL_COLUMNS)
    during = null[null.started_ns >= result.output.start_ns]
    assert 0 < len(during) <= 2 * 2.0 * 20 + 2, "20 a second, with pauses of half of that at least"
    assert (null.finished_ns - null.started_ns >= null.uptake_ns).all()
    assert (null.uptake_ns > 0).all()
    assert {seen.path for seen in result.seen} == {"/read"}, "the service under test is none the wiser"
    assert {count.endpoint for count in result.output.ledger.endpoints} == {"GET /read"}
    assert set(result.all_rows) == {"L"}


def test_an_answer_that_lay_there_while_the_generator_was_busy_says_so(run: Run) -> None:
    """Each task computes for 30 ms after its answer, and there are more of them than fit into the time."""
    result = run(COMPUTING, segments=[segment(rate_rps=50.0, arrivals="uniform")])
    rows = result.rows[result.rows.outcome == "ok"]
    assert (rows.uptake_ns <= rows.finished_ns - rows.started_ns).all()
    assert rows.uptake_ns.max() >= 30e6, "it came in while another task computed"


def test_an_answer_that_the_generator_waited_for_did_not_lie_there(run: Run) -> None:
    result = run(READ.format(base="FastHttpUser"), lambda _: Answer(delay_s=0.3), segments=[segment(rate_rps=5.0)])
    assert result.rows.uptake_ns.min() < 100e6, "the loop waited for it, 300 ms and longer"


def test_every_process_asks_it(tmp_path: Path) -> None:
    from test_workers import a_plan, executed

    with serving(Stub(lambda _: Answer())) as url:
        plan = a_plan(tmp_path, url, [segment(rate_rps=50.0)], processes=2)
        executed(plan)
    each = [drive.read_null(plan.output_dir / f"worker-{stripe}") for stripe in (0, 1)]
    assert all(len(own) for own in each)
    assert len(drive.read_null(plan.output_dir)) == sum(map(len, each))


def test_it_ends_with_the_block(tmp_path: Path) -> None:
    others = set(psutil.Process().children())  # a server of this session's, perhaps
    with serving_nothing(tmp_path / "null.log"):
        (child,) = set(psutil.Process().children()) - others
    assert not child.is_running()


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = f"""
        import psutil, time
        from pathlib import Path
        from harness.null import serving_nothing
        with serving_nothing(Path({str(tmp_path / "null.log")!r})):
            print(psutil.Process().children()[0].pid, flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        child = psutil.Process(int(starter.stdout.readline()))
        assert child.is_running()
        starter.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def test_workers_on_other_machines_have_none_near_them(tmp_path: Path) -> None:
    from test_workers import a_plan

    plan = replace(a_plan(tmp_path, "http://127.0.0.1:9", [segment()]), workers=Workers(expect=1, bind="127.0.0.1:0"))
    with drive.start(plan):
        assert '"null_url": null' in (plan.output_dir / "loadplan.json").read_text()
    assert drive.read_null(plan.output_dir).empty
