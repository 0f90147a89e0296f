"""The cells of a matrix: one full configuration for each combination, with a short name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.plan.codec import public_factor
from harness.plan.lines import Source
from harness.plan.schema import VARIABLE_SECTIONS, set_key, validate

_SPEAKS_FOR_ITSELF = frozenset(
    {"target.driver", "target.app", "target.url", "session.isolation", "database.image", "load.arrivals"}
)
"""Factors whose value needs no name beside it in a label."""


def expand(experiment: Experiment) -> tuple[Cell, ...]:
    """The product of the matrix for each arm, in the file's order, the last factor varying fastest; one without both.

    Raises UsageError when a value does not fit its key.
    """
    combinations = [(arm, factors) for arm in experiment.arms or ("",) for factors in _combinations(experiment)]
    varied = frozenset(key for key, values in experiment.matrix.items() if len(values) > 1)
    width = len(str(len(combinations)))
    touched = {key.partition(".")[0] for keys in (experiment.matrix, *experiment.arms.values()) for key in keys}
    base = {section: asdict(getattr(experiment, section)) for section in touched}
    return tuple(
        _cell(f"c{number:0{width}d}", experiment, base, factors, arm=arm, varied=varied)
        for number, (arm, factors) in enumerate(combinations, start=1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factor:
    """A key and one of its values, as it is and as it may be shown."""

    key: str
    value: Any
    shown: Any


def _combinations(experiment: Experiment) -> Iterator[tuple[_Factor, ...]]:
    choices = [
        [
            _Factor(key=key, value=value, shown=shown)
            for value, shown in zip(values, public_factor(key, values), strict=True)
        ]
        for key, values in experiment.matrix.items()
    ]
    yield from itertools.product(*choices)


def _cell(
    cell_id: str,
    experiment: Experiment,
    base: Mapping[str, Mapping[str, Any]],
    factors: Sequence[_Factor],
    *,
    arm: str,
    varied: frozenset[str],
) -> Cell:
    """One cell; `base` are the sections that factors belong to, the others are the experiment's own."""
    name = experiment.name
    raw: dict[str, Any] = {"schema_version": experiment.schema_version, "name": name}
    for section, values in base.items():
        raw[section] = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    overridden = experiment.arms.get(arm, {})
    for key, value in (*overridden.items(), *((factor.key, factor.value) for factor in factors)):
        set_key(raw, key, value)
    varying = validate(raw, Source(name=f"cell {cell_id} of {name}"))
    sections = {section: getattr(varying if section in raw else experiment, section) for section in VARIABLE_SECTIONS}
    return Cell(
        id=cell_id,
        label=", ".join((*filter(None, (arm,)), *(_words(own.key, own.shown) for own in factors if own.key in varied)))
        or name,
        arm=arm,
        named=tuple(dict.fromkeys((*experiment.named, *overridden))),
        factors=tuple((factor.key, factor.shown) for factor in factors),
        commit=experiment.commits.get(sections["target"].ref or "", ""),
        **sections,
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
    if isinstance(value, Mapping):
        return f"{name} {' '.join(f'{inner}={text}' for inner, text in value.items()) or 'none'}"
    if isinstance(value, list | tuple):
        return f"{name} {'+'.join(map(str, value)) or 'any'}"
    return str(value) if key in _SPEAKS_FOR_ITSELF else f"{name} {value}"
