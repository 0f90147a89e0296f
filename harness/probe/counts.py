"""How many requests took how many statements, transactions, checkouts and round trips, by endpoint and status.

A request leaves a tuple when all its work is done. Summing, naming the endpoint and writing are left to the thread that
writes, which does it twice a second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from .accounting import UNKNOWN, Headers

ARRIVAL_HEADER = b"x-poolbench-arrival"
NO_SEGMENT = -1
"""of a request without the header, or with one that is none of ours"""

Counted = tuple[Headers, str, str, Any, int, int, float, int, float, int, bool]
"""What a request leaves: its headers, method, path, the route that was chosen for it (None where none was), the status
of its answer (0 where it began none), its statements, transactions, checkouts, round trips and those of them that were
first uses, and whether a connection was fresh."""
_Key = tuple[bytes, str, str, int]
"""segment, method, endpoint, status"""
_Took = tuple[int, float, int, float, int, bool]
"""from the statements on"""

_SUMS = ("requests", "statements", "transactions", "checkouts", "round_trips", "first_round_trips")
MOST_KINDS = 200
"""of requests that an endpoint and status have, by what they took: an app of which no two take the same must not fill
memory and files either. What is beyond is summed."""
_MOST_UNROUTED = 200
"""names for paths that no route matched: whoever tries paths at random must not fill memory and files"""
_MOST_ROUTES = 5000
_OTHER_PATHS = "(other)"
_ID = re.compile(r"\d+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?=\D*\d)[0-9a-fA-F]{16,}")
_LONGEST_SEGMENT = 10
"""digits; a longer one is none of ours"""


class Endpoints:
    """Names of endpoints: the path as the app's route spells it, parameters in braces, prefixes included."""

    def __init__(self) -> None:
        self._forms: dict[int, tuple[Any, str, int]] = {}
        """by identity: the route, kept so that no other takes its place, its path, and the slashes in it"""
        self._unrouted: set[str] = set()

    def name(self, path: str, route: Any) -> str:
        """A route knows its path from where it is mounted only; what comes before is taken from the request's path."""
        known = self._forms.get(id(route))
        if known is None:
            form = getattr(route, "path_format", None) or getattr(route, "path", None)
            if not isinstance(form, str):
                return self._without_route(path)
            if len(self._forms) >= _MOST_ROUTES:  # an app that makes them as it goes
                self._forms.clear()
            known = self._forms[id(route)] = (route, form, form.count("/"))
        _, form, slashes = known
        return form if path.count("/") == slashes else _prefix(path, route) + form

    def _without_route(self, path: str) -> str:
        name = own_template(path)
        if name not in self._unrouted:
            if len(self._unrouted) >= _MOST_UNROUTED:
                return _OTHER_PATHS
            self._unrouted.add(name)
        return name


def own_template(path: str) -> str:
    """The path with `{id}` for each part that is a number, a UUID or a long hexadecimal one."""
    return "/".join("{id}" if _ID.fullmatch(part) else part for part in path.split("/"))


def _prefix(path: str, route: Any) -> str:
    """What stands before the part of the path that the route matches; "" where it matches all of it."""
    matches = getattr(getattr(route, "path_regex", None), "match", None)
    if matches is None:
        return ""
    start = 0
    while start >= 0:
        if matches(path[start:]):
            return own_template(path[:start])
        start = path.find("/", start + 1)
    return ""


class Counts:
    """How many requests of which kind there were, taken out each time they are written."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._kinds: dict[tuple[str, str, int], set[_Took]] = {}
        """of each endpoint and status, what its requests took so far"""

    def lines(self, requests: Iterable[Counted]) -> Iterator[str]:
        """A line for each segment, endpoint, status and kind among these requests: what to add to all lines before.

        Those of one kind took the same of everything; `alike` of a line says whether its requests are of one.
        """
        found: dict[tuple[_Key, _Took], int] = {}
        name_of = self._endpoints.name
        # Hundreds of times a second on a thread that shares the interpreter with the service.
        for headers, method, path, route, status, statements, begun, checkouts, trips, first, fresh in requests:
            if trips != trips:  # noqa: PLR0124 -- NaN, of which no two are the same; one that always is
                trips, begun = UNKNOWN, begun if begun == begun else UNKNOWN  # noqa: PLR0124, PLW2901
            took = (statements, begun, checkouts, trips, first, fresh)
            kind = ((segment_of(headers), method, name_of(path, route), status), took)
            found[kind] = found.get(kind, 0) + 1
        others: dict[tuple[_Key, bool], list[float]] = {}
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

    def _is_kept(self, key: _Key, took: _Took) -> bool:
        if len(self._kinds) >= _MOST_ROUTES:  # an app that makes them as it goes
            self._kinds.clear()
        kinds = self._kinds.setdefault(key[1:], set())
        if len(kinds) < MOST_KINDS:
            kinds.add(took)
        return took in kinds


def _line(key: _Key, sums: Iterable[float], *, fresh: bool, alike: bool) -> str:
    segment, method, endpoint, status = key
    of = {"segment": number(segment), "method": method, "route": endpoint, "status": status}
    return json.dumps({**of, "fresh": fresh, "alike": alike, **dict(zip(_SUMS, map(_known, sums)))}) + "\n"


def segment_of(headers: Headers) -> bytes:
    """The segment of a request's arrival as its header spells it; empty without one."""
    for name, value in headers:
        if name == ARRIVAL_HEADER:
            return value.partition(b"-")[0]
    return b""


def number(segment: bytes) -> int:
    """The same as a number, NO_SEGMENT where it is none of ours."""
    return int(segment) if segment.isdigit() and len(segment) < _LONGEST_SEGMENT else NO_SEGMENT


def _known(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 -- NaN, which JSON has not
