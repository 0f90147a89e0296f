"""The schema that editors are given: committed as it is made, and of one mind with what validates the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from harness.domain.experiment import Limits
from harness.domain.rate import rate_share
from harness.errors import UsageError
from harness.plan import parse_experiment
from harness.plan.json_schema import SCHEMA_FILE, json_schema, json_schema_text
from harness.plan.lines import Source
from harness.plan.rules import check_name
from harness.plan.schema import known_keys, set_key, validate, variable_keys
from harness.scaffold import experiment_text

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
BEHAVIOUR = EXPERIMENTS / "claims" / "behaviour.toml"
"""lists tests, and is no experiment"""
SCHEMA = json_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
SINGLE_KEYS = [key for key in known_keys() if key not in {"schema_version", "name", "load.rate", "matrix"}]
ANYTHING = (-2, 0, 0.5, 1, 10**12, True, "", "x", [], [1], ["x"], {}, {"expect": 1}, {"x": "y"}, {"x": [1]})


def refusals(raw: Any) -> list[str]:
    return [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in VALIDATOR.iter_errors(raw)]


def described(key: str) -> dict[str, Any]:
    """What the schema says of a key."""
    found = SCHEMA
    for name in key.split("."):
        kind = found.get("$ref", "").rpartition("/")[2]
        found = (SCHEMA["$defs"][kind] if kind else found)["properties"][name]
    return found


def about_its_limits(key: str) -> Iterator[float]:
    """The first and last values that fit, and those beyond, as the schema has them."""
    for limit in ("minimum", "maximum", "exclusiveMinimum"):
        if (value := described(key).get(limit)) is not None:
            yield from (value - 1, value, value + 1)


def fits(key: str, value: Any) -> bool:
    """Whether the classes that a file is validated into take it."""
    raw: dict[str, Any] = {"schema_version": 1, "name": "x"}
    set_key(raw, key, value)
    try:
        validate(raw, Source(name="x"))
    except UsageError:
        return False
    return True


def test_the_shipped_file_is_the_schema() -> None:
    shipped = (EXPERIMENTS / SCHEMA_FILE).read_text()
    assert shipped == json_schema_text(), f"write it anew: poolbench schema > experiments/{SCHEMA_FILE}"


@pytest.mark.parametrize("path", sorted(set(EXPERIMENTS.rglob("[!_]*.toml")) - {BEHAVIOUR}), ids=lambda path: path.stem)
def test_a_shipped_experiment_names_the_schema_and_fits_it(path: Path) -> None:
    text = path.read_text()
    named = re.match(r"#:schema (\S+)\n", text)
    assert named is not None
    assert (path.parent / named.group(1)).samefile(EXPERIMENTS / SCHEMA_FILE)
    assert refusals(tomllib.loads(text)) == []


def test_what_init_writes_fits_also_with_every_default_written_out() -> None:
    text = experiment_text("mine")
    assert text.startswith(f"#:schema ./{SCHEMA_FILE}\n")
    spelled_out, count = re.subn(r'^# (\w+ = (?!"")\S)', r"\1", text, flags=re.MULTILINE)
    assert count > 40
    assert refusals(tomllib.loads(text)) == refusals(tomllib.loads(spelled_out)) == []


@pytest.mark.parametrize("key", SINGLE_KEYS)
def test_schema_and_classes_take_the_same_values(key: str) -> None:
    values = [*ANYTHING, *about_its_limits(key), *described(key).get("enum", ())]
    for value in values:
        raw: dict[str, Any] = {"schema_version": 1, "name": "x"}
        set_key(raw, key, value)
        assert VALIDATOR.is_valid(raw) == fits(key, value), f"{key} = {value!r}"
        if key in variable_keys():
            varied: dict[str, Any] = {"schema_version": 1, "name": "x", "matrix": {}}
            set_key(varied["matrix"], key, [value])
            assert VALIDATOR.is_valid(varied) == fits(key, value), f"matrix.{key} = [{value!r}]"


def test_every_key_is_explained() -> None:
    assert [key for key in known_keys() if not described(key).get("description")] == []


@pytest.mark.parametrize("rate", ["60%", " 60 % ", "12.5%", "60", "0.6", "sixty%", "%", "-5%", "60%%", ""])
def test_a_share_is_one_for_both(rate: str) -> None:
    raw = {"schema_version": 1, "name": "x", "load": {"rate": rate}}
    assert VALIDATOR.is_valid(raw) == (rate_share(rate) is not None)


@pytest.mark.parametrize("name", ["x", "a-b_1", "", "../x", "-x", "a b", "é", "x" * 60, "x" * 61, "x\n"])
def test_a_name_is_one_for_both(name: str) -> None:
    try:
        check_name(name, "x.toml")
        good = True
    except UsageError:
        good = False
    assert VALIDATOR.is_valid({"schema_version": 1, "name": name}) == good


@pytest.mark.parametrize(
    "table",
    [
        'pool.pool_size = [5, 10]\ntarget.driver = ["asyncpg", "psycopg2"]\n',
        '"pool.pool_size" = [5, 10]\n',
        "[matrix.pool]\npool_size = [5, 10]\n",
        'database.settings.work_mem = ["1MB", "4MB"]\n',
        'database.settings.pg_stat_statements.track = ["all", "none"]\n',
        '"database.settings.pg_stat_statements.track" = ["all", "none"]\n',
        'database.settings = [{ jit = false }, { jit = true, work_mem = "4MB" }]\n',
        'target.env.LD_PRELOAD = ["", "/usr/lib/libjemalloc.so.2"]\n',
        "target.cpus = [[0], [0, 1]]\n",
        "",
    ],
)
def test_however_a_matrix_is_spelled_it_fits(table: str) -> None:
    text = f'schema_version = 1\nname = "x"\n[load]\nrate_rps = 10\n[matrix]\n{table}'
    parse_experiment(text, source="x.toml")
    assert refusals(tomllib.loads(text)) == []


def test_a_table_within_slo_is_an_endpoint() -> None:
    text = 'schema_version = 1\nname = "x"\n[load]\nrate_rps = 10\n[slo]\np95_ms = 300\n[slo."GET /v1.0/x"]\np50_ms = '
    slo = parse_experiment(text + "5", source="x.toml").slo
    assert (slo.p95_ms, dict(slo.endpoints)) == (300, {"GET /v1.0/x": Limits(p50_ms=5)})
    assert refusals(tomllib.loads(text + "5")) == []
    assert refusals(tomllib.loads(text + "0"))


def test_a_setting_with_dots_is_one_setting() -> None:
    text = 'schema_version = 1\nname = "x"\n[load]\nrate_rps = 10\n[database.settings]\nauto_explain.log_analyze = '
    parse_experiment(text + "true", source="x.toml")
    assert refusals(tomllib.loads(text + "true")) == []
    assert refusals(tomllib.loads(text + "[true]"))


@pytest.mark.parametrize(
    "table", ['"pool.pool_sise" = [5]', '"database.url" = ["x"]', '"load.model" = ["open"]', "design.launches = [3, 5]"]
)
def test_what_cannot_vary_is_marked(table: str) -> None:
    assert refusals(tomllib.loads(f'schema_version = 1\nname = "x"\n[matrix]\n{table}\n'))
