"""Who holds the connections of the reference service: a deadlock foreseen on one side and met on the other, a leak."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from measured import MEASURED

pytestmark = pytest.mark.postgres
SCENARIO = """\
from locust import FastHttpUser, task


class Someone(FastHttpUser):
    @task
    def ask(self) -> None:
        self.client.{method}("{path}", name="{name}")
"""
THREADS = """\
schema_version = 1
name = "threads"

[matrix]
"load.users" = [7, 8]

[target]
driver = "psycopg_sync"
threadpool_tokens = 5
lab = true

[pool]
pool_size = 2
max_overflow = 1
pool_timeout_s = 1.0
pool_prewarm = true

[load]
model = "closed"
scenario = "someone.py"
warmup_s = 0.5
measure_s = 1.5

[design]
kind = "blocked"
launches = 1

[database]
rows = 100
"""
LEAK = """\
schema_version = 1
name = "leak"

[target]
lab = true

[pool]
pool_size = 40
max_overflow = 0

[load]
scenario = "someone.py"
rate_rps = 4
warmup_s = 0.5
measure_s = 4.0

[observe]
detail = true

[design]
kind = "blocked"
launches = 1

[database]
rows = 100
"""


def scenario(**values: str) -> str:
    return SCENARIO.format(**values)


def test_threads_and_connections_that_wait_for_each_other_are_foreseen_and_met(poolbench) -> None:
    """Five threads and three connections: with seven requests at once one of them goes on, with eight none need."""
    poolbench.write("someone.py", scenario(method="get", path="/lab/sleep?ms=50", name="/lab/sleep"))
    done = poolbench("run", poolbench.write("threads.toml", THREADS), "--json")
    assert done.returncode in {*MEASURED, 1, 3}, done.stderr
    shown = json.loads(done.stdout)
    below, above = sorted(shown["cells"], key=lambda cell: cell["factors"]["load.users"])
    for cell in (below, above):
        (cliff,) = cell["cliffs"]
        assert (cliff["kind"], cliff["requests"], cliff["endpoints"]) == ("threads", 8, ["GET /lab/sleep"])
        (held,) = cell["holds"]
        assert (held["connections"], held["threads"] > 0, held["hold_ms"] > 50) == (1, True, True)
    assert [cell["in_flight_peak"] for cell in (below, above)] == [7, 8]
    assert below["failures"] == []
    assert ["pool_timeouts" in cell["findings"] for cell in (below, above)] == [False, True]
    report = (Path(shown["run"]) / "report.html").read_text()
    assert "It came to that: the pool gave up on waits in users 8." in report


def test_a_leak_is_found_with_its_rate_and_the_line_that_leaks(poolbench) -> None:
    path = "/lab/background?ms=1&leak=true"
    poolbench.write("someone.py", scenario(method="post", path=path, name="/lab/background"))
    done = poolbench("run", poolbench.write("leak.toml", LEAK), "--json")
    assert done.returncode in MEASURED, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    leak = cell["leak"]
    assert "leak" in cell["findings"]
    assert leak["low_per_s"] < 4 < leak["high_per_s"]
    assert (leak["pool"], leak["endpoints"]) == (40, ["POST /lab/background"])
    (site,) = leak["sites"]
    assert site.split(":")[0].endswith("target_app/routes/lab_async.py")
    assert {own["endpoint"] for own in cell["hold_sites"]} == {"POST /lab/background"}
