"""Two sides, really measured: one more statement is named however little time there is; equal sides are called so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema_rs
import pytest
import yaml

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


def by_the_action(poolbench) -> subprocess.CompletedProcess[str]:
    action = yaml.safe_load((Path(__file__).parents[2] / "docs/action/action.yml").read_text())
    (script,) = [step["run"] for step in action["runs"]["steps"] if step.get("id") == "gate"]
    bin_folder = poolbench.cwd / "temp/poolbench/bin"
    bin_folder.mkdir(parents=True)
    for name in ("poolbench", "python"):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec {Path(sys.executable).parent / name} "$@"\n')
        (bin_folder / name).chmod(0o755)
    told = {
        "RUNNER_TEMP": str(poolbench.cwd / "temp"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(poolbench.cwd / "output"),
        "GITHUB_STEP_SUMMARY": str(poolbench.cwd / "summary.md"),
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # as shell: bash has it
        cwd=poolbench.cwd,
        env={**poolbench.environment(), **told, "EXPERIMENT": "sides.toml", "BASE": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_more_statement_fails_the_gate_in_the_time_of_a_single_block(poolbench) -> None:
    """By the action in the docs, its step as a runner has it: what differs is that poolbench is installed already."""
    poolbench.write("sides.toml", SIDES.format(head="session.refresh_after_write = true", limit=ONE_BLOCK))
    done = by_the_action(poolbench)
    assert done.returncode == 1, done.stdout + done.stderr
    assert (poolbench.cwd / "output").read_text() == "verdict=regressed\n"
    kept = poolbench.cwd / "temp/poolbench-results"
    assert {path.name for path in kept.iterdir() if path.is_file()} == {"junit.xml", "gate.md", "report.json"}
    cases = {case.attrib["name"]: case for case in ElementTree.parse(kept / "junit.xml").iter("testcase")}
    assert cases["statements_per_request of PATCH /heroes/{hero_id} 200"].find("failure") is not None
    assert cases["statements_per_request of GET /heroes/{hero_id} 200"].find("system-out") is not None
    assert cases["p95_ms of *"].find("skipped") is not None
    assert (kept / "gate.md").read_text() == (poolbench.cwd / "summary.md").read_text()
    assert "::error title=poolbench%3A sides%2C regressed::PATCH /heroes/{hero_id} 200 takes 3 stat" in done.stderr
    told = " ".join(done.stdout.split())
    sentence = "takes 3 statements (2), 2 transactions (1), 2 connections (1), 7 round trips (4) a request, in brackets"
    assert f"Regressed: PATCH /heroes/{{hero_id}} 200 {sentence} the base." in told, "no first use among them"
    assert "Too little time to judge p95_ms: one launch of each side, and five are needed" in told
    assert "A stage has time for one launch of each side: too few for anything but exact counts" in done.stderr
    (folder,) = (path for path in kept.iterdir() if path.is_dir())
    info = RunStore.open(folder).read_info()
    assert (info.strategy, list(info.experiment.arms)) == ("two_stage", ["base", "base'", "head"])
    assert "The head against the base" in (folder / "report.html").read_text()
    gate = json.loads((kept / "report.json").read_text())["gate"]
    jsonschema_rs.validator_for(json.loads(poolbench("schema", "gate").stdout)).validate(gate)
    assert (gate["verdict"], gate["launches"], gate["primary"]) == ("regressed", {"first": 1, "fresh": 0}, "p95_ms")
    counted = {own["endpoint"]: own for own in gate["metrics"] if own["metric"] == "statements_per_request"}
    read = counted["GET /heroes/{hero_id} 200"]
    assert (read["base"], read["head"], read["verdict"], read["share"]) == (1, 1, "equivalent", None)
    assert counted["PATCH /heroes/{hero_id} 200"]["share"] == 1
    trips = {own["endpoint"]: own["verdict"] for own in gate["metrics"] if own["metric"] == "round_trips_per_request"}
    assert trips["DELETE /heroes/{hero_id} 204"] == "equivalent", "whichever connection met its statement first"
    resumed = poolbench("run", "--resume", str(folder))
    assert (resumed.returncode, "is complete" in resumed.stderr) == (2, True)
    assert poolbench("baseline", "promote", str(folder)).returncode == 0
    held = poolbench("gate", "sides.toml", "--baseline", "main", "--set", "design.launches=1", "--json")
    assert held.returncode == 0, held.stderr
    (cell,) = json.loads(held.stdout)["cells"]
    assert (cell["cell"], cell["paired"], cell["verdict"]) == ("head against main", False, "inconclusive")
    found_equal = [own["verdict"] for own in cell["metrics"] if own["metric"] == "statements_per_request"]
    assert set(found_equal) == {"equivalent"}
    unknown = poolbench("gate", "sides.toml", "--baseline", "mian")
    assert (unknown.returncode, "There is no baseline mian" in unknown.stderr) == (2, True)


def test_equal_sides_are_called_so_and_a_run_is_no_worse_than_itself(poolbench) -> None:
    poolbench.write("sides.toml", SIDES.format(head="", limit=ONE_BLOCK))
    done = poolbench("compare", "sides.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Both sides are configured alike" in done.stdout
    assert "Regressed" not in done.stdout
    (folder,) = results(poolbench)
    judged = poolbench("compare", str(folder), str(folder), "--json")
    assert judged.returncode == 0, judged.stderr
    cells = {own["cell"]: own for own in json.loads(judged.stdout)["cells"]}
    assert list(cells) == ["head"], "of a comparison its new side"
    assert {own["paired"] for own in cells.values()} == {False}
    assert {own["verdict"] for own in cells.values()} == {"inconclusive"}
