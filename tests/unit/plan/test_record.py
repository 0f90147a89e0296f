"""dump and restore: what run.json holds is the same experiment, without its secrets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.domain.experiment import Experiment
from harness.errors import UsageError
from harness.plan import dump, expand, load_experiment, parse_experiment, restore, shipped_names
from harness.plan.locate import shipped

FULL = """\
schema_version = 1
name = "full"
question = "why?"
[matrix]
target.cpus = [[0], [0, 1]]
database.settings."pg_stat_statements.track" = ["all", "none"]
[target]
env = { A = "b" }
url = "http://me:hunter2@host/?token=hunter2&x=1"
mine = true
[database]
provider = "url"
url = "postgresql://me:hunter2@host:5432/db?password=hunter2"
settings = { work_mem = "4MB", max_connections = 50, jit = false }
[load]
model = "closed"
users = 4
[slo]
p95_ms = 50
[design]
kind = "blocked"
"""
SECRETLESS = FULL.replace("me:hunter2@", "").replace("hunter2", "").replace('url = "http', '# url = "http')


def test_a_round_trip_through_json_changes_nothing() -> None:
    experiment = parse_experiment(SECRETLESS.replace("password=", ""), source="x")
    restored = restore(json.loads(json.dumps(dump(experiment))))
    assert restored == experiment
    assert expand(restored) == expand(experiment)


@pytest.mark.parametrize("name", ["quickstart", "pool_size", "drivers", "expire_on_commit"])
def test_shipped_experiments_survive(name: str) -> None:
    assert name in shipped_names("experiments")
    experiment = load_experiment(shipped("experiments") / f"{name}.toml")
    assert experiment.name == name
    assert restore(json.loads(json.dumps(dump(experiment)))) == experiment


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://me:hunter2@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:hun@ter2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:hun/t#e?r2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:hunter2@host/db", "postgresql://:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?host=h&password=hunter2&user=u", "postgresql:///db?host=h&password=***&user=u"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, masked: str) -> None:
    text = f'schema_version = 1\nname = "x"\n[database]\nprovider = "url"\nurl = "{url}"\n[load]\nrate_rps = 1\n'
    dumped = dump(parse_experiment(text, source="x"))
    assert dumped["database"]["url"] == masked


def test_no_secret_is_left_anywhere() -> None:
    text = FULL.replace("target.cpus = [[0], [0, 1]]\n", "target.url = ['http://a:hunter2@h', 'http://b:hunter2@h']\n")
    text = text.replace('database.settings."pg_stat_statements.track" = ["all", "none"]\n', "")
    text = text.replace('A = "b"', 'DB_PASSWORD = "hunter2", apikey = "hunter2", DSN = "x://u:hunter2@h", A = "b"')
    dumped = dump(parse_experiment(text, source="x"))
    assert "hunter2" not in json.dumps(dumped)
    assert dumped["target"]["env"]["A"] == "b"


@settings(deadline=None)  # the machine may be busy
@given(
    password=st.text(st.characters(codec="ascii", exclude_characters=" \t\n\r\x0b\x0c", min_codepoint=33), min_size=1),
)
def test_any_password_is_masked(password: str) -> None:
    data = dump(Experiment(schema_version=1, name="x"))
    data["database"]["url"] = f"postgresql://user:{password}@host:5432/db"
    assert dump(restore(data))["database"]["url"] == "postgresql://user:***@host:5432/db"


def test_a_damaged_record_is_refused() -> None:
    data = dump(load_experiment(None))
    data["pool"]["pool_size"] = "five"
    with pytest.raises(UsageError, match=r"run\.json: pool\.pool_size must be a whole number"):
        restore(data)
