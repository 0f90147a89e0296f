"""`poolbench init`: what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import plan
from harness.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the test's own handlers stay
    return tmp_path


def poolbench(*arguments: str) -> int | str | None:
    """Run the command. Returns its exit code."""
    with pytest.raises(SystemExit) as exit_:
        main([*arguments])
    return exit_.value.code


@pytest.mark.parametrize("name", ["my.exp", "x y", "", "-x", "..", "a/my.exp.toml", "n" * 61, "Zoë"])
def test_a_name_that_plan_would_refuse_is_refused(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poolbench("init", "--", name) == 2
    assert "cannot name a folder" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["mine", "mine.toml", "a-b_1"])
def test_what_is_written_is_planned(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poolbench("init", name) == 0
    (file,) = folder.glob("*.toml")
    named = file.read_text().splitlines()[0].removeprefix("#:schema ")
    capsys.readouterr()
    assert poolbench("schema") == 0
    assert (folder / named).read_text() == capsys.readouterr().out
    assert plan.load_experiment(file).name == name.removesuffix(".toml")


def test_where_nothing_can_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poolbench("init", f"{'d' * 300}/x") == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dir", "shop"], "describe a service. Add --app."),
        (["--app", "main:app", "--env", "KEY"], "--env KEY has no value"),
        (["--app", "main:app", "--dir", "nowhere"], "nowhere"),
        (["--app", "main:app", "--scenario", "nowhere.py"], "nowhere.py"),
    ],
)
def test_a_service_that_cannot_be_looked_at(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert poolbench("init", "pool", *arguments) == 2
    assert said in capsys.readouterr().err
    assert list(folder.iterdir()) == []
