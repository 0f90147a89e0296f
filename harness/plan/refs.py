"""What the names of commits in an experiment mean: found once, as its file is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.domain.experiment import Experiment
from harness.errors import UsageError
from harness.git import commit_of
from harness.plan.cells import expand
from harness.plan.lines import Source


def with_commits(experiment: Experiment, source: Source) -> Experiment:
    """The experiment with the commit that each `target.ref` means now: a branch may move while it is measured.

    Raises:
        UsageError: a cell's ref, or its folder in that commit, is not there; or one name means two commits.
    """
    found: dict[tuple[str, Path], str] = {}
    commits: dict[str, str] = {}
    for cell in expand(experiment):
        ref, folder = cell.target.ref, Path(cell.target.dir or Path.cwd())
        if ref is None or (ref, folder) in found:
            continue
        where = source.where(f"arms.{cell.arm}.target.ref", "matrix.target.ref", "target.ref")
        try:
            found[ref, folder] = commit_of(folder, ref)
        except UsageError as error:
            raise UsageError(f"{where}: {error.cause}", next_step=error.next_step) from None
        if commits.setdefault(ref, found[ref, folder]) != found[ref, folder]:
            raise UsageError(
                f"{where}: target.ref {ref} means another commit in {folder} than in another side's folder.",
                next_step="Name the commits themselves.",
            )
    return replace(experiment, commits=commits)
