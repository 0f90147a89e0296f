"""Git repositories to take versions from: real ones, with nothing of the user's configuration in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_AUTHOR = {f"GIT_{who}_{what}": "tests@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git_in(folder: Path, *words: str) -> str:
    """Run git and return what it writes, stripped."""
    environment = {**os.environ, **_AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", "-C", folder, *words], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(folder: Path, *versions: Mapping[str, str]) -> tuple[str, ...]:
    """Make a repository whose branch main has a commit for each version, of files by path; return their hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    git_in(folder, "init", "--quiet", "--initial-branch", "main")
    return tuple(commit(folder, files) for files in versions)


def commit(folder: Path, files: Mapping[str, str]) -> str:
    """Commit these files, by path, beside those that are there; return the commit's hash."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git_in(folder, "add", "--all")
    git_in(folder, "commit", "--quiet", "--allow-empty", "--message", "as it is now")
    return git_in(folder, "rev-parse", "HEAD")


def worktrees(folder: Path) -> list[str]:
    """Those that the repository knows of, its own first."""
    lines = git_in(folder, "worktree", "list", "--porcelain").split("\n")
    return [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]
