"""A search for the capacity of a service whose capacity is known: one permit, exponential holds, an exact queue.

M/M/1 with holds of 12.5 ms carries 80/s, and its sojourn times are exponential: p95 = ln 20 / (80 - rate), which is
300 ms at 70/s. Launches of a few seconds scatter widely there, so the ends are asked for roughly; what the search makes
of launches that are exact, tests/unit/schedule/test_capacity.py says.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.store import RunStore

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[2]
SEARCH = f"""\
schema_version = 1
name = "search"
[target]
app = "benchmarks.queueing_app:make_app"
dir = "{ROOT}"
env.SERVICE = "light"
[pool]
pool_size = 1
max_overflow = 0
[load]
scenario = "{ROOT / "benchmarks" / "stock_locustfile.py"}"
rate_rps = 30
warmup_s = 0.5
measure_s = 2
[slo]
p95_ms = {{p95_ms}}
[capacity]
precision = "40%"
confirmations = 1
limit_rps = {{limit_rps}}
"""


def test_the_bracket_lies_where_the_exact_queue_has_its_capacity(poolbench) -> None:
    poolbench.write("search.toml", SEARCH.format(p95_ms=300, limit_rps=300))
    done = poolbench("capacity", "search.toml", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    (cell,) = shown["cells"]
    assert cell["stop"] == "bracketed"
    assert 25 <= cell["highest_pass_rps"] <= 80
    assert 50 <= cell["lowest_fail_rps"] <= 160
    confirmed = [(step["rate_rps"], step["result"]) for step in cell["steps"] if step["role"] == "confirm"]
    assert (cell["highest_pass_rps"], "pass") in confirmed
    assert any(rate == cell["lowest_fail_rps"] and result != "pass" for rate, result in confirmed)
    folder = Path(shown["run"])
    assert json.loads((folder / "capacity.json").read_text())["cells"] == shown["cells"]
    assert RunStore.open(folder).read_info().strategy == "capacity"
    again = poolbench("report", str(folder))
    assert again.returncode == 0
    assert "within p95 \u2264 300 ms, and no longer" in " ".join(again.stdout.split())
    assert "<svg" in (folder / "report.html").read_text()
    planned = poolbench("capacity", str(folder), "--report", "--peak", "500", "--json")
    assert planned.returncode == 0, planned.stderr
    (fleet,) = json.loads(planned.stdout)["plan"]["fleets"]
    assert fleet["replica_rps"] == cell["highest_pass_rps"]
    assert fleet["situations"][0]["connections"] == fleet["replicas"] + 3, "one connection each, as its process said"
    assert "<svg" in (folder / "plan.html").read_text()


def test_where_everything_tried_is_met_no_capacity_is_claimed(poolbench) -> None:
    poolbench.write("search.toml", SEARCH.format(p95_ms=5000, limit_rps=40))
    done = poolbench("capacity", "search.toml")
    assert done.returncode == 0, done.stderr
    assert "its capacity is not known; raise capacity.limit_rps." in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("p95_ms = 300", "", "search promises nothing, so that any rate would do."),
        ("rate_rps = 30", 'model = "closed"\nusers = 3', "the closed model has none"),
        ("rate_rps = 30", 'rate = "40%"', "is a share of the capacity that is searched for."),
        ('precision = "40%"', 'precision = "close"', "is no percentage above 0."),
    ],
)
def test_what_cannot_be_searched_for_is_refused(poolbench, old: str, new: str, cause: str) -> None:
    text = SEARCH.format(p95_ms=300, limit_rps=300)
    assert old in text
    poolbench.write("search.toml", text.replace(old, new))
    refused = poolbench("capacity", "search.toml")
    assert (refused.returncode, cause in " ".join(refused.stderr.split())) == (2, True), refused.stderr
