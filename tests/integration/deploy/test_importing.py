"""An app that cannot be imported is found before anything else is made ready; what else may go wrong is not judged."""

from __future__ import annotations

import time
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.deploy import TargetStart, importing
from harness.domain.cell import Cell
from harness.errors import UsageError

MakeStart = Callable[..., TargetStart]


def cell_of(start: TargetStart, app: str | None = None) -> Cell:
    cell = start.launch.cell
    return replace(cell, target=replace(cell.target, app=app or cell.target.app))


@pytest.mark.parametrize(
    ("app", "cause"),
    [
        ("no_such_module:app", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json.no_such_part:app", "ModuleNotFoundError: No module named 'json.no_such_part'"),
        ("json:appp", "json has no appp"),
    ],
)
def test_a_wrong_name_is_named(make_start: MakeStart, app: str, cause: str) -> None:
    with pytest.raises(UsageError) as raised, importing(cell_of(make_start(), app)):
        pass
    assert raised.value.cause == f"The app {app} cannot be imported: {cause}."
    assert "[target] app" in raised.value.next_step


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        ("import stripe_but_not_installed", "No module named 'stripe_but_not_installed'"),
        ("def broken(:", "SyntaxError"),
        ("[print('z' * 99) for _ in range(30_000)]; import no_such", "No module named 'no_such'"),
    ],
)
def test_a_module_that_cannot_be_read_shows_where(make_start: MakeStart, head: str, cause: str) -> None:
    start = make_start(head=head)
    with pytest.raises(UsageError, match=cause) as raised, importing(cell_of(start)):
        pass
    assert f"{start.launch.cell.target.app.partition(':')[0]}.py" in raised.value.detail


def test_an_address_without_a_driver_is_the_likely_cause_of_psycopg2(make_start: MakeStart) -> None:
    cell = cell_of(make_start(head="""raise ImportError("No module named 'psycopg2'")"""))
    with pytest.raises(UsageError) as raised, importing(cell):
        pass
    assert "{db_url:postgresql+asyncpg}" in raised.value.next_step


@pytest.mark.parametrize(
    "head",
    [
        "",
        "import psycopg; psycopg.connect(os.environ['DATABASE_URL'])",
        "raise RuntimeError('the password file is missing')",
        "raise SystemExit(3)",
        "print('https://example.com'); assert os.environ['POOL_SIZE'] == '3'",
    ],
)
def test_what_a_start_may_still_manage_is_not_judged(make_start: MakeStart, head: str) -> None:
    with importing(cell_of(make_start(head=head))):
        pass


def test_it_goes_on_beside_the_block_and_leaves_nothing(
    make_start: MakeStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes long is no answer, and neither it nor what it started stays."""
    monkeypatch.setattr("harness.deploy.imports._PATIENCE_S", 0.1)
    head = """
        import subprocess
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (HERE / "pids.new").write_text(f"{os.getpid()} {child.pid}")
        (HERE / "pids.new").rename(HERE / "pids")
        time.sleep(600)
    """
    with importing(cell_of(make_start(head=head))):
        deadline_s = time.monotonic() + 20
        while not (tmp_path / "pids").exists():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


@pytest.mark.parametrize(
    ("installed", "lacking"),
    [((), "SQLAlchemy and no uvicorn"), (("sqlalchemy",), "uvicorn"), (("uvicorn",), "SQLAlchemy")],
)
def test_an_interpreter_that_could_not_serve_is_refused_at_once(
    make_start: MakeStart, tmp_path: Path, installed: tuple[str, ...], lacking: str
) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    for name in installed:
        (packages / f"{name}.py").touch()
    cell = cell_of(make_start())
    with (
        pytest.raises(UsageError) as raised,
        importing(replace(cell, target=replace(cell.target, python=str(python)))),
    ):
        pytest.fail("nothing is started beside it")
    assert raised.value.cause == f"The interpreter {python} has no {lacking}."


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("exit 7", "runs no Python: it ended with code 7."),
        ("echo Python 3.8", "is Python 3.8, and the probe needs 3.9."),
        ("echo Python 2.7; exit 1", "is Python 2.7, and the probe needs 3.9."),
    ],
)
def test_what_is_no_interpreter_or_too_old_a_one_is_refused(
    make_start: MakeStart, tmp_path: Path, script: str, cause: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    cell = cell_of(make_start())
    with (
        pytest.raises(UsageError) as raised,
        importing(replace(cell, target=replace(cell.target, python=str(python)))),
    ):
        pytest.fail("nothing is started beside it")
    assert raised.value.cause == f"The interpreter {python} {cause}"


def test_an_interpreter_that_cannot_be_run_is_named(make_start: MakeStart, tmp_path: Path) -> None:
    cell = cell_of(make_start())
    wrong = replace(cell, target=replace(cell.target, python=str(tmp_path)))
    with pytest.raises(UsageError, match="cannot be run: Permission denied"), importing(wrong):
        pass


def test_a_service_that_runs_already_is_not_imported(make_start: MakeStart) -> None:
    cell = cell_of(make_start(), "no_such_module:app")
    with importing(replace(cell, target=replace(cell.target, url="http://127.0.0.1:9"))):
        pass
