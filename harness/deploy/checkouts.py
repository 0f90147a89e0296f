"""Worktrees of the commits that cells name with `target.ref`, for as long as a run takes."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.deploy import leftovers
from harness.domain.cell import Cell
from harness.domain.evidence import Version
from harness.errors import UsageError
from harness.git import GitRefusedError, git, place_of, version_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkouts:
    """Where the code of each cell lies during this run."""

    folders: Mapping[tuple[Path, str], Path]
    """(the service's folder, commit) -> the same folder in a worktree of that commit"""

    def deployed(self, cell: Cell) -> Cell:
        """The cell as it is started: one that names a commit in the folder that holds it."""
        if cell.target.ref is None:
            return cell
        return replace(cell, target=replace(cell.target, dir=str(self.folders[_wanted(cell)])))

    def version_of(self, cell: Cell) -> Version | None:
        """Which code is started now: a working tree may be changed meanwhile. None where nobody can say."""
        if cell.target.ref is not None:
            return Version(commit=cell.commit)
        if cell.target.url is not None or (cell.target.is_reference and cell.target.dir is None):
            return None
        return version_of(_folder(cell))


@contextmanager
def checkouts(cells: Sequence[Cell]) -> Iterator[Checkouts]:
    """Make a worktree of each commit that the cells name, all of them gone at the end of the block.

    What a killed run leaves of them, `leftovers` removes.

    Raises:
        UsageError: git makes none, or what it makes lacks the service's folder.
    """
    wanted = {_wanted(cell) for cell in cells if cell.target.ref is not None}
    if not wanted:
        yield Checkouts(folders={})
        return
    ours = Path(tempfile.gettempdir()).resolve() / f"{leftovers.FOLDER_PREFIX}worktrees-{secrets.token_hex(6)}"
    with leftovers.remembered(ours):
        ours.mkdir(mode=0o700)
        trees: dict[tuple[Path, str], Path] = {}
        folders = {}
        for folder, commit in sorted(wanted):
            top, prefix = place_of(folder)
            if (top, commit) not in trees:
                trees[top, commit] = ours / f"{top.name}-{commit[:10]}-{len(trees)}"
                _add(top, commit, trees[top, commit])
            folders[folder, commit] = trees[top, commit] / prefix
            if not folders[folder, commit].is_dir():
                raise UsageError(
                    f"The commit {commit[:10]} of {top} has no folder {prefix}.", next_step="Name one that has it."
                )
        yield Checkouts(folders=folders)


def _wanted(cell: Cell) -> tuple[Path, str]:
    return _folder(cell), cell.commit


def _folder(cell: Cell) -> Path:
    return Path(cell.target.dir or Path.cwd())


def _add(top: Path, commit: str, tree: Path) -> None:
    """Check a commit out beside; no hook of the repository has anything to do with that."""
    add = ("worktree", "add", "--quiet", "--detach", str(tree), commit)
    try:
        git(top, "-c", "core.hooksPath=/dev/null", *add, variables=leftovers.owned_environment())
    except GitRefusedError as error:
        raise UsageError(
            f"git makes no worktree of {commit[:10]} in {top}: {error}.", next_step=f"Try it: git {' '.join(add)}."
        ) from None
