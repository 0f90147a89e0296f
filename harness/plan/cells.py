"""The cells of a matrix: one full configuration for each combination, with a short name."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from harness.domain.experiment import Cell, Experiment
from harness.plan.lines import Source
from harness.plan.schema import set_key, validate

_SPEAKS_FOR_ITSELF = frozenset(
    {"target.driver", "target.app", "target.url", "session.isolation", "database.image", "load.arrivals"}
)
"""Factors whose value needs no name beside it in a label."""


def expand(experiment: Experiment) -> tuple[Cell, ...]:
    """The product of the matrix in the file's order, the last factor varying fastest; one cell without a matrix.

    Raises UsageError when a value does not fit its key.
    """
    combinations = tuple(_combinations(experiment))
    base = asdict(experiment) | {"matrix": {}}
    varied = frozenset(key for key, values in experiment.matrix.items() if len(values) > 1)
    width = len(str(len(combinations)))
    return tuple(
        _cell(f"c{number:0{width}d}", base, factors, varied, experiment.name)
        for number, factors in enumerate(combinations, start=1)
    )


def _combinations(experiment: Experiment) -> Iterator[tuple[tuple[str, Any], ...]]:
    keys = tuple(experiment.matrix)
    for values in itertools.product(*experiment.matrix.values()):
        yield tuple(zip(keys, values, strict=True))


def _cell(
    cell_id: str, base: dict[str, Any], factors: Sequence[tuple[str, Any]], varied: frozenset[str], name: str
) -> Cell:
    raw = copy.deepcopy(base)
    for key, value in factors:
        set_key(raw, key, value)
    full = validate(raw, Source(name=f"cell {cell_id} of {name}"))
    return Cell(
        id=cell_id,
        label=", ".join(_words(key, value) for key, value in factors if key in varied) or name,
        factors=tuple(factors),
        pool=full.pool,
        session=full.session,
        target=full.target,
        database=full.database,
        network=full.network,
        load=full.load,
    )


def _words(key: str, value: Any) -> str:
    """A factor as a reader would say it: "asyncpg", "pool_size 5", "expire_on_commit off"."""
    name = key.rpartition(".")[2]
    if key == "load.scenario":
        return PurePath(str(value)).stem
    if key == "pool.pool_class":
        return value if value.endswith("pool") else f"{value} pool"
    if isinstance(value, bool):
        return f"{name} {'on' if value else 'off'}"
    if isinstance(value, list | tuple):
        return f"{name} {'+'.join(map(str, value)) or 'any'}"
    return str(value) if key in _SPEAKS_FOR_ITSELF else f"{name} {value}"
