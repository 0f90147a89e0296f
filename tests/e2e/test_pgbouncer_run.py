"""A run with and without PgBouncer: both work, and Postgres sees no more connections than PgBouncer keeps."""

from __future__ import annotations

import json

import pandas as pd
import pytest

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("pgbouncer")]

DIRECT = """\
schema_version = 1
name = "bounced"

[pool]
pool_size = 6
max_overflow = 0
pool_prewarm = true

[target]
pgbouncer_pool_size = 2

[load]
scenario = "mixed"
rate_rps = 20
warmup_s = 0.5
measure_s = 2.0

[design]
launches = 1
guard_s = 0.3

[database]
rows = 500
"""


def test_a_run_with_and_without_it(poolbench) -> None:
    file = poolbench.write("bounced.toml", DIRECT)
    done = poolbench("run", file, "--set", "target.pgbouncer=false,true", "--set", "target.driver=asyncpg")
    # 4: measured, but the machine was too busy for the numbers to count
    assert done.returncode in (0, 4), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (poolbench.cwd / "results").iterdir()
    report = json.loads(poolbench("report", str(run), "--json").stdout)
    direct, bounced = (run / "trials" / f"b1-c{number}" for number in (1, 2))

    for folder in (direct, bounced):
        assert set(pd.read_parquet(folder / "requests.parquet")["outcome"]) == {"ok"}
        reasons = report["certificates"][folder.name]["reasons"]
        assert "littles_law_postgres" not in {reason["code"] for reason in reasons}

    def most_connections(folder) -> int:
        activity = pd.read_parquet(folder / "activity.parquet")
        return int(activity.groupby("t_ns")["connections"].sum().max())

    assert most_connections(direct) == 6
    assert 1 <= most_connections(bounced) <= 2
