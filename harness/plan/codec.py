"""An experiment as plain JSON values, for a run's own record; what is secret never gets there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from harness.domain.experiment import Cell, Experiment, Target
from harness.plan.lines import Source
from harness.plan.schema import validate

MASK = "***"
_URL_PASSWORD = re.compile(r"(?<=://)([^:/?#\s]*):(.*)@(?=[^@/?#]*(?:[/?#]|$))")
_QUERY_PASSWORD = re.compile(r"(?i)((?:password|passwd|token|secret)=)[^&\s]+")
_SECRET_NAME = re.compile(r"(?i)passw|secret|token|api_?key")


def dump(experiment: Experiment) -> dict[str, Any]:
    """Plain dicts, lists, text, numbers: `restore` makes an equal experiment of them, save for masked passwords."""
    return {name: _plain(value) for name, value in asdict(without_secrets(experiment)).items()}


def restore(data: Mapping[str, Any]) -> Experiment:
    """The experiment that `dump` wrote. Raises UsageError when the data is not one."""
    return validate(data, Source(name="run.json"))


def without_secrets(experiment: Experiment) -> Experiment:
    """The same experiment with passwords in URLs, and environment values whose name says secret, masked."""
    return replace(
        experiment,
        target=_public_target(experiment.target),
        database=replace(experiment.database, url=_masked(experiment.database.url)),
        matrix={key: tuple(_masked(value) for value in values) for key, values in experiment.matrix.items()},
    )


def cell_without_secrets(cell: Cell) -> Cell:
    """The same for one cell."""
    return replace(
        cell,
        factors=tuple((key, _masked(value)) for key, value in cell.factors),
        target=_public_target(cell.target),
        database=replace(cell.database, url=_masked(cell.database.url)),
    )


def _public_target(target: Target) -> Target:
    env = {name: MASK if _SECRET_NAME.search(name) else _masked(value) for name, value in target.env.items()}
    return replace(target, url=_masked(target.url), env=env)


def _masked(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _QUERY_PASSWORD.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1:{MASK}@", value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
