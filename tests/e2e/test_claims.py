"""Claims measured for real: exact counts that are known, what cannot be measured here, and a service of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.postgres
HEAD = """\
schema_version = 1
name = "{name}"
[pool]
pool_size = 2
max_overflow = 0
[load]
scenario = "requests"
rate_rps = 40
warmup_s = 0.1
measure_s = 0.5
arguments.request = ["GET /heroes/{{id}}"]
"""
PING = """\
[claim]
number = 13
statement = "a ping is one round trip"
expect = "round_trips_per_request(on) - round_trips_per_request(off) < 2"
[arms.off]
[arms.on]
pool.pool_pre_ping = true
"""
ELSEWHERE = """\
[database]
provider = "url"
url = "postgresql://nobody@127.0.0.1:9/nothing"
[claim]
number = 60
statement = "there is a server at port 9"
expect = "error_rate(one) < 0.5"
[arms.one]
"""
ANYBODYS = """\
[claim]
number = 61
statement = "a larger pool takes no more statements"
expect = "statements_per_request(large) <= statements_per_request(small)"
own_service = true
[arms.small]
pool.pool_size = 2
[arms.large]
pool.pool_size = 5
"""


def test_claims_are_measured_recorded_and_written_down(poolbench, tmp_path: Path) -> None:
    """asyncpg pings with three round trips: known from the wire (tests/integration/probe). What a connection takes
    at its first use is in the mean of so few requests."""
    ping = poolbench.write("ping.toml", HEAD.format(name="claim-13") + PING)
    elsewhere = poolbench.write("elsewhere.toml", HEAD.format(name="claim-60") + ELSEWHERE)
    kept = tmp_path / "kept"
    done = poolbench("claims", elsewhere, ping, "--json", "--record", str(kept))
    told = {own["number"]: own for own in json.loads(done.stdout)["claims"]}
    assert done.returncode == 5, done.stderr
    assert told[13]["answer"] == "refuted"
    assert told[13]["contexts"][0]["comparisons"][0]["value"] == pytest.approx(3.0, abs=0.5)
    assert (told[60]["answer"], "claim 60 was not measured: " in done.stderr) == ("inconclusive", True)
    assert "127.0.0.1" in told[60]["why"]
    assert [path.name[:9] for path in kept.glob("*.json")] == ["claim-13-"]
    page = poolbench("findings", str(kept))
    assert page.returncode == 0
    assert "| 13 | a ping is one round trip | refuted (once) |" in page.stdout
    assert (poolbench.cwd / "results" / told[13]["run"] / "report.html").is_file()


def test_a_service_of_ones_own_is_asked(poolbench) -> None:
    claim = poolbench.write("anybodys.toml", HEAD.format(name="claim-61") + ANYBODYS)
    own = poolbench.write("own.toml", HEAD.format(name="mine").replace("rate_rps = 40", "rate_rps = 25"))
    done = poolbench("claims", claim, "--on", own, "--set", "design.launches=3")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "61. confirmed: a larger pool takes no more statements" in said
    assert (
        "statements_per_request(large) / statements_per_request(small) = 1.00; claimed is <= 1.00, which holds" in said
    )
