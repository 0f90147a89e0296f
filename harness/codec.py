"""Frozen values as JSON texts that are kept, and back: a run's, a trial's, a machine's profile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
_adapters: dict[type, TypeAdapter[Any]] = {}


def encode(value: object) -> str:
    """A frozen value as indented JSON; infinities and NaN as Python's json writes them."""
    return json.dumps(_adapter(type(value)).dump_python(value, mode="json"), indent=1)


def decode(kind: type[T], text: str) -> T:
    """The inverse of `encode`. Raises ValueError where the text is no such value."""
    value: T = _adapter(kind).validate_python(json.loads(text))
    return value


def _adapter(kind: type) -> TypeAdapter[Any]:
    """Return the kind's, made once: that takes longer than all that is done with it."""
    from pydantic import TypeAdapter

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
