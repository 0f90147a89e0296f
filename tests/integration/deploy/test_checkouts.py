"""Worktrees of a real repository: there for a run, and gone afterwards, whatever happens; nobody else's is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from contracts import launches
from repositories import commit, git_in, repository, worktrees

from harness.deploy import Checkouts, checkouts, clear_leftovers, importing
from harness.domain.cell import Cell
from harness.domain.evidence import Version
from harness.domain.experiment import Target
from harness.errors import UsageError

NOWHERE = Checkouts(folders={})


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository whose service lies in a folder of it, committed twice; its own worktree has neither."""
    repository(tmp_path / "shop", {"service/shop.py": "VERSION = 1"}, {"service/shop.py": "VERSION = 2"})
    (tmp_path / "shop/service/shop.py").write_text("VERSION = 'not committed'")
    return tmp_path / "shop"


def cell_at(folder: Path, ref: str | None, **target: object) -> Cell:
    commit = git_in(folder, "rev-parse", ref) if ref else ""
    told = Target(app="shop:VERSION", dir=str(folder), ref=ref, **target)  # type: ignore[arg-type]  # any field
    return replace(launches()[0].cell, target=told, commit=commit)


def code_of(cell: Cell) -> str:
    assert cell.target.dir is not None
    return (Path(cell.target.dir) / "shop.py").read_text()


def ours(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("poolbench-worktrees-*"))


def test_each_side_has_its_own_code(tmp_path: Path, shop: Path) -> None:
    base, head = cell_at(shop / "service", "main~1"), cell_at(shop / "service", None)
    with checkouts([base, head]) as sides:
        assert code_of(sides.deployed(base)) == "VERSION = 1"
        assert sides.deployed(head) is head
        assert len(worktrees(shop)) == 2
    assert worktrees(shop) == [str(shop)]
    assert ours(tmp_path) == []
    assert git_in(shop, "branch", "--list").split() == ["*", "main"], "nothing of it is left in the repository"
    assert not (shop / ".git/worktrees").exists()


def test_without_a_ref_nothing_is_made(shop: Path) -> None:
    with checkouts([cell_at(shop / "service", None)]) as sides:
        assert sides == NOWHERE


def test_several_cells_share_a_worktree(shop: Path) -> None:
    (shop / "worker").mkdir()
    (shop / "worker/shop.py").write_text("VERSION = 3")
    commit(shop, {})
    cells = [cell_at(shop / folder, ref) for folder in ("service", "worker") for ref in ("main", "HEAD")]
    with checkouts([*cells, cell_at(shop / "service", "main~1")]) as sides:
        assert len({sides.deployed(cell).target.dir for cell in cells}) == 2
        assert len(worktrees(shop)) == 3


def test_an_error_within_leaves_nothing(tmp_path: Path, shop: Path) -> None:
    def fail() -> None:
        with checkouts([cell_at(shop / "service", "main")]):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert worktrees(shop) == [str(shop)]
    assert ours(tmp_path) == []


def test_what_a_killed_run_leaves_is_cleared_and_nothing_else(tmp_path: Path, shop: Path) -> None:
    git_in(shop, "worktree", "add", "--quiet", "--detach", str(tmp_path / "on a disk that is not there"))
    shutil.rmtree(tmp_path / "on a disk that is not there")
    code = """
import os, signal
from harness.deploy import checkouts, leftovers
from tests_cell import cell
with checkouts([cell]):
    os.kill(leftovers._guard._shell.pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    told = repr(cell_at(shop / "service", "main"))
    (tmp_path / "tests_cell.py").write_text(f"from harness.domain.cell import *\ncell = {told}")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode
    assert ended == -signal.SIGKILL
    (left,) = ours(tmp_path)
    assert len(worktrees(shop)) == 3
    noted = next((shop / ".git/worktrees").glob("shop-*"))
    (noted / "locked").write_text("initializing")  # as one that was killed while git was at it
    assert clear_leftovers() == (f"folder {left}",)
    assert worktrees(shop) == [str(shop), str(tmp_path / "on a disk that is not there")]
    assert not left.exists()


def test_no_hook_takes_part(tmp_path: Path, shop: Path) -> None:
    hook = shop / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    with checkouts([cell_at(shop / "service", "main")]):
        assert not (tmp_path / "hooked").exists()


def test_a_commit_that_is_no_more(tmp_path: Path, shop: Path) -> None:
    gone = replace(cell_at(shop / "service", "main"), commit="0123456789" * 4)
    with (
        pytest.raises(UsageError, match=r"git makes no worktree of 0123456789 in /.*/shop: .*Try it: git worktree add"),
        checkouts([gone]),
    ):
        pass
    assert ours(tmp_path) == []


def test_a_folder_that_came_later(shop: Path) -> None:
    later = commit(shop, {"later/shop.py": "VERSION = 3"})
    cell = replace(cell_at(shop / "later", "main"), commit=git_in(shop, "rev-parse", f"{later}~1"))
    with pytest.raises(UsageError, match=r"has no folder later\."), checkouts([cell]):
        pass


def test_which_code_it_is(tmp_path: Path, shop: Path) -> None:
    base, head = cell_at(shop / "service", "main~1"), cell_at(shop / "service", None)
    here = git_in(shop, "rev-parse", "main")
    assert NOWHERE.version_of(base) == Version(commit=base.commit)
    git_in(shop, "checkout", "--quiet", "--", ".")
    (shop / "service/results.csv").write_text("no code")
    assert NOWHERE.version_of(head) == Version(commit=here)

    seen = {NOWHERE.version_of(head)}
    for name, text in (("shop.py", "VERSION = 3"), ("shop.py", "VERSION = 4"), ("new.py", "1"), ("new.py", "2")):
        (shop / "service" / name).write_text(text)
        seen.add(NOWHERE.version_of(head))
    assert len(seen) == 5
    assert {version.commit for version in seen if version} == {here}
    git_in(shop, "add", "--all")
    staged = NOWHERE.version_of(head)
    assert staged is not None
    assert staged.changes, "what is staged is not committed"


def test_where_nobody_can_say_which_code_it_is(tmp_path: Path) -> None:
    plain = launches()[0].cell
    (tmp_path / "plain").mkdir()
    assert NOWHERE.version_of(plain) is None, "the reference app as it is installed"
    assert NOWHERE.version_of(replace(plain, target=Target(app="a:b", dir=str(tmp_path / "plain")))) is None
    assert NOWHERE.version_of(replace(plain, target=Target(url="http://127.0.0.1:1"))) is None
    repository(tmp_path / "empty")
    assert NOWHERE.version_of(replace(plain, target=Target(app="a:b", dir=str(tmp_path / "empty")))) is None


def test_code_that_is_imported_from_elsewhere_is_not_that_commits(tmp_path: Path, shop: Path) -> None:
    """A service that is installed in its environment: the folder it is started in does not decide what is imported."""
    commit(shop, {"service/src/store.py": "app = 3"})
    base = cell_at(shop / "service", "main")
    base = replace(base, target=replace(base.target, app="store:app", env={"PYTHONPATH": str(shop / "service/src")}))
    with checkouts([base]) as sides:
        with pytest.raises(UsageError) as raised, importing(sides.deployed(base)):
            pass
        assert raised.value.cause == (
            f"The app store:app of main is not that commit's: {shop}/service/src/store.py is imported instead, which "
            "is installed in the interpreter's environment."
        )
        own = replace(base, target=replace(base.target, env={"PYTHONPATH": "src"}))
        with importing(sides.deployed(own)):
            pass
