"""`--set`: how values are typed, and what they replace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.domain.experiment import Limits
from harness.plan import expand, parse_experiment
from harness.plan.overrides import parse_override

TEXT = """\
schema_version = 1
name = "x"
[matrix]
pool.pool_size = [5, 20]
[target]
driver = "psycopg"
[load]
rate = "60%"
"""


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("pool.pool_size=5", "pool.pool_size", (5,)),
        ("pool.pool_size=5,10", "pool.pool_size", (5, 10)),
        ("pool.pool_size = 5, 10", "pool.pool_size", (5, 10)),
        ("target.driver=asyncpg,psycopg", "target.driver", ("asyncpg", "psycopg")),
        ("target.driver='asyncpg'", "target.driver", ("asyncpg",)),
        ("session.expire_on_commit=true", "session.expire_on_commit", (True,)),
        ("load.rate=60%", "load.rate", ("60%",)),
        ("session.isolation=READ COMMITTED,SERIALIZABLE", "session.isolation", ("READ COMMITTED", "SERIALIZABLE")),
        ("target.cpus=[0,1]", "target.cpus", ([0, 1],)),
        ("target.cpus=[0],[1]", "target.cpus", ([0], [1])),
        ("design.guard_s=0.2", "design.guard_s", (0.2,)),
        ("target.url=http://127.0.0.1:80/?a=b", "target.url", ("http://127.0.0.1:80/?a=b",)),
        ('question="one, two"', "question", ("one, two",)),
        ("mixed=1,two,'three, four'", "mixed", (1, "two", "three, four")),
        ("sneaky=5\nname = 7", "sneaky", ("5\nname = 7",)),
    ],
)
def test_values_are_typed_as_toml_would_else_text(text: str, key: str, values: tuple[Any, ...]) -> None:
    assert parse_override(text) == (key, values)


@given(st.lists(st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_plain_values_survive(values: list[int | bool | float]) -> None:
    text = ",".join(str(value).lower() for value in values)
    assert parse_override(f"k={text}") == ("k", tuple(values))


def test_one_value_takes_the_key_out_of_the_matrix() -> None:
    experiment = parse_experiment(TEXT, source="x", overrides=["pool.pool_size=7"])
    assert experiment.matrix == {}
    assert experiment.pool.pool_size == 7


def test_several_values_make_or_replace_a_factor() -> None:
    overrides = ["pool.pool_size=1,2,3", "target.driver=asyncpg,psycopg"]
    experiment = parse_experiment(TEXT, source="x", overrides=overrides)
    assert experiment.matrix == {"pool.pool_size": (1, 2, 3), "target.driver": ("asyncpg", "psycopg")}
    assert len(expand(experiment)) == 6


def test_the_last_of_two_settings_of_a_key_counts() -> None:
    experiment = parse_experiment(TEXT, source="x", overrides=["pool.pool_size=1,2", "pool.pool_size=3"])
    assert (experiment.matrix, experiment.pool.pool_size) == ({}, 3)


@pytest.mark.parametrize(
    ("load", "overrides", "expected"),
    [
        ('rate = "60%"', ["load.rate_rps=50"], ("open", None, 50.0, None)),
        ("rate_rps = 50", ["load.rate=70%"], ("open", "70%", None, None)),
        ('rate = "60%"', ["load.model=closed", "load.users=4"], ("closed", None, None, 4)),
        ('model = "closed"\nusers = 4', ["load.model=open", "load.rate_rps=9"], ("open", None, 9.0, None)),
    ],
)
def test_what_excludes_another_key_drops_it(load: str, overrides: list[str], expected: tuple[Any, ...]) -> None:
    text = f'schema_version = 1\nname = "x"\n[load]\n{load}\n'
    found = parse_experiment(text, source="x", overrides=overrides).load
    assert (found.model, found.rate, found.rate_rps, found.users) == expected


def test_a_varied_rate_drops_the_share_and_a_share_drops_the_varied_rate() -> None:
    varied = parse_experiment(TEXT, source="x", overrides=["load.rate_rps=50,100"])
    assert varied.load.rate is None
    assert [cell.load.rate_rps for cell in expand(varied)] == [50.0, 100.0, 50.0, 100.0]
    text = TEXT.replace("pool.pool_size = [5, 20]", "load.rate_rps = [50, 100]").replace('rate = "60%"', "")
    shared = parse_experiment(text, source="x", overrides=["load.rate=50%"])
    assert (dict(shared.matrix), shared.load.rate) == ({}, "50%")


def test_open_tables_take_any_key() -> None:
    overrides = ["database.settings.pg_stat_statements.track=all", "target.env.A_B='1'"]
    experiment = parse_experiment(TEXT, source="x", overrides=overrides)
    assert experiment.database.settings == {"pg_stat_statements.track": "all"}
    assert experiment.target.env == {"A_B": "1"}


def test_a_setting_may_be_varied() -> None:
    overrides = ["database.settings.work_mem=1MB,4MB", "design.kind=blocked", "pool.pool_size=5"]
    cells = expand(parse_experiment(TEXT, source="x", overrides=overrides))
    assert [cell.database.settings for cell in cells] == [{"work_mem": "1MB"}, {"work_mem": "4MB"}]
    assert [cell.label for cell in cells] == ["work_mem 1MB", "work_mem 4MB"]


def test_a_limit_of_one_endpoint_is_set_by_its_name() -> None:
    overrides = ["slo.GET /v1.0/x.p95_ms=5", 'slo."GET /y".error_rate=0.1', "slo.p50_ms=1"]
    slo = parse_experiment(TEXT, source="x", overrides=overrides).slo
    assert (slo.p50_ms, dict(slo.endpoints)) == (1, {"GET /v1.0/x": Limits(p95_ms=5), "GET /y": Limits(error_rate=0.1)})
