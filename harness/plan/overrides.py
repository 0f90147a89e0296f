"""`--set key=value[,value...]`: one value replaces a key of the file, several make it a factor of the matrix."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.plan.lines import MAX_DEPTH, too_deep
from harness.plan.schema import drop_key, set_key

_ITEM = re.compile(r"""(?:"[^"]*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^,])+""")
_REPLACES: Mapping[tuple[str, Any], tuple[str, ...]] = {
    ("load.rate", None): ("load.rate_rps",),
    ("load.rate_rps", None): ("load.rate",),
    ("load.model", "closed"): ("load.rate", "load.rate_rps"),
    ("load.model", "open"): ("load.users",),
}
"""(key, value or None for any) -> what it makes meaningless in the file."""


def parse_override(text: str) -> tuple[str, tuple[Any, ...]]:
    """Key and values, typed as TOML would, else text: "pool.pool_size=5,10" -> ("pool.pool_size", (5, 10))."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not (key and equals and value.strip()):
        raise UsageError(
            f"--set {key or text!r} has no value." if key else f"--set {text!r} names no key.",
            next_step="Write --set key=value, for example --set pool.pool_size=5,10.",
        )
    if too_deep(value):
        raise UsageError(
            f"--set {key}: lists and tables lie more than {MAX_DEPTH} deep in each other.", next_step="Close a bracket."
        )
    whole = _as_toml(f"[{value}]")
    if isinstance(whole, list):
        return key, tuple(whole)
    return key, tuple(_typed(item.strip()) for item in _ITEM.findall(value))


def replaced_by(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that make no sense any more where these are set, by dotted key, and are not set themselves."""
    because = [*((key, None) for key in given), *(own for own in given.items() if isinstance(own[1], str))]
    return tuple(excluded for cause in because for excluded in _REPLACES.get(cause, ()) if excluded not in given)


def apply_overrides(raw: dict[str, Any], matrix: dict[str, list[Any]], overrides: Sequence[str]) -> frozenset[str]:
    """Change the file's tables and flattened matrix in place; returns the keys that were set.

    Setting one of two keys that exclude each other drops the file's other one. Raises UsageError.
    """
    parsed = dict(parse_override(text) for text in overrides)
    for excluded in replaced_by({key: _only(values) for key, values in parsed.items()}):
        drop_key(raw, excluded)
        matrix.pop(excluded, None)
    for key, values in parsed.items():
        if len(values) == 1:
            matrix.pop(key, None)
            _set(raw, key, values[0])
        else:
            matrix[key] = list(values)
    return frozenset(parsed)


def _only(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _set(raw: dict[str, Any], key: str, value: Any) -> None:
    try:
        set_key(raw, key, value)
    except KeyError:
        raise UsageError(
            f"--set {key}: there is no such key, since part of it is a value.",
            next_step="`poolbench init` prints every key.",
        ) from None


def _as_toml(text: str) -> Any:
    try:
        document = tomllib.loads(f"v = {text}")
    except ValueError:  # no TOML, or a number with thousands of digits
        return None
    return document["v"] if len(document) == 1 else None


def _typed(item: str) -> Any:
    value = _as_toml(item)
    return item if value is None else value
