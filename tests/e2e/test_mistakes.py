"""What people get wrong: one clear sentence, the right exit code, no traceback, nothing left running."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

ONE_LAUNCH = (("[1, 5]", "[5]"), ("launches = 2", "launches = 1"))
EXPERIMENT_MISTAKES = [
    pytest.param(
        ("max_overflow = 0", "max_overflaw = 0"), ["bad.toml:9", "max_overflaw", "max_overflow"], id="unknown key"
    ),
    pytest.param(("rate_rps = 40", 'rate_rps = "fast"'), ["bad.toml:13", "rate_rps"], id="wrong type"),
    pytest.param(("[1, 5]", "[]"), ["bad.toml:6", "pool_size", "no values"], id="empty matrix"),
    pytest.param(('"read_heavy"', '"red_heavy"'), ["red_heavy", "read_heavy"], id="unknown scenario"),
    pytest.param(("[1, 5]", "[1, 500]"), ["500", "100"], id="more connections than the server has"),
    pytest.param(("schema_version = 1", "schema_version = 7"), ["schema_version", "7"], id="other version"),
    pytest.param(('name = "small"', 'name = "small'), ["bad.toml:2"], id="not TOML"),
]


@pytest.mark.parametrize(("change", "fragments"), EXPERIMENT_MISTAKES)
def test_mistakes_in_the_file(
    poolbench, small: Callable[..., str], change: tuple[str, str], fragments: list[str]
) -> None:
    done = poolbench("run", poolbench.write("bad.toml", small(change)))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for fragment in fragments:
        assert fragment in done.stderr
    assert not (poolbench.cwd / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (["run", "quickstar.toml"], 2, "quickstart"),
        (["run", "--set", "pool.pool_sise=5"], 2, "pool_size"),
        (["run", "--set", "nonsense"], 2, "nonsense"),
        (["report", "nowhere"], 2, "run.json"),
        (["report"], 2, "There is no run"),
        (["run", "--resume", "nowhere"], 2, "run.json"),
        (["frobnicate"], 2, "frobnicate"),
        (["run", "--events", "nowhere/events.ndjson"], 2, "events file nowhere/events.ndjson cannot be written"),
    ],
)
def test_mistakes_on_the_command_line(poolbench, arguments: list[str], code: int, fragment: str) -> None:
    done = poolbench(*arguments)
    assert done.returncode == code, done.stderr
    assert fragment in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(poolbench.cwd.glob("results/*")), "nothing was measured, nothing is kept"


def test_results_folder_that_is_a_file(poolbench, small: Callable[..., str]) -> None:
    poolbench.write("taken", "")
    done = poolbench("run", poolbench.write("small.toml", small()), "--results", "taken")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


@pytest.mark.postgres
def test_target_that_never_becomes_healthy(poolbench, small: Callable[..., str]) -> None:
    poolbench.write("broken_app.py", "print('warming up the flux')\nraise RuntimeError('no flux capacitor')\n")
    text = small(("[load]", '[target]\napp = "broken_app:app"\n\n[load]'), *ONE_LAUNCH)
    done = poolbench("run", poolbench.write("broken.toml", text))
    assert done.returncode == 5, done.stderr
    assert "no flux capacitor" in done.stderr
    assert "harness/cli/" not in done.stderr
    (log,) = {word.rstrip(".") for word in done.stderr.split() if word.rstrip(".").endswith(".log")}
    assert "warming up the flux" in Path(log).read_text()
    assert poolbench("report").returncode == 2


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("app", "code", "fragments"),
    [
        ("shopp.main:app", 2, ["shopp.main:app cannot be imported", "No module named 'shopp'", "[target] app"]),
        ("no_health:app", 5, ["answers 404 for /health", "[target] health_path"]),
    ],
)
def test_app_that_cannot_be_used(
    poolbench, small: Callable[..., str], app: str, code: int, fragments: list[str]
) -> None:
    poolbench.write("no_health.py", "from fastapi import FastAPI\napp = FastAPI()\n")
    text = small(("[load]", f'[target]\napp = "{app}"\n\n[load]'), *ONE_LAUNCH)
    done = poolbench("run", poolbench.write("app.toml", text))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for fragment in fragments:
        assert fragment in done.stderr


@pytest.mark.postgres
def test_port_that_is_taken(poolbench, small: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = small(("[load]", f"[target]\nport = {port}\n\n[load]"), *ONE_LAUNCH)
        done = poolbench("run", poolbench.write("port.toml", text))
    assert done.returncode == 5, done.stderr
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.postgres
def test_scenario_that_cannot_be_used(poolbench, small: Callable[..., str]) -> None:
    """Why it cannot, and what else can be wrong with one: tests/integration/generator/test_generator_failures.py."""
    poolbench.write("mine.py", "import nonexistent_module\n")
    done = poolbench("run", poolbench.write("mine.toml", small(('"read_heavy"', '"mine.py"'), *ONE_LAUNCH)))
    assert done.returncode == 2, done.stderr
    assert "nonexistent_module" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.postgres
def test_setting_that_postgres_refuses(poolbench, small: Callable[..., str]) -> None:
    text = small(("rows = 500", 'rows = 500\nsettings = {shared_bufers = "1MB"}'))
    done = poolbench("run", poolbench.write("setting.toml", text))
    assert done.returncode == 2, done.stderr
    assert "shared_bufers" in done.stderr


def test_init_writes_a_file_that_plan_accepts(poolbench) -> None:
    assert poolbench("init", "mine").returncode == 0
    planned = poolbench("plan", "mine.toml")
    assert planned.returncode == 0, planned.stderr
    assert "pool_size 20" in planned.stdout
    again = poolbench("init", "mine")
    assert again.returncode == 2
    assert "--force" in again.stderr
    text = Path(poolbench.cwd / "mine.toml").read_text()
    assert "# pool_timeout_s = 30.0  # how long a request waits for a connection" in text
