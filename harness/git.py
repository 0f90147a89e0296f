"""What git says of a service's folder: which commit a name means there, and which state of the code it holds.

Nothing here changes a repository; `deploy.checkouts` makes worktrees.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.domain.evidence import Version
from harness.errors import UsageError

_OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
"""Set within a hook: they would lead to the repository that the hook runs for, whatever folder is asked about."""
_NAMES_SHOWN = 10


class GitRefusedError(Exception):
    """Git ended with an error; its text is git's last line."""


def git(folder: Path, *words: str, variables: Mapping[str, str] | None = None) -> bytes:
    """Run git in a folder and return what it writes.

    Raises:
        GitRefusedError: it ended with an error.
        UsageError: there is no git.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            env={**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("There is no git on the PATH, and target.ref needs one.", next_step="Install git.") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").split("\n")
        raise GitRefusedError(next((line for line in lines if line.strip()), "").removeprefix("fatal: "))
    return done.stdout


def place_of(folder: Path) -> tuple[Path, str]:
    """Return the top of the repository that a folder is in, and the folder's path within it ("" at the top).

    Raises:
        UsageError: it is in none, or git does not say; or there is no git.
    """
    try:
        said = git(folder, "rev-parse", "--show-toplevel", "--show-prefix").decode()
    except GitRefusedError as error:
        if "not a git repository" in str(error):
            raise UsageError(
                f"The folder {folder} is in no git repository, so target.ref means nothing there.",
                next_step="Name the service's folder in its repository: target.dir.",
            ) from None
        raise UsageError(f"git refuses the folder {folder}: {error}.", next_step="Make git work there.") from None
    top, prefix = said.split("\n")[:2]
    return Path(top), prefix.rstrip("/")


def commit_of(folder: Path, ref: str) -> str:
    """Return the full hash of the commit that a name means in a folder's repository, which has the folder too.

    Raises:
        UsageError: there is no such commit, or the folder is not in it; else as `place_of`.
    """
    top, prefix = place_of(folder)
    try:
        commit = git(top, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
    except GitRefusedError:
        commit = ""
    if not commit or ref.startswith("-"):
        raise UsageError(f"There is no commit, branch or tag {ref} in {top}.", next_step=_offer(top, ref))
    if prefix and not _has_folder(top, commit, prefix):
        raise UsageError(
            f"The commit {commit[:10]} ({ref}) of {top} has no folder {prefix}.",
            next_step="Name a commit that has it, or that side's own target.dir.",
        )
    return commit


def version_of(folder: Path) -> Version | None:
    """Return the commit that a folder's working tree is at, and what differs from it; None where git does not say."""
    try:
        commit = git(folder, "rev-parse", "--verify", "HEAD").decode().strip()
        changes = git(folder, "diff", "--no-ext-diff", "--no-textconv", "HEAD")
        new = git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py").decode().split("\0")
    except (GitRefusedError, UsageError):
        return None
    for name in filter(None, new):
        changes += name.encode() + _content(folder / name)
    return Version(commit=commit, changes=hashlib.sha256(changes).hexdigest()[:16] if changes else "")


def _has_folder(top: Path, commit: str, prefix: str) -> bool:
    try:
        return git(top, "cat-file", "-t", f"{commit}:{prefix}").strip() == b"tree"
    except GitRefusedError:
        return False


def _offer(top: Path, ref: str) -> str:
    """The name that looks most like `ref`, or the names there are; of a clone that lacks history, how it is got."""
    names = git(top, "for-each-ref", "--format=%(refname:short)").decode().split()
    if near := _nearest(ref, names):
        said = f"Did you mean {near}?"
    else:
        said = f"There are {', '.join(names[:_NAMES_SHOWN])}." if names else "It has no branch and no tag."
    if git(top, "rev-parse", "--is-shallow-repository").strip() == b"true":
        said += " The clone is shallow: git fetch --unshallow gets the rest (actions/checkout: fetch-depth: 0)."
    return said


def _nearest(ref: str, names: Sequence[str]) -> str:
    elsewhere = [name for name in names if name.endswith(f"/{ref}")]  # where a clone has a branch of its origin
    return next(iter(elsewhere or difflib.get_close_matches(ref, names, n=1, cutoff=0.5)), "")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone meanwhile, or a link to nowhere
        return b""
