"""Two sides, really measured: one more statement is named however little time there is; equal sides are called so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import RunStore

pytestmark = pytest.mark.postgres
SIDES = """\
schema_version = 1
name = "sides"
[arms.base]
[arms.head]
{head}
[pool]
max_overflow = 0
[load]
scenario = "write_heavy"
rate_rps = 40
warmup_s = 0.5
measure_s = 1.5
[design]
segment_s = 0.5
[database]
rows = 500
[gate]
stage_limit_s = {limit}
"""
ONE_BLOCK = 12


def results(poolbench) -> list[Path]:
    return sorted((poolbench.cwd / "results").iterdir())


def test_one_more_statement_fails_the_gate_in_the_time_of_a_single_block(poolbench) -> None:
    poolbench.write("sides.toml", SIDES.format(head="session.refresh_after_write = true", limit=ONE_BLOCK))
    done = poolbench("gate", "sides.toml")
    assert done.returncode == 1, done.stdout + done.stderr
    told = " ".join(done.stdout.split())
    assert "Regressed: PATCH /heroes/{hero_id} 200 takes 3 statements (2), 2 transactions (1)" in told
    assert "Too little time to judge p95_ms: one launch of each side, and five are needed" in told
    assert "A stage has time for one launch of each side: too few for anything but exact counts" in done.stderr
    (folder,) = results(poolbench)
    info = RunStore.open(folder).read_info()
    assert (info.strategy, list(info.experiment.arms)) == ("two_stage", ["base", "base'", "head"])
    assert "The head against the base" in (folder / "report.html").read_text()
    again = poolbench("report", str(folder), "--json")
    assert again.returncode == 1
    gate = json.loads(again.stdout)["gate"]
    assert (gate["verdict"], gate["launches"], gate["primary"]) == ("regressed", {"first": 1, "fresh": 0}, "p95_ms")
    counted = {own["endpoint"]: own for own in gate["metrics"] if own["metric"] == "statements_per_request"}
    read = counted["GET /heroes/{hero_id} 200"]
    assert (read["base"], read["head"], read["verdict"]) == (1, 1, "equivalent")
    resumed = poolbench("run", "--resume", str(folder))
    assert (resumed.returncode, "is complete" in resumed.stderr) == (2, True)


def test_equal_sides_are_called_so_and_two_runs_of_them_can_be_compared(poolbench) -> None:
    poolbench.write("sides.toml", SIDES.format(head="", limit=ONE_BLOCK))
    for _ in range(2):
        done = poolbench("compare", "sides.toml")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Both sides are configured alike" in done.stdout
        assert "Regressed" not in done.stdout
    judged = poolbench("compare", *map(str, results(poolbench)), "--json")
    assert judged.returncode == 0, judged.stderr
    cells = {own["cell"]: own for own in json.loads(judged.stdout)["cells"]}
    assert list(cells) == ["base", "base'", "head"]
    assert {own["paired"] for own in cells.values()} == {False}
    assert {own["verdict"] for own in cells.values()} == {"inconclusive"}


def test_runs_under_different_loads_are_not_compared(poolbench, small: Callable[..., str]) -> None:
    for rate in (20, 30):
        poolbench.write("small.toml", small(("rate_rps = 40", f"rate_rps = {rate}"), ("launches = 2", "launches = 1")))
        poolbench("run", "small.toml")
    refused = poolbench("compare", *map(str, results(poolbench)))
    assert refused.returncode == 2
    assert "was not measured under the same conditions: load.rate_rps differ" in refused.stderr
    three = poolbench("compare", *map(str, results(poolbench)), "x")
    assert (three.returncode, "two folders, and no --set" in three.stderr) == (2, True)
