"""A run whose cells differ in how far away Postgres is: felt in the latency, recorded, and reported."""

from __future__ import annotations

import json

import pandas as pd
import pytest

pytestmark = pytest.mark.postgres

FAR = """\
schema_version = 1
name = "far"

[matrix]
network.rtt_ms = [0, 10]

[pool]
max_overflow = 0

[load]
scenario = "read_heavy"
rate_rps = 20
warmup_s = 0.5
measure_s = 2.0

[design]
launches = 1
guard_s = 0.3

[database]
rows = 500
"""


def test_a_run_at_two_distances(poolbench) -> None:
    done = poolbench("run", poolbench.write("far.toml", FAR))
    # 4: measured, but the machine was too busy for the numbers to count
    assert done.returncode in (0, 4), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (poolbench.cwd / "results").iterdir()
    near, far = (run / "trials" / f"b1-c{number}" for number in (1, 2))

    assert json.loads((near / "trial.json").read_text())["relay"] is None
    relay = json.loads((far / "trial.json").read_text())["relay"]
    assert relay["rtt_ms"] == 10
    assert 5 < relay["rtt_ms_measured"] < 50

    def answered_ms(folder) -> pd.Series:
        rows = pd.read_parquet(folder / "requests.parquet")
        rows = rows[(rows["outcome"] == "ok") & (rows["phase"] == "measure")]
        return (rows["finished_ns"] - rows["started_ns"]) / 1e6

    # every request is a read: BEGIN and SELECT before its answer, ROLLBACK after it
    assert answered_ms(near).min() < 20 <= answered_ms(far).min()
    assert relay["round_trips"] >= 3 * len(answered_ms(far))

    roles = {folder: set(pd.read_parquet(folder / "process.parquet")["role"]) for folder in (near, far)}
    assert "relay" in roles[far]
    assert "relay" not in roles[near]
    assert "Between target and Postgres a relay added" in " ".join(done.stdout.split())
    assert "10 ms asked for" in (run / "report.html").read_text()
