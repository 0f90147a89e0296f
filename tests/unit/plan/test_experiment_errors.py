"""Each mistake in an experiment is one sentence with the file, the line, the key, and a next step."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema_rs
import pytest

from harness.errors import UsageError
from harness.plan import load_experiment, parse_experiment
from harness.plan.json_schema import json_schema

HEAD = 'schema_version = 1\nname = "x"\n'
RATE = "[load]\nrate_rps = 100\n"
EDITOR = jsonschema_rs.validator_for(json_schema())


def refusal(text: str, *overrides: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_experiment(text, source="x.toml", overrides=overrides)
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    assert "\n" not in caught.value.cause
    return caught.value


KEYS_AND_VALUES = {
    "unknown key": (
        HEAD + RATE + "[pool]\npool_sise = 5\n",
        "x.toml:6: unknown key 'pool.pool_sise'.",
        "Did you mean 'pool.pool_size'?",
    ),
    "unknown key at the top": (
        HEAD + "pool_size = 5\n" + RATE,
        "x.toml:3: unknown key 'pool_size'.",
        "'pool.pool_size'",
    ),
    "unknown section": (HEAD + RATE + "[databse]\n", "x.toml:5: unknown key 'databse'.", "database"),
    "nothing like it": (HEAD + RATE + "[pool]\nzzz = 5\n", "x.toml:6: unknown key 'pool.zzz'.", "pool.pool_recycle_s"),
    "text for a number": (
        HEAD + RATE + '[pool]\npool_size = "5"\n',
        'x.toml:6: pool.pool_size must be a whole number, not "5".',
        "pool.pool_size",
    ),
    "fraction": (HEAD + RATE + "[pool]\npool_size = 5.5\n", "must be a whole number, not 5.5.", "Change"),
    "boolean for a number": (HEAD + RATE + "[pool]\npool_size = true\n", "must be a whole number, not true.", "Change"),
    "number for a boolean": (
        HEAD + RATE + "[session]\nexpire_on_commit = 1\n",
        "must be true or false, not 1.",
        "Change",
    ),
    "number for text": (
        HEAD + "[load]\nrate_rps = 1\nscenario = 7\n",
        "x.toml:5: load.scenario must be text in quotes",
        "C",
    ),
    "below the range": (
        HEAD + RATE + "[pool]\npool_size = 0\n",
        "x.toml:6: pool.pool_size must be at least 1, not 0.",
        "C",
    ),
    "at the open end": (
        HEAD + "[load]\nrate_rps = 0\n",
        "x.toml:4: load.rate_rps must be more than 0, not 0.",
        "Change",
    ),
    "above the range": (HEAD + RATE + "[target]\nport = 70000\n", "target.port must be at most 65535, not 70000.", "C"),
    "not one of": (
        HEAD + RATE + '[target]\ndriver = "pg8000"\n',
        "x.toml:6: target.driver must be one of 'asyncpg', 'psycopg', 'psycopg_sync', 'psycopg_blocking' or",
        "Change",
    ),
    "list item": (HEAD + RATE + "[target]\ncpus = [0, -1]\n", "x.toml:6: target.cpus must be at least 0, not -1.", "C"),
    "value for a table": (HEAD + "pool = 5\n" + RATE, "x.toml:3: pool must be a table, not 5.", "Change pool."),
    "list in settings": (
        HEAD + RATE + "[database.settings]\nwork_mem = [1]\n",
        "x.toml:6: database.settings.work_mem must be text, a number, true or false, not [1].",
        "Change",
    ),
    "a command as one text": (
        HEAD + RATE + '[database]\nprepare = "alembic upgrade head"\n',
        'x.toml:6: database.prepare must be a list of words, or a list of such lists, not "alembic upgrade head".',
        "Change",
    ),
    "a word beside a command": (
        HEAD + RATE + '[database]\nprepare = ["a", ["b"]]\n',
        "database.prepare must be a list of words, or a list of such lists, not ",
        "Change",
    ),
    "a command without a word": (HEAD + RATE + "[database]\nprepare = [[]]\n", "a list of words, or", "Change"),
    "infinite": (HEAD + "[load]\nrate_rps = inf\n", "x.toml:4: load.rate_rps must be finite, not inf.", "plain number"),
    "date": (HEAD + RATE + "[target]\napp = 2026-01-01\n", "x.toml:6: target.app cannot be a date", "quotes"),
    "no name": ("schema_version = 1\n" + RATE, "x.toml: name is missing.", "Add name"),
    "bad name": (
        'schema_version = 1\nname = "../x"\n' + RATE,
        "x.toml:2: name '../x' cannot name a folder.",
        "letters",
    ),
    "no version": ('name = "x"\n' + RATE, "x.toml: schema_version is missing.", "schema_version = 1"),
    "another version": ('schema_version = 2\nname = "x"\n', "x.toml:1: schema_version must be 1, not 2.", "poolbench"),
    "version true": (
        'schema_version = true\nname = "x"\n',
        "x.toml:1: schema_version must be 1, not True.",
        "poolbench",
    ),
    "TOML syntax": (HEAD + "[pool\n", "x.toml:3: not valid TOML: expected ']'", "Correct this line."),
    "TOML cut off": (HEAD + "[load]\nrate_rps = ", "x.toml:4: not valid TOML: invalid value", "Correct"),
    "TOML twice": (HEAD + 'name = "y"\n', "x.toml:3: not valid TOML: cannot overwrite a value", "Correct"),
}

SLOS = {
    "unknown key of an endpoint": (
        HEAD + RATE + '[slo."GET /v1.0/x"]\np95ms = 5\n',
        "x.toml:6: unknown key 'slo.GET /v1.0/x.p95ms'.",
        "Did you mean 'slo.GET /v1.0/x.p95_ms'?",
    ),
    "an endpoint's limit": (
        HEAD + RATE + '[slo."GET /x"]\np95_ms = 0\n',
        "x.toml:6: slo.GET /x.p95_ms must be more than 0, not 0.",
        "Change",
    ),
    "an endpoint's date": (
        HEAD + RATE + '[slo."GET /x"]\np95_ms = 2026-01-01\n',
        "x.toml:6: slo.GET /x.p95_ms cannot be a date or a time.",
        "quotes",
    ),
    "unknown key beside endpoints": (HEAD + RATE + "[slo]\np95ms = 5\n", "unknown key 'slo.p95ms'.", "'slo.p95_ms'"),
    "a limit as a table": (HEAD + RATE + "[slo.p95_ms]\nx = 5\n", "slo.p95_ms must be a number", "Change"),
    "everything by its star": (
        HEAD + RATE + '[slo."*"]\np95_ms = 5\n',
        "x.toml:5: what is promised of everything is [slo] itself.",
        'Write its keys below [slo], not below [slo."*"].',
    ),
    "what endpoints are gathered under": (HEAD + RATE + "[slo]\nendpoints = 5\n", "unknown key 'slo.endpoints'.", "T"),
}
PROBE_USERS = {
    "nothing asked": (
        HEAD + RATE + "[probe_user]\nrate_rps = 2\n",
        "x.toml:5: probe_user.request is missing: nothing would be asked.",
        'request = "GET /ready"',
    ),
    "no method": (
        HEAD + RATE + "[probe_user]\nrequest = '/ready'\n",
        'x.toml:6: probe_user.request must be a method and a path, not "/ready".',
        '"GET /ready"',
    ),
    "a whole address": (
        HEAD + RATE + "[probe_user]\nrequest = 'GET http://a/'\n",
        "a method and a path",
        '"GET /ready"',
    ),
    "too seldom": (
        HEAD + RATE + "[probe_user]\nrequest = 'GET /ready'\nrate_rps = 0.05\n",
        "x.toml:7: at 0.05 a second the probe user may ask nothing in the 10 s that are measured.",
        "load.measure_s to at least 20",
    ),
    "its limit": (
        HEAD + RATE + "[probe_user]\nrequest = 'GET /ready'\nslo.p95_ms = 0\n",
        "x.toml:7: probe_user.slo.p95_ms must be more than 0, not 0.",
        "Change",
    ),
    "its limit's name": (
        HEAD + RATE + "[probe_user]\nrequest = 'GET /ready'\nslo.p95 = 9\n",
        "x.toml:7: unknown key 'probe_user.slo.p95'.",
        "Did you mean 'probe_user.slo.p95_ms'?",
    ),
    "its rate": (HEAD + RATE + "[probe_user]\nrequest = 'GET /'\nrate_rps = 0\n", "must be more than 0, not 0.", "C"),
}
MATRIX = {
    "empty list": (
        HEAD + RATE + "[matrix]\npool.pool_size = []\n",
        "x.toml:6: matrix key pool.pool_size has no values.",
        "at least one",
    ),
    "single value": (
        HEAD + RATE + "[matrix]\npool.pool_size = 5\n",
        "x.toml:6: matrix key pool.pool_size must be a list of values",
        "pool.pool_size = [...]",
    ),
    "no table": (HEAD + "matrix = 5\n" + RATE, "x.toml:3: matrix must be a table.", "[matrix]"),
    "unknown key": (
        HEAD + RATE + "[matrix]\npool.pool_sise = [5]\n",
        "x.toml:6: unknown key 'pool.pool_sise' in [matrix].",
        "'pool.pool_size'",
    ),
    "without section": (HEAD + RATE + "[matrix]\ndriver = ['asyncpg']\n", "unknown key 'driver'", "'target.driver'"),
    "section": (
        HEAD + RATE + "[matrix]\npool = [{ pool_size = 5 }]\n",
        "x.toml:6: pool cannot be varied",
        "Take it out",
    ),
    "name": (
        HEAD + RATE + "[matrix]\nname = ['a']\n",
        "x.toml:6: name cannot be varied; only single keys of",
        "Take it",
    ),
    "design": (HEAD + RATE + "[matrix]\ndesign.launches = [3, 5]\n", "x.toml:6: design.launches cannot be varied", "T"),
    "model": (HEAD + RATE + "[matrix]\nload.model = ['open']\n", "never compared", "Run one experiment for each."),
    "share": (HEAD + "[matrix]\nload.rate = ['40%', '60%']\n", "load.rate cannot be varied", "load.rate_rps instead"),
    "value": (
        HEAD + RATE + "[matrix]\ntarget.driver = ['asyncpg']\npool.pool_size = [\n  5,\n  0,\n]\n",
        "x.toml:7: pool.pool_size must be at least 1, not 0.",
        "Change",
    ),
    "type": (
        HEAD + RATE + "[matrix]\npool.pool_size = [5, '10']\n",
        'x.toml:6: pool.pool_size must be a whole number, not "10"',
        "",
    ),
    "twice the same": (
        HEAD + RATE + "[matrix]\nsession.expire_on_commit = [true]\npool.pool_size = [5, 10, 5]\n",
        "x.toml:7: cells c1 and c3 (pool_size 5) are the same configuration.",
        "Give each value of pool.pool_size once.",
    ),
    "too many": (
        HEAD + RATE + f"[matrix]\npool.pool_size = {list(range(1, 41))}\npool.max_overflow = {list(range(40))}\n",
        "x.toml:5: the matrix has 40 x 40 = 1600 cells, the most is 1000.",
        "fewer",
    ),
}

LOADS = {
    "open without a rate": (
        HEAD + "[load]\nscenario = 'mixed'\n",
        "x.toml:3: an open load needs load.rate or load.rate_rps.",
        "300",
    ),
    "too short": (
        HEAD + "[load]\nrate_rps = 0.1\nmeasure_s = 2\n",
        "x.toml:5: 2 s at 0.1 arrivals a second is too short for one arrival.",
        "load.measure_s to at least 100",
    ),
    "nothing at all": (HEAD, "x.toml: an open load needs load.rate or load.rate_rps.", "300"),
    "no [load] but a matrix": (HEAD + "[matrix]\npool.pool_size = [5]\n", "x.toml: an open load needs", "300"),
    "both rates": (
        HEAD + "[load]\nrate = '60%'\nrate_rps = 5\n",
        "x.toml:4: load.rate and load.rate_rps are both given.",
        "Keep one",
    ),
    "both, one varied": (
        HEAD + "[matrix]\nload.rate_rps = [5, 6]\n[load]\nrate = '60%'\n",
        "x.toml:6: load.rate and",
        "Keep one",
    ),
    "open with users": (
        HEAD + RATE + "users = 5\n",
        "x.toml:5: load.users belongs to the closed model",
        'load.model = "closed"',
    ),
    "closed without users": (HEAD + "[load]\nmodel = 'closed'\n", "x.toml:4: a closed load needs load.users.", "16"),
    "closed with a rate": (
        HEAD + "[load]\nmodel = 'closed'\nusers = 5\nrate_rps = 5\n",
        "x.toml:6: load.rate_rps belongs to the open model",
        "Take load.rate_rps out",
    ),
    "closed with a share": (
        HEAD + "[load]\nmodel = 'closed'\nusers = 5\nrate = '5%'\n",
        "x.toml:6: load.rate belongs",
        "out",
    ),
    **{
        f"share {share}": (
            HEAD + f"[load]\nrate = '{share}'\n",
            f'x.toml:4: load.rate must be a share such as "60%", not "{share}".',
            "percentage",
        )
        for share in ("60", "0%", "-5%", "1001%", "sixty%", "0.6", "%")
    },
}

TOGETHER = {
    "url missing": (
        HEAD + RATE + "[database]\nprovider = 'url'\n",
        'x.toml:6: database.provider = "url" needs database.url.',
        "postgresql://",
    ),
    "url not used": (
        HEAD + RATE + "[database]\nurl = 'postgresql://h/d'\n",
        "x.toml:6: database.url is not used",
        "provider",
    ),
    "ceiling": (
        HEAD + RATE + "[pool]\npool_size = 40\n[target]\nworkers = 2\n",
        "2 workers x (40 pool_size + 10 max_overflow) = 100 connections, but max_connections = 100 leaves",
        "105 or more",
    ),
    "ceiling of a given server": (
        HEAD + RATE + "[pool]\npool_size = 10\n[database.settings]\nmax_connections = 20\n",
        "1 worker x (10 pool_size + 10 max_overflow) = 20 connections, but max_connections = 20 leaves 15",
        "25 or more",
    ),
    "max_connections is no number": (
        HEAD + RATE + "[database.settings]\nmax_connections = 'many'\n",
        'x.toml:6: max_connections must be a whole number, not "many".',
        "Change",
    ),
    "interleaved ceilings": (
        HEAD + RATE + "[pool]\nmax_overflow = 0\n[matrix]\npool.pool_size = [20, 80]\n",
        "Interleaved, 2 cells hot together may open 1 x 20 + 1 x 80 = 100 connections",
        'Set design.kind = "blocked"',
    ),
    "interleaved databases": (
        HEAD + RATE + "[matrix]\ndatabase.rows = [10, 20]\n[design]\nkind = 'interleaved'\n",
        "x.toml:8: the cells cannot take turns (interleaved): they need different servers, c1 and c2 differ in",
        'design.kind = "blocked"',
    ),
    "interleaved settings": (
        HEAD + RATE + "[matrix]\ndatabase.settings.work_mem = ['1MB', '4MB']\n[design]\nkind = 'interleaved'\n",
        "differ in database.settings.",
        'design.kind = "blocked"',
    ),
    "interleaved url": (
        HEAD + RATE + "[target]\nurl = 'http://127.0.0.1:1'\n[design]\nkind = 'interleaved'\n",
        "x.toml:8: the cells cannot take turns (interleaved): target.url runs already and is not started afresh.",
        'design.kind = "blocked"',
    ),
    "running target": (
        HEAD
        + RATE
        + "[target]\nurl = 'http://localhost'\n[design]\nkind = 'blocked'\n[matrix]\npool.pool_size = [5, 6]\n",
        "x.toml:10: pool.pool_size cannot be varied with target.url, since nothing is deployed.",
        "target.url",
    ),
}


TABLES = {
    "key": KEYS_AND_VALUES,
    "slo": SLOS,
    "probe user": PROBE_USERS,
    "matrix": MATRIX,
    "load": LOADS,
    "together": TOGETHER,
}


@pytest.mark.parametrize(
    ("text", "cause", "next_step"),
    [pytest.param(*row, id=f"{table}: {name}") for table, rows in TABLES.items() for name, row in rows.items()],
)
def test_the_sentence_says_what_and_where_and_what_next(text: str, cause: str, next_step: str) -> None:
    error = refusal(text)
    assert cause in error.cause
    assert next_step in error.next_step


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=name)
        for name, (text, *_) in {**KEYS_AND_VALUES, **SLOS, **MATRIX}.items()
        if name not in {"infinite", "date", "too many"} and not name.startswith(("TOML", "everything by"))
    ],
)
def test_an_editor_marks_it_before_that(text: str) -> None:
    """Only JSON knows neither dates nor infinity, and a schema does not multiply."""
    assert not EDITOR.is_valid(tomllib.loads(text))


@pytest.mark.parametrize(
    ("overrides", "cause"),
    [
        (["pool.pool_sise=5"], "--set pool.pool_sise: unknown key 'pool.pool_sise'."),
        (["pool.pool_sise=5,6"], "--set pool.pool_sise: unknown key 'pool.pool_sise' in [matrix]."),
        (["pool.pool_size=0"], "--set pool.pool_size: pool.pool_size must be at least 1, not 0."),
        (["pool.pool_size=5,x"], '--set pool.pool_size: pool.pool_size must be a whole number, not "x".'),
        (["design.launches=3,5"], "--set design.launches: design.launches cannot be varied"),
        (["name.x=5"], "--set name.x: there is no such key"),
        (["pool.pool_size"], "--set 'pool.pool_size' has no value."),
        (["pool.pool_size="], "--set 'pool.pool_size' has no value."),
        (["=5"], "--set '=5' names no key."),
        (["load.rate=60%", "load.rate_rps=5"], "--set load.rate: load.rate and load.rate_rps are both given."),
    ],
)
def test_an_override_is_named_as_the_place(overrides: list[str], cause: str) -> None:
    assert cause in refusal(HEAD + RATE, *overrides).cause


def test_further_mistakes_follow_as_detail() -> None:
    error = refusal(HEAD + RATE + "[pool]\npool_size = 0\nmax_overflow = -1\n")
    assert "pool.pool_size" in error.cause
    assert error.detail == "x.toml:7: pool.max_overflow must be at least 0, not -1."


def test_a_url_is_never_repeated() -> None:
    error = refusal(HEAD + RATE + '[database]\nurl = ["postgresql://u:hunter2@h/d"]\n')
    assert "hunter2" not in str(error) + error.detail
    assert "database.url" in error.cause


def test_a_missing_file_is_answered_with_what_is_shipped() -> None:
    with pytest.raises(UsageError) as caught:
        load_experiment(Path("somewhere/quickstrat.toml"))
    assert caught.value.cause == "The experiment somewhere/quickstrat.toml does not exist."
    assert "drivers" in caught.value.next_step
    assert caught.value.next_step.endswith("Did you mean 'quickstart'?")


def test_a_folder_and_bytes_are_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        load_experiment(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(UsageError, match=r"latin\.toml cannot be read: it is not UTF-8"):
        load_experiment(tmp_path / "latin.toml")
