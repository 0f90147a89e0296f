"""What a process left behind that is no more."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from harness.deploy.leftovers import Owner, clear_leftovers, others_at_work, remembered


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
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


def test_an_ended_process_is_gone(dead_owner: Owner) -> None:
    assert dead_owner.is_gone()


@pytest.mark.parametrize("elsewhere", [{"host": "another-machine"}, {"pid_namespace": "pid:[1]"}])
def test_nothing_is_concluded_about_another_machine(dead_owner: Owner, elsewhere: dict[str, str]) -> None:
    assert not dataclasses.replace(dead_owner, **elsewhere).is_gone()


def test_the_folder_of_a_dead_owner_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "poolbench-data"
    folder.mkdir()
    die_holding(folder)
    assert clear_leftovers() == (f"folder {folder}",)
    assert not folder.exists()
    assert clear_leftovers() == ()


def test_a_folder_that_is_not_named_as_ours_stays(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    die_holding(folder)
    clear_leftovers()
    assert folder.exists()
