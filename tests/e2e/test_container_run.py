"""The quickstart on a Postgres in a container. Shortened: one launch instead of three, a given rate, half the time."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from containers import containers_of

SHORTER = ("load.rate_rps=60", "design.launches=1", "load.warmup_s=0.5", "load.measure_s=1.0", "database.rows=500")

pytestmark = pytest.mark.postgres


def test_the_quickstart_runs_on_a_container(container_image: str, poolbench) -> None:
    settings = ("database.provider=container", f"database.image={container_image}", *SHORTER)
    process = poolbench.start("run", *(part for setting in settings for part in ("--set", setting)))
    out, err = process.communicate(timeout=150)
    assert "Traceback" not in err
    # 4: measured, but the machine was too busy for the numbers to count
    assert process.returncode in (0, 4), out + err
    (run,) = (poolbench.cwd / "results").iterdir()
    assert (run / "report.html").is_file()
    info = json.loads((run / "run.json").read_text())
    assert info["environment"]["postgres"]["provider"] == "container"
    assert info["environment"]["postgres"]["transport"].startswith("tcp, scram-sha-256")
    trials = sorted(path.name for path in (run / "trials").iterdir())
    assert trials == ["b1-c1", "b1-c2", "b1-c3"]
    for trial, most in zip(trials, (1, 8, 20), strict=True):
        requests = pd.read_parquet(run / "trials" / trial / "requests.parquet")
        assert (requests["outcome"] == "ok").mean() > 0.9
        activity = pd.read_parquet(run / "trials" / trial / "activity.parquet")
        assert 1 <= activity.groupby("t_ns")["connections"].sum().max() <= most
    assert containers_of(process.pid) == set()
