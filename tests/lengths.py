"""How long simulations are: in full where properties are tried with many examples, a part of that while one works."""

from __future__ import annotations

from hypothesis import settings

THOROUGH = settings.default is not None and settings.default.max_examples >= 100


def length(full: int, part: int) -> int:
    """Return how many launches, seeds or rows to simulate."""
    return full if THOROUGH else part
