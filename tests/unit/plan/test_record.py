"""What a run may write down of an experiment: everything but its secrets, which have to be given again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.codec import decode, encode
from harness.domain.experiment import Experiment
from harness.domain.secrets import looks_secret, masked
from harness.errors import UsageError
from harness.plan import cell_without_secrets, expand, load_experiment, parse_experiment, with_secrets, without_secrets

HEAD = 'schema_version = 1\nname = "x"\n'
FULL = """\
schema_version = 1
name = "full"
question = "why?"
[matrix]
load.users = [4, 8]
[target]
env = { A = "b" }
url = "http://me:hunter2@host/?token=hunter2&x=1"
mine = true
[database]
provider = "url"
url = "postgresql://me:hunter2@host:5432/db?password=hunter2"
prepare = ["psql", "postgresql://me:hunter2@host/db", "PGPASSWORD='hunter2 and more'"]
settings = { work_mem = "4MB", max_connections = 50, jit = false, primary_conninfo = "host=h password = hunter2" }
[load]
model = "closed"
users = 4
arguments = { currency = "EUR", api-token = "hunter2", pages = ["a", "b"], deep = true }
tags = ["browse"]
user_classes = ["Customer"]
[slo]
p95_ms = 50
[design]
kind = "blocked"
"""


def test_a_round_trip_through_run_json_changes_nothing_that_is_public() -> None:
    public = without_secrets(parse_experiment(FULL, source="x"))
    restored = decode(Experiment, encode(public))
    assert restored == public == without_secrets(restored)
    assert expand(restored) == expand(public)


def test_of_a_scenarios_arguments_what_looks_secret_is_masked_and_has_to_be_given_again() -> None:
    given = parse_experiment(FULL, source="x")
    public = without_secrets(given)
    assert public.load.arguments == {"currency": "EUR", "api-token": "***", "pages": ("a", "b"), "deep": True}
    (cell, *_) = expand(given)
    assert cell_without_secrets(cell).load.arguments["api-token"] == "***"
    varied = FULL.replace("load.users = [4, 8]", 'load.arguments.api-token = ["hunter2", "hunter3"]')
    labels = [cell.label for cell in expand(parse_experiment(varied, source="x"))]
    assert labels == ["api-token ***1", "api-token ***2"]


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("postgresql://me:hunter2@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:hun@ter2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:hun/t#e?r2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:hunter2@host/db", "postgresql://:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?host=h&password=hunter2&user=u", "postgresql:///db?host=h&password=***&user=u"),
        ("https://hunter2@host/", "https://***@host/"),
        ("http://127.0.0.1:8000/heroes", "http://127.0.0.1:8000/heroes"),
        ("host=h password = 'hunter2 x' user=u", "host=h password = *** user=u"),
    ],
)
def test_passwords_in_text_are_masked(url: str, public: str) -> None:
    assert masked(url) == public
    assert masked(public) == public


@given(
    password=st.text(st.characters(codec="ascii", exclude_characters=" \t\n\r\x0b\x0c", min_codepoint=33), min_size=1),
)
def test_any_password_is_masked(password: str) -> None:
    assert masked(f"postgresql://user:{password}@host:5432/db") == "postgresql://user:***@host:5432/db"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        *((name, "x", True) for name in ("SESSION_KEY", "DB_PWD", "SMTP_PASS", "AWS_CREDENTIAL", "auth", "PRIVATE")),
        ("A", "eyJhbGciOi.eyJzdWIi.sig", True),
        ("A", "-----BEGIN PRIVATE KEY-----", True),
        ("A", "0123456789abcdef0123456789abcdef", True),
        ("A", "aB3/dE5+gH7jK9lM1nO3", True),
        ("A", "Bearer abc", True),
        ("WEB_CONCURRENCY", "4", False),
        ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/libJemalloc.so.2", False),
        ("A", "uvloop", False),
    ],
)
def test_what_looks_secret(name: str, value: str, secret: bool) -> None:
    assert looks_secret(name, value) is secret


SECRETS_BY_PLACE = {
    "a table that varies": 'target.env = [{API_TOKEN = "hunter2", W = "1"}, {API_TOKEN = "hunter22", W = "2"}]',
    "a variable that varies": 'target.env.SESSION_KEY = ["hunter2", "hunter22"]',
    "a value that looks secret": 'target.env.A = ["Bearer hunter2", "Bearer hunter22"]',
    "a password in a variable": 'target.env.A = ["x://u:hunter2@h", "x://u:hunter22@h"]',
    "the same address, other credentials": 'target.url = ["http://a:hunter2@[::1]/", "http://a:hunter22@[::1]/"]',
    "a setting": 'database.settings.primary_conninfo = ["password=hunter2", "password=hunter22"]',
    "a command": 'database.prepare = [["a", "x://u:hunter2@h"], ["a", "x://u:hunter22@h"]]',
}


@pytest.mark.parametrize("factor", SECRETS_BY_PLACE.values(), ids=SECRETS_BY_PLACE)
def test_secret_factors_are_nowhere_and_cells_stay_apart(factor: str) -> None:
    text = f"{HEAD}[matrix]\n{factor}\n[load]\nrate_rps = 1\n[design]\nkind = 'blocked'\n"
    experiment = parse_experiment(text, source="x")
    cells = expand(experiment)
    public = without_secrets(experiment)
    written = [encode(public), *map(encode, expand(public)), *(encode(cell_without_secrets(cell)) for cell in cells)]
    assert not [text for text in written if "hunter2" in text]
    assert "hunter2" not in "".join(cell.label + str(cell.factors) for cell in cells)
    assert len({cell.label for cell in cells}) == 2
    assert [(c.id, c.label, c.factors) for c in expand(public)] == [(c.id, c.label, c.factors) for c in cells]
    assert "hunter22" in encode(cells[1])  # what is measured has it


def test_no_secret_is_left_anywhere() -> None:
    text = FULL.replace('A = "b"', 'DB_PASSWORD = "hunter2", PLAIN = "hunter2", DSN = "x://u:hunter2@h", A = "b"')
    experiment = parse_experiment(text, source="x")
    public = without_secrets(experiment)
    assert "hunter2" not in encode(public)
    assert set(public.target.env.values()) == {"***"}
    assert all("hunter2" not in encode(cell_without_secrets(cell)) for cell in expand(experiment))


def test_what_varies_in_the_environment_is_shown_unless_it_looks_secret() -> None:
    text = f'{HEAD}[matrix]\ntarget.env.LOOP = ["uvloop", "asyncio"]\n[target]\nenv.A = "b"\n[load]\nrate_rps = 1\n'
    experiment = parse_experiment(text, source="x")
    assert without_secrets(experiment).matrix == {"target.env.LOOP": ("uvloop", "asyncio")}
    cells = expand(experiment)
    assert [cell.label for cell in cells] == ["LOOP uvloop", "LOOP asyncio"]
    assert cell_without_secrets(cells[0]).target.env == {"A": "***", "LOOP": "uvloop"}


NEEDED_AGAIN = {
    "target.url": "[target]\nurl = 'http://alice:hunter2@127.0.0.1:1'\n",
    "target.env": "[target]\nenv.PLAIN = '1'\n",
    "database.url": "[database]\nprovider = 'url'\nurl = 'postgresql://u:hunter2@h/d'\n",
    "database.prepare": "[database]\nprepare = ['x', 'x://u:hunter2@h']\n",
    "matrix.target.url": "[matrix]\ntarget.url = ['http://a:hunter2@127.0.0.1:1', 'http://b:x@127.0.0.1:1']\n",
    "matrix.target.env.TOKEN": "[matrix]\ntarget.env.TOKEN = ['hunter2', 'x']\n",
}


@pytest.mark.parametrize(("key", "section"), NEEDED_AGAIN.items())
def test_what_is_masked_is_refused_unless_it_is_given_again(
    key: str, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POOLBENCH_DATABASE_URL", raising=False)
    text = HEAD + section + "[load]\nrate_rps = 1\n[design]\nkind = 'blocked'\n"
    experiment = parse_experiment(text, source="x")
    stored = without_secrets(experiment)
    with pytest.raises(UsageError, match=rf"secret: {key}\..*run FILE --resume RUN"):
        with_secrets(stored)
    assert with_secrets(stored, experiment) == experiment
    other = parse_experiment(text.replace("rate_rps = 1", "rate_rps = 2"), source="x")
    with pytest.raises(UsageError, match=r"not the experiment .*: load\.rate_rps differ"):
        with_secrets(stored, other)


def test_the_databases_url_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + "[load]\nrate_rps = 1\n" + NEEDED_AGAIN["database.url"]
    stored = without_secrets(parse_experiment(text, source="x"))
    monkeypatch.setenv("POOLBENCH_DATABASE_URL", "postgresql://u:new@h/d")
    assert with_secrets(stored).database.url == "postgresql://u:new@h/d"
    monkeypatch.setenv("POOLBENCH_DATABASE_URL", "postgresql://u:new@elsewhere/d")
    with pytest.raises(UsageError, match=r"another server than the run was started on: postgresql://u:\*\*\*@h/d"):
        with_secrets(stored)


def test_what_holds_no_secret_needs_nothing() -> None:
    experiment = load_experiment(None)
    assert with_secrets(without_secrets(experiment)) == experiment
    assert json.loads(encode(without_secrets(experiment)))["name"] == experiment.name
