"""How many requests took how many statements, transactions, checkouts and round trips, by endpoint and status.

Summed and written from what requests left (see `harness.probe.left`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from .accounting import UNKNOWN
from .left import Key, Took, number

_SUMS = ("requests", "statements", "transactions", "checkouts", "round_trips", "first_round_trips")
_ROUND_TRIPS = 3
"""their place in what a request took"""
MOST_KINDS = 200
"""of requests that an endpoint and status have, by what they took: an app of which no two take the same must not fill
memory and files either. What is beyond is summed."""
_MOST_ENDPOINTS = 5000


class Counts:
    """How many requests of which kind there were, taken out each time they are written."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, int], set[Took]] = {}
        """of each endpoint and status, what its requests took so far"""

    def lines(self, requests: Iterable[tuple[Key, Took, object]]) -> Iterator[str]:
        """A line for each segment, endpoint, status and kind among these requests: what to add to all lines before.

        Those of one kind took the same of everything; `alike` of a line says whether its requests are of one.
        """
        found: dict[tuple[Key, Took], int] = {}
        for key, took, _ in requests:
            trips = took[_ROUND_TRIPS]
            kind = (key, took if trips == trips else _comparable(took))  # noqa: PLR0124 -- NaN is not
            found[kind] = found.get(kind, 0) + 1
        others: dict[tuple[Key, bool], list[float]] = {}
        for (key, took), count in found.items():
            *each, fresh = took
            sums = [count, *(count * one for one in each)]
            if self._is_kept(key, took):
                yield _line(key, sums, fresh=fresh, alike=True)
            else:
                before = others.get((key, fresh), [0] * len(sums))
                others[key, fresh] = [one + more for one, more in zip(before, sums)]
        for (key, fresh), sums in others.items():
            yield _line(key, sums, fresh=fresh, alike=False)

    def _is_kept(self, key: Key, took: Took) -> bool:
        if len(self._kinds) >= _MOST_ENDPOINTS:  # an app that makes them as it goes
            self._kinds.clear()
        kinds = self._kinds.setdefault(key[1:], set())
        if len(kinds) < MOST_KINDS:
            kinds.add(took)
        return took in kinds


def _comparable(took: Took) -> Took:
    """Of unknown round trips, UNKNOWN itself in the place of each NaN: of what was added to it, no two are the same."""
    statements, begun, checkouts, _, first, fresh = took
    return statements, begun if begun == begun else UNKNOWN, checkouts, UNKNOWN, first, fresh  # noqa: PLR0124


def _line(key: Key, sums: Iterable[float], *, fresh: bool, alike: bool) -> str:
    segment, method, endpoint, status = key
    of = {"segment": number(segment), "method": method, "route": endpoint, "status": status}
    return json.dumps({**of, "fresh": fresh, "alike": alike, **dict(zip(_SUMS, map(_known, sums)))}) + "\n"


def _known(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 -- NaN, which JSON has not
