"""A services file that is right, and what is said of wrong ones."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from harness.domain.budget import Fleet, PgBouncer, Service
from harness.domain.capacity_plan import Wanted
from harness.errors import UsageError
from harness.plan import fleet_of, load_fleet, wanted_of

FILE = """\
max_connections = 200
reserved = 5

[services.web]
replicas = 4
workers = 2
pool_size = 10
max_overflow = 5
pgbouncer = true

[services.cron]
replicas = 1
engines = 2
jobs = 3
surge = "1"

[pgbouncer]
databases = 2
max_client_conn = 500
"""


def load(folder: Path, text: str) -> Fleet:
    path = folder / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return load_fleet(path)


def test_a_file_becomes_a_fleet(tmp_path: Path) -> None:
    assert load(tmp_path, FILE) == Fleet(
        max_connections=200,
        reserved=5,
        services={
            "web": Service(replicas=4, workers=2, pool_size=10, max_overflow=5, pgbouncer=True),
            "cron": Service(replicas=1, engines=2, jobs=3, surge="1"),
        },
        pgbouncer=PgBouncer(databases=2, max_client_conn=500),
    )


def test_the_file_in_the_docs_is_right(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(max_connections.*?)```", docs, re.DOTALL)
    described = load(tmp_path, text)
    assert described.pgbouncer == PgBouncer(default_pool_size=20, max_client_conn=500)
    assert described.services["cron"] == Service(replicas=1, engines=2, jobs=3)


def test_the_command_line_becomes_a_fleet_of_one_service() -> None:
    assert fleet_of({"reserved": 4, "replicas": 2}) == Fleet(reserved=4, services={"service": Service(replicas=2)})
    through = fleet_of({"replicas": 2, "default_pool_size": 30})
    assert through.pooler == PgBouncer(default_pool_size=30)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "replicas = 4",
            "replicsa = 4",
            "fleet.toml:5: unknown key 'services.web.replicsa'. Did you mean 'services.web.replicas'?",
        ),
        ("reserved = 5", "reservd = 5", "fleet.toml:2: unknown key 'reservd'. Did you mean 'reserved'?"),
        (
            "reserved = 5",
            "zzz = 5",
            "unknown key 'zzz'. Known keys are max_connections, reserved, services, pgbouncer.",
        ),
        (
            "databases = 2",
            "zzz = 5",
            "fleet.toml:18: unknown key 'pgbouncer.zzz'. Known keys are pgbouncer.default_pool_size, ",
        ),
        ("replicas = 4", "replicas = 0", "fleet.toml:5: services.web.replicas must be at least 1, not 0."),
        ("workers = 2", "workers = 2.5", "fleet.toml:6: services.web.workers must be a whole number, not 2.5."),
        ("workers = 2", "workers = nan", "fleet.toml:6: services.web.workers must be finite, not nan."),
        ("max_overflow = 5", "max_overflow = -1", "services.web.max_overflow must be at least 0, not -1."),
        ("replicas = 1\n", "", "fleet.toml:11: services.cron.replicas is missing."),
        ('"1"', '"101%"', 'fleet.toml:15: services.cron.surge must be at most 100%, not "101%". Change services.cron'),
        ('"1"', '"100001"', 'services.cron.surge must be at most 100000, not "100001".'),
        ('"1"', '"a lot"', 'must be a share ("25%") or a count of replicas ("1"), not "a lot". Write it as maxSurge'),
        ('"1"', '"-1"', 'not "-1"'),
        ('"1"', "1", "fleet.toml:15: services.cron.surge must be text in quotes, not 1."),
        ("max_connections = 200", "max_connections = 5", "max_connections = 5 leaves nothing beside the 5 that are"),
        ("max_connections = 200", "max_connections = 300000", "max_connections must be at most 262143, not 300000."),
        (
            "pgbouncer = true",
            "pgbouncer = false",
            "fleet.toml:17: no service goes through the PgBouncer that is described.",
        ),
        ("[services.cron]", '[services."c r"]', "fleet.toml:11: a service cannot be called 'c r'."),
        ("[services.cron]", "[[services]]", "not valid TOML"),
        (FILE, "max_connections = 9", "has no services. Write a table for each: [services.web] with replicas = 4."),
        (FILE, "services = 3", "services must be a table, not 3."),
        (FILE, "services = [", "fleet.toml:1: not valid TOML"),
        (FILE, "#" * 300_000, "has 300000 bytes, the most is 262144. Is it a services file?"),
        (FILE, "[a" + ".a" * 50 + "]", "tables lie more than 32 deep in each other below a."),
    ],
)
def test_a_wrong_file_is_one_sentence_with_a_next_step(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(UsageError) as error:
        load(tmp_path, FILE.replace(old, new))
    assert message in str(error.value)
    assert error.value.next_step


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read: No such file or directory\. Check the file\."):
        load_fleet(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"replicas": 0}, "poolbench budget: replicas must be at least 1, not 0. Change replicas."),
        ({"replicas": 1, "surge": "250%"}, 'surge must be at most 100%, not "250%". Change surge.'),
        ({"replicas": 1, "default_pool_size": 0}, "default_pool_size must be at least 1, not 0."),
        ({"max_connections": 3, "replicas": 1}, "max_connections = 3 leaves nothing beside the 3 that are"),
        ({"reserved": -1, "replicas": 1}, "reserved must be at least 0, not -1."),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        fleet_of(given)
    assert message in str(error.value)


def test_what_a_fleet_is_planned_for() -> None:
    asked = wanted_of({"max_connections": 200, "surge": "1"}, peak_rps=300.0, headroom="12.5%")
    assert asked == Wanted(
        limits=Fleet(max_connections=200, services={"service": Service(replicas=1, surge="1")}),
        named=frozenset({"max_connections", "surge"}),
        headroom=0.125,
        peak_rps=300.0,
    )
    assert wanted_of({}, peak_rps=None, headroom="0%").headroom == 0


@pytest.mark.parametrize(
    ("given", "peak_rps", "headroom", "message"),
    [
        (
            {},
            300.0,
            "100%",
            'poolbench capacity: headroom must be a percentage from 0% up to less than 100%, not "100%".',
        ),
        ({}, 300.0, "130%", 'not "130%". Give the share'),
        ({}, 300.0, "30", 'not "30". Give the share'),
        ({}, 300.0, "-5%", 'not "-5%". Give the share'),
        ({}, 0.0, "30%", "poolbench capacity: peak must be a rate above 0, not 0. Give the arrivals a second"),
        ({}, -3.0, "30%", "peak must be a rate above 0, not -3."),
        ({}, math.nan, "30%", "peak must be a rate above 0, not nan."),
        ({}, math.inf, "30%", "peak must be a rate above 0, not inf."),
        (
            {"pool_size": 5, "surge": "1"},
            300.0,
            "30%",
            (
                "poolbench capacity: pool_size cannot be given. What can be given is replicas, workers, jobs, surge, "
                "max_connections, reserved, default_pool_size, max_client_conn; pools are those that were measured."
            ),
        ),
        ({"replicas": 0}, 300.0, "30%", "poolbench capacity: replicas must be at least 1, not 0."),
        ({"surge": "101%"}, 300.0, "30%", 'surge must be at most 100%, not "101%".'),
    ],
)
def test_what_no_fleet_can_be_planned_for(given: dict[str, Any], peak_rps: float, headroom: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        wanted_of(given, peak_rps=peak_rps, headroom=headroom)
    assert message in str(error.value)
    assert error.value.next_step
