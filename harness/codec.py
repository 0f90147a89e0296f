"""Frozen values as JSON texts that are kept, and back: a run's, a trial's, a machine's profile."""

from __future__ import annotations

import json
from typing import TypeVar

T = TypeVar("T")


def encode(value: object) -> str:
    """A frozen value as indented JSON; infinities and NaN as Python's json writes them."""
    from pydantic import TypeAdapter

    return json.dumps(TypeAdapter(type(value)).dump_python(value, mode="json"), indent=1)


def decode(kind: type[T], text: str) -> T:
    """The inverse of `encode`. Raises ValueError where the text is no such value."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(json.loads(text))
