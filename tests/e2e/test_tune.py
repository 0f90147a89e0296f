"""A tune of services whose answer is known: holds of 100 ms at 20/s keep two connections busy on average."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.store import RunStore

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[2]
HELD = f"""\
schema_version = 1
name = "held"
[matrix]
pool.pool_size = [1, 2, 8, 12]
[pool]
max_overflow = 0
pool_timeout_s = 0.5
pool_prewarm = true
[target]
lab = true
[load]
scenario = "{ROOT / "benchmarks" / "asking_locustfile.py"}"
rate_rps = 20
warmup_s = 0.3
measure_s = 1.5
arguments.path = "/lab/sleep?ms=100"
[slo]
p95_ms = 450
[tune]
replicas = 10
max_connections = 110
"""


def test_the_smallest_pool_within_the_slo_is_found_and_shown_by_fresh_launches(poolbench) -> None:
    """Twelve connections do not fit ten replicas' budget; of one and two more than half of the time nobody has one."""
    done = poolbench("tune", poolbench.write("held.toml", HELD), "--json", "--max-connections", "120")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["recommended"] == {"pool.pool_size": 8}
    assert shown["line"] == "create_async_engine(url, pool_size=8, max_overflow=0)"
    by_value = {size["value"]: size for size in shown["sizes"]}
    assert by_value[8]["fresh"] == 5
    assert by_value[12]["why_not"] == "budget"
    assert by_value[12]["launches"] == 0
    assert by_value[1]["why_not"] in {"fails", "floor", "slower"}
    folder = Path(shown["run"])
    assert json.loads((folder / "tune.json").read_text())["sizes"] == shown["sizes"]
    assert RunStore.open(folder).read_info().strategy == "tune"
    again = poolbench("report", str(folder))
    assert again.returncode == 0
    assert "Run with pool.pool_size = 8" in " ".join(again.stdout.split())
    over = poolbench("run", "--resume", str(folder))
    assert over.returncode == 2
    assert "is complete" in over.stderr
