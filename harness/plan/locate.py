"""Finds what travels with poolbench: experiments and scenarios, in an installed wheel or in a checkout."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from harness.errors import InfrastructureError, UsageError

ShippedKind = Literal["experiments", "scenarios"]
_SUFFIX: dict[ShippedKind, str] = {"experiments": ".toml", "scenarios": ".py"}


def shipped(kind: ShippedKind) -> Path:
    """The folder of what is shipped. Raises InfrastructureError when the installation lacks it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "shipped" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise InfrastructureError(
        f"The installation has no {kind} in {package / 'shipped'}.", next_step="Reinstall poolbench."
    )


def shipped_names(kind: ShippedKind) -> tuple[str, ...]:
    """Names of what is shipped, without suffix; helpers that begin with "_" are not meant to be named."""
    return tuple(sorted(p.stem for p in shipped(kind).glob(f"*{_SUFFIX[kind]}") if not p.stem.startswith("_")))


def experiment_path(path: Path | None) -> Path:
    """The file meant: the quickstart for None, the file itself, or a shipped experiment by its bare name.

    Raises UsageError, with the shipped experiments and the nearest, when there is none.
    """
    if path is None:
        return shipped("experiments") / "quickstart.toml"
    if path.is_file():
        return path
    names = shipped_names("experiments")
    if str(path) in names:
        return shipped("experiments") / f"{path}.toml"
    problem = "is a folder" if path.is_dir() else "does not exist"
    raise UsageError(f"The experiment {path} {problem}.", next_step=_offer("experiments", names, path.stem))


def resolve_scenario(name_or_path: str, base: Path) -> Path:
    """The locustfile meant: a shipped scenario's name, or a path seen from `base` (the experiment's folder) or the cwd.

    Raises UsageError, with the shipped scenarios and the nearest, when there is none.
    """
    names = shipped_names("scenarios")
    if name_or_path in names:
        return shipped("scenarios") / f"{name_or_path}.py"
    for folder in (base, Path.cwd()):
        if (found := folder / Path(name_or_path).expanduser()).is_file():
            return found.resolve()
    raise UsageError(
        f"The scenario {name_or_path!r} is neither shipped nor a file in {base} or {Path.cwd()}.",
        next_step=_offer("scenarios", names, Path(name_or_path).stem),
    )


def _offer(kind: ShippedKind, names: Sequence[str], wanted: str) -> str:
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    question = f" Did you mean {near[0]!r}?" if near else ""
    return f"Shipped {kind} are {', '.join(names)}.{question}"
