"""An experiment and its cells as they may be written down and shown: without what is secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from harness.domain.cell import Cell
from harness.domain.experiment import ArgumentValue, Experiment
from harness.domain.secrets import MASK, hide, looks_secret, masked

_ENV, _ARGUMENTS = "target.env", "load.arguments"


def without_secrets(experiment: Experiment) -> Experiment:
    """The same experiment with passwords, secret factors and every value of the target's environment masked.

    Values of the environment that vary are what the run is about: those are masked only where they look secret.
    """
    public: Experiment = _public(experiment)
    target = replace(public.target, env=dict.fromkeys(experiment.target.env, MASK))
    load = replace(public.load, arguments=public_arguments(public.load.arguments))
    matrix = {key: public_factor(key, values) for key, values in experiment.matrix.items()}
    arms = {
        name: {key: _of_an_arm(key, value) for key, value in keys.items()} for name, keys in experiment.arms.items()
    }
    return replace(public, target=target, load=load, matrix=matrix, arms=arms)


def cell_without_secrets(cell: Cell) -> Cell:
    """The same for one cell; its label and factors never hold a secret."""
    public: Cell = _public(cell)
    varied: dict[str, Any] = {}
    for key, value in cell.factors:
        varied |= value if key == _ENV else {key.removeprefix(f"{_ENV}."): value}
    env = {name: varied.get(name, MASK) for name in cell.target.env}
    load = replace(public.load, arguments=public_arguments(public.load.arguments))
    target = replace(public.target, env=env)
    return replace(public, label=cell.label, factors=cell.factors, target=target, load=load)


def public_arguments(arguments: Mapping[str, ArgumentValue]) -> dict[str, ArgumentValue]:
    """A scenario's arguments with those masked that look secret."""
    return {name: MASK if looks_secret(name, str(value)) else value for name, value in arguments.items()}


def public_factor(key: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """A factor's values as they may be shown; their secrets are numbered, so that cells can be told apart."""
    numbers: dict[str, int] = {}

    def numbered(secret: str) -> str:
        return f"{MASK}{numbers.setdefault(secret, len(numbers) + 1)}"

    return tuple(_public_value(key, value, numbered) for value in values)


def masked_keys(experiment: Experiment) -> tuple[str, ...]:
    """Dotted keys whose value is masked, at least in part."""
    sections = [(f.name, getattr(experiment, f.name)) for f in fields(experiment)]
    return (
        *(
            f"{name}.{f.name}"
            for name, section in sections
            if is_dataclass(section)
            for f in fields(section)
            if MASK in repr(getattr(section, f.name))
        ),
        *(f"matrix.{key}" for key, values in experiment.matrix.items() if MASK in repr(values)),
        *(
            f"arms.{name}.{key}"
            for name, keys in experiment.arms.items()
            for key, value in keys.items()
            if MASK in repr(value)
        ),
    )


def _of_an_arm(key: str, value: Any) -> Any:
    """An arm's value as it may be shown: of the target's environment none is what the run is about."""
    return MASK if key.startswith(f"{_ENV}.") else _public_value(key, value, hide)


def _public_value(key: str, value: Any, mask: Callable[[str], str]) -> Any:
    if key in (_ENV, _ARGUMENTS) and isinstance(value, Mapping):
        return {name: _public_value(f"{key}.{name}", inner, mask) for name, inner in value.items()}
    if key.startswith((f"{_ENV}.", f"{_ARGUMENTS}.")) and looks_secret(key.split(".", 2)[2], str(value)):
        return mask(str(value))
    return _public(value, mask)


def _public(value: Any, mask: Callable[[str], str] = hide) -> Any:
    """A value of any kind with the passwords in its texts masked."""
    if isinstance(value, str):
        return masked(value, mask)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _public(getattr(value, f.name), mask) for f in fields(value)})
    if isinstance(value, Mapping):
        return {key: _public(inner, mask) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_public(inner, mask) for inner in value)
    return value
