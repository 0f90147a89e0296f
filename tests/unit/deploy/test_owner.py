"""Whose leftovers are whose."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from harness.deploy.leftovers import Owner, clear_leftovers, current_owner, remembered
from harness.errors import Interrupted


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_we_are_not_gone() -> None:
    assert not current_owner().is_gone()


def test_a_later_process_with_our_pid_is_someone_else() -> None:
    assert dataclasses.replace(current_owner(), mark="another boot:1").is_gone()


@pytest.mark.parametrize("text", ["", "hello", "{}", "[1]", '{"host": "a"}', "null"])
def test_other_texts_are_not_owners(text: str) -> None:
    assert Owner.from_text(text) is None


def test_an_owner_survives_its_text() -> None:
    owner = current_owner()
    assert Owner.from_text(owner.to_text()) == owner
    assert owner.token == current_owner().token


def test_a_note_lasts_as_long_as_its_block(tmp_path: Path) -> None:
    state = tmp_path / "state" / "poolbench"
    with remembered(tmp_path / "poolbench-data"):
        assert len(list(state.glob("*.json"))) == 1
    assert not list(state.glob("*"))


def test_a_folder_goes_with_its_block(tmp_path: Path) -> None:
    folder = tmp_path / "poolbench-data"
    with remembered(folder):
        (folder / "base").mkdir(parents=True)
    assert not folder.exists()


def test_a_signal_while_the_folder_is_removed_leaves_neither_folder_nor_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "poolbench-data"
    remove, calls = shutil.rmtree, []

    def interrupted_once(path: Path, **options: bool) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise Interrupted("Interrupted.")
        remove(path, **options)  # type: ignore[arg-type]  # the one option we give

    monkeypatch.setattr("harness.deploy.leftovers.shutil.rmtree", interrupted_once)
    with pytest.raises(Interrupted), remembered(folder):
        folder.mkdir()
    assert not folder.exists()
    assert not list((tmp_path / "state" / "poolbench").glob("*"))


def test_a_folder_that_could_not_be_removed_stays_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "poolbench-data"
    monkeypatch.setattr("harness.deploy.leftovers.shutil.rmtree", lambda *_, **__: None)
    with remembered(folder):
        folder.mkdir()
    assert len(list((tmp_path / "state" / "poolbench").glob("*.json"))) == 1


def test_the_folder_of_a_living_owner_stays(tmp_path: Path) -> None:
    folder = tmp_path / "poolbench-data"
    folder.mkdir()
    with remembered(folder):
        assert clear_leftovers() == ()
        assert folder.exists()


def test_a_broken_note_harms_nobody(tmp_path: Path) -> None:
    state = tmp_path / "state" / "poolbench"
    state.mkdir(parents=True)
    (state / "broken.json").write_text('{"owner": ')
    assert clear_leftovers() == ()


def test_an_unwritable_home_falls_back_to_a_private_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with remembered():
        (folder,) = (tmp_path / "tmp").iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert len(list(folder.glob("*.json"))) == 1
