"""What an experiment names outside its file: scenarios, and the database whose URL is a secret."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.domain.experiment import Experiment
from harness.errors import UsageError
from harness.plan.codec import MASK
from harness.plan.lines import Source
from harness.plan.locate import resolve_scenario, shipped_names

DATABASE_URL_VARIABLE = "POOLBENCH_DATABASE_URL"


def with_scenarios(experiment: Experiment, folder: Path, source: Source) -> Experiment:
    """The experiment with every scenario found: a shipped one keeps its name, another becomes an absolute path.

    Raises UsageError, naming the line, for one that does not exist.
    """
    load = replace(experiment.load, scenario=_found(experiment.load.scenario, folder, source, "load.scenario"))
    matrix = dict(experiment.matrix)
    if "load.scenario" in matrix:
        names = matrix["load.scenario"]
        matrix["load.scenario"] = tuple(_found(name, folder, source, "matrix.load.scenario") for name in names)
    return replace(experiment, load=load, matrix=matrix)


def take_database_url(raw: dict[str, Any]) -> None:
    """Fill in `database.url` from the environment where provider "url" leaves it out: it holds a password."""
    database, url = raw.get("database"), os.environ.get(DATABASE_URL_VARIABLE)
    if url and isinstance(database, dict) and database.get("provider") == "url":
        database.setdefault("url", url)


def with_secrets(experiment: Experiment) -> Experiment:
    """A stored experiment, whose secrets are masked, with the database's URL from the environment.

    Raises UsageError when a secret is missing: it was never stored.
    """
    url = os.environ.get(DATABASE_URL_VARIABLE)
    if experiment.database.url and MASK in experiment.database.url:
        if not url:
            raise UsageError(
                "The database's URL holds a password, which a run does not store.",
                next_step=f"Give it again in {DATABASE_URL_VARIABLE}.",
            )
        experiment = replace(experiment, database=replace(experiment.database, url=url))
    masked = [name for name, value in experiment.target.env.items() if MASK in value]
    if masked:
        raise UsageError(
            f"The target's environment holds secrets, which a run does not store: {', '.join(masked)}.",
            next_step="Such a run cannot be resumed; start a new one.",
        )
    return experiment


def _found(name: str, folder: Path, source: Source, key: str) -> str:
    try:
        path = resolve_scenario(name, folder)
    except UsageError as error:
        raise UsageError(f"{source.where(key)}: {error.cause}", next_step=error.next_step) from None
    return name if name in shipped_names("scenarios") else str(path)
