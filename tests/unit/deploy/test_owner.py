"""Whose leftovers are whose."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.deploy.leftovers import Owner, clear_leftovers, current_owner, others_at_work, remembered
from harness.errors import Interrupted


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def dead_owner() -> Owner:
    """A process of this machine that has ended."""
    code = "from harness.deploy.leftovers import current_owner; print(current_owner().to_text())"
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    owner = Owner.from_text(text)
    assert owner is not None
    return owner


def die_holding(folder: Path) -> None:
    """A process remembers `folder` and ends without any cleanup, as if it and its guard were killed."""
    code = (
        "import os, pathlib, sys; from harness.deploy import leftovers\n"
        "with leftovers.remembered(pathlib.Path(sys.argv[1])): leftovers._guard._shell.kill(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)


def test_we_are_not_gone() -> None:
    assert not current_owner().is_gone()


def test_only_others_that_live_are_at_work(tmp_path: Path) -> None:
    code = (
        "import sys; from harness.deploy import leftovers\n"
        "with leftovers.remembered(): print('up', flush=True); sys.stdin.read()"
    )
    die_holding(tmp_path / "poolbench-data")
    with remembered():
        assert others_at_work() == 0, "we are no other, and the dead one is none"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert others_at_work() == 1
            other.communicate()
    assert others_at_work() == 0


def test_an_ended_process_is_gone() -> None:
    assert dead_owner().is_gone()


def test_a_later_process_with_our_pid_is_someone_else() -> None:
    assert dataclasses.replace(current_owner(), mark="another boot:1").is_gone()


@pytest.mark.parametrize("elsewhere", [{"host": "another-machine"}, {"pid_namespace": "pid:[1]"}])
def test_nothing_is_concluded_about_another_machine(elsewhere: dict[str, str]) -> None:
    assert not dataclasses.replace(dead_owner(), **elsewhere).is_gone()


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


def test_the_folder_of_a_dead_owner_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "poolbench-data"
    folder.mkdir()
    die_holding(folder)
    assert clear_leftovers() == (f"folder {folder}",)
    assert not folder.exists()
    assert clear_leftovers() == ()


def test_the_folder_of_a_living_owner_stays(tmp_path: Path) -> None:
    folder = tmp_path / "poolbench-data"
    folder.mkdir()
    with remembered(folder):
        assert clear_leftovers() == ()
        assert folder.exists()


def test_a_folder_that_is_not_named_as_ours_stays(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    die_holding(folder)
    clear_leftovers()
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
