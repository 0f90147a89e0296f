"""In which order cells take their turns: balanced, so that each follows each other one about equally often.

A Williams design (E. J. Williams, "Experimental designs balanced for the estimation of residual effects of
treatments", 1949): n orders of n things for an even n, 2 n for an odd one, in which every thing stands once at every
place and follows every other one equally often. What a turn leaves behind then touches all its followers alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def balanced_orders(things: Sequence[T], draw: random.Random) -> Iterator[tuple[T, ...]]:
    """Endless orders of all the things: Williams designs one after the other, each with names and rows drawn anew."""
    while things:
        names = draw.sample(things, k=len(things))
        rows = range(len(things) * (1 + len(things) % 2))
        for row in draw.sample(rows, k=len(rows)):
            yield tuple(names[place] for place in _williams(len(things), row))


def _williams(count: int, row: int) -> Iterator[int]:
    """A row of the Williams design of 0 .. count - 1; from `count` on they are the first ones backwards."""
    steps = range(count) if row < count else reversed(range(count))
    for step in steps:
        place = (step + 1) // 2 if step % 2 else -step // 2
        yield (place + row) % count
