"""What an experiment names outside its file: scenarios, and the secrets that a run does not store."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from harness.domain.experiment import Experiment
from harness.domain.secrets import MASK, masked
from harness.errors import UsageError
from harness.plan.codec import masked_keys, without_secrets
from harness.plan.lines import Source
from harness.plan.locate import resolve_scenario, shipped_names

DATABASE_URL_VARIABLE = "POOLBENCH_DATABASE_URL"


def with_scenarios(experiment: Experiment, folder: Path, source: Source) -> Experiment:
    """The experiment with every scenario found, and with the service's folder and interpreter.

    A shipped scenario keeps its name, everything else becomes an absolute path. Raises UsageError, naming the line, for
    what does not exist.
    """
    load = replace(experiment.load, scenario=_found(experiment.load.scenario, folder, source, "load.scenario"))
    matrix = dict(experiment.matrix)
    if "load.scenario" in matrix:
        names = matrix["load.scenario"]
        matrix["load.scenario"] = tuple(_found(name, folder, source, "matrix.load.scenario") for name in names)
    target = replace(
        experiment.target,
        dir=_service_path("dir", experiment.target.dir, folder, source, "target.dir"),
        python=_service_path("python", experiment.target.python, folder, source, "target.python"),
    )
    for kind in ("dir", "python"):
        if (key := f"target.{kind}") in matrix:
            matrix[key] = tuple(_service_path(kind, path, folder, source, f"matrix.{key}") for path in matrix[key])
    arms = {name: dict(keys) for name, keys in experiment.arms.items()}
    for name, keys in arms.items():
        if (key := "load.scenario") in keys:
            keys[key] = _found(keys[key], folder, source, f"arms.{name}.{key}")
        for kind in ("dir", "python"):
            if (key := f"target.{kind}") in keys:
                keys[key] = _service_path(kind, keys[key], folder, source, f"arms.{name}.{key}")
    return replace(experiment, load=load, target=target, matrix=matrix, arms=arms)


def take_database_url(raw: dict[str, Any]) -> None:
    """Fill in `database.url` from the environment where provider "url" leaves it out: it holds a password."""
    database, url = raw.get("database"), os.environ.get(DATABASE_URL_VARIABLE)
    if url and isinstance(database, dict) and database.get("provider") == "url":
        database.setdefault("url", url)


def with_secrets(stored: Experiment, given: Experiment | None = None) -> Experiment:
    """A stored experiment with its secrets, which were never stored: as `given` has them, read from its file again.

    Without it only the database's URL can come from elsewhere, the environment. Raises UsageError when a secret is
    missing, or when `given` is another experiment.
    """
    if given is not None:
        given = replace(given, commits=stored.commits)  # a branch may have moved since
        if differing := _differing(without_secrets(given), stored):
            raise UsageError(
                f"This is not the experiment that the run was started with: {', '.join(differing)} differ.",
                next_step="Give it as it was then, or start a new run.",
            )
        return given
    url = os.environ.get(DATABASE_URL_VARIABLE)
    if url and MASK in (stored.database.url or ""):
        if masked(url) != stored.database.url:
            raise UsageError(
                f"{DATABASE_URL_VARIABLE} names another server than the run was started on: {stored.database.url}.",
                next_step="Give that one's URL.",
            )
        stored = replace(stored, database=replace(stored.database, url=url))
    if missing := masked_keys(stored):
        variable = f" or {DATABASE_URL_VARIABLE}" if missing == ("database.url",) else ""
        raise UsageError(
            f"The run needs what it does not store, since it may be secret: {', '.join(missing)}.",
            next_step=f"Give the experiment again: poolbench run FILE --resume RUN, with the --set it had{variable}.",
        )
    return stored


def _differing(one: Experiment, other: Experiment) -> list[str]:
    """Dotted keys in which two experiments differ."""
    keys: list[str] = []
    for field in fields(Experiment):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if mine != theirs and is_dataclass(mine):
            keys += [f"{field.name}.{f.name}" for f in fields(mine) if getattr(mine, f.name) != getattr(theirs, f.name)]
        elif mine != theirs:
            keys.append(field.name)
    return keys


def _service_path(kind: str, path: str | None, folder: Path, source: Source, key: str) -> str | None:
    """A path of the service, seen from the experiment's folder; links stay, since they make a virtual environment."""
    if path is None:
        return None
    found = Path(os.path.abspath(folder / Path(path).expanduser()))  # noqa: PTH100 -- resolve() follows links
    if kind == "dir" and not found.is_dir():
        raise UsageError(
            f"{source.where(key)}: the service's folder {found} does not exist.",
            next_step="A relative path counts from the experiment file.",
        )
    if kind == "python" and not os.access(found, os.X_OK):
        raise UsageError(
            f"{source.where(key)}: there is no interpreter {found}.",
            next_step="A relative path, such as .venv/bin/python, counts from the experiment file.",
        )
    return str(found)


def _found(name: str, folder: Path, source: Source, key: str) -> str:
    try:
        path = resolve_scenario(name, folder)
    except UsageError as error:
        raise UsageError(f"{source.where(key)}: {error.cause}", next_step=error.next_step) from None
    return name if name in shipped_names("scenarios") else str(path)
