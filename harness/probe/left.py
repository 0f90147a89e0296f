"""What each request leaves when all its work is done, and under which segment, method, endpoint and status.

A request leaves tuples. Naming the endpoint, summing and writing are left to the thread that writes, twice a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .accounting import Headers

ARRIVAL_HEADER = b"x-poolbench-arrival"
NO_SEGMENT = -1
"""of a request without the header, or with one that is none of ours"""

Took = tuple[int, float, int, float, int, bool]
"""Statements, transactions, checkouts, round trips and those of them that were first uses, and whether a connection was
fresh."""
Held = tuple[int, int, int, int, int, int, int, int, int, int]
"""The most connections that it wanted at once, then the sums of `holds.SUMS` from `left` on, times in nanoseconds."""
Left = tuple[bytes, str, str, Any, int, Took, "Held | tuple[()]"]
"""What a request leaves: its segment, method, path, the route that was chosen for it (None where none was), the status
of its answer (0 where it began none), what it took, and how it held connections: nothing where it wanted none. The
segment rather than the headers: what is kept until it is written cannot be the memory that the next request has in its
cache."""
Key = tuple[bytes, str, str, int]
"""segment, method, endpoint, status"""

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

    def keyed(self, requests: Iterable[Left]) -> list[tuple[Key, Took, Held | tuple[()]]]:
        """What these requests took and held, each under its key."""
        # Hundreds of times a second on a thread that shares the interpreter with the service, as all that follows.
        name_of = self.name
        return [
            ((segment, method, name_of(path, route), status), took, held)
            for segment, method, path, route, status, took, held in requests
        ]

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


def segment_of(headers: Headers) -> bytes:
    """The segment of a request's arrival as its header spells it; empty without one."""
    for name, value in headers:
        if name == ARRIVAL_HEADER:
            return value.partition(b"-")[0]
    return b""


def number(segment: bytes) -> int:
    """The same as a number, NO_SEGMENT where it is none of ours."""
    return int(segment) if segment.isdigit() and len(segment) < _LONGEST_SEGMENT else NO_SEGMENT
