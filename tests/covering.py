"""Covering sets: few rows in which every two values of different factors meet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from typing import Any

Row = tuple[Any, ...]
Pair = tuple[tuple[int, Any], tuple[int, Any]]


def covering(factors: Sequence[Sequence[Any]], allowed: Callable[[Row], bool]) -> Iterator[Row]:
    """Few rows in which every two values of different factors meet, if any allowed row has both; greedy, seeded."""
    rows = [row for row in product(*factors) if allowed(row)]
    random.Random(14).shuffle(rows)
    missing = {pair for row in rows for pair in _pairs(row)}
    while missing:
        best = max(rows, key=lambda row: len(missing & _pairs(row)))
        missing -= _pairs(best)
        yield best


def _pairs(row: Row) -> set[Pair]:
    return set(combinations(enumerate(row), 2))
