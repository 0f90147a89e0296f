"""The experiment file `poolbench init` writes: every key with its default and its meaning, all of it optional.

The text is made from the value classes themselves, so it cannot fall behind them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from harness.domain import experiment as schema
from harness.plan.json_schema import SCHEMA_FILE
from harness.plan.schema import meanings

HEADER = """\
#:schema ./{schema_file}
# Which question does this experiment answer?
# Lines that are commented out show the defaults. Check it with: poolbench plan {name}.toml
schema_version = 1
name = "{name}"
question = "Which pool size should this service run with?"

# The cells are the product of these lists. Any key of [pool], [session], [target], [database], [network] and [load]
# may vary.
[matrix]
pool.pool_size = [5, 10, 20]
"""
BASE: Mapping[str, Mapping[str, Any]] = {"load": {"rate": "60%"}, "pool": {"max_overflow": 0}}
"""Keys that the written file sets, so that it runs as it is."""


def experiment_text(name: str) -> str:
    """A complete experiment file that validates and runs."""
    return HEADER.format(name=name, schema_file=SCHEMA_FILE) + "".join(_section(key, cls) for key, cls in _sections())


def _sections() -> Iterator[tuple[str, type]]:
    hints = get_type_hints(schema.Experiment)
    for field in fields(schema.Experiment):
        if is_dataclass(hints[field.name]):
            yield field.name, hints[field.name]


def _section(key: str, cls: type) -> str:
    return "\n".join((f"\n[{key}]", *_lines(key, cls))) + "\n"


def _lines(key: str, cls: type, prefix: str = "") -> Iterator[str]:
    described, defaults, set_here = meanings(cls), cls(), BASE.get(key, {})
    for field in fields(cls):
        if field.metadata:  # it says that this is no key
            continue
        if is_dataclass(inner := getattr(defaults, field.name)):
            yield from _lines(f"{key}.{field.name}", type(inner), f"{prefix}{field.name}.")
            continue
        chosen = field.name in set_here
        value = set_here[field.name] if chosen else getattr(defaults, field.name)
        name = f"{'' if chosen else '# '}{prefix}{field.name}"
        yield f"{name} = {_toml(value)}  # {described.get(field.name, '')}".rstrip(" #")


def _toml(value: Any) -> str:
    """A value as TOML; None, which TOML lacks, as an empty string to fill in."""
    if value is None:
        return '""'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)
