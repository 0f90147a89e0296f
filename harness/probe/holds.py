"""Who holds connections: by endpoint for how long and doing what, and which connections nobody gave back.

Of requests that wanted a connection, from what they left (see `harness.probe.left`). A connection that is still out a
second after its request was over, or after it was taken by nobody's request, is written down once, and once more should
it come back: what never comes back is a leak, however few there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .accounting import Account
from .left import Endpoints, Held, Key, number, segment_of

SUMS = (
    "requests",
    "left",
    "holds",
    "on_loop",
    "threads",
    "statements",
    "hold_s",
    "query_s",
    "idle_transaction_s",
    "after_s",
)
_FIRST_TIME = SUMS.index("hold_s")
LONG_OUT_NS = 1_000_000_000
"""After its request is over a connection may be on its way back: closed by a task, or by the garbage collector."""
IN_PROGRESS = 0


def hold_lines(requests: Iterable[tuple[Key, object, Held | tuple[()]]]) -> Iterator[str]:
    """One line for each segment, endpoint, status and number of connections at once: to be added up."""
    found: dict[tuple[Key, int], list[Held]] = {}
    for key, _, held in requests:
        if held:
            found.setdefault((key, held[0]), []).append(held)
    for ((segment, method, endpoint, status), most), alike in found.items():
        total = [len(alike), *map(sum, list(zip(*alike))[1:])]
        key_of_line = {"segment": number(segment), "method": method, "route": endpoint, "status": status}
        values = (*total[:_FIRST_TIME], *(time_ns / 1e9 for time_ns in total[_FIRST_TIME:]))
        yield json.dumps(key_of_line | {"connections": most} | dict(zip(SUMS, values))) + "\n"


class Unreturned:
    """The connections that are out for no request in progress."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._said: dict[int, tuple[Any, dict[str, Any]]] = {}
        """by when it was taken: the marks and lines of those that are not back"""

    def lines(self, out: Iterable[Any], now_ns: int) -> Iterator[str]:
        """A line for each connection that is found so, with `back_ns` null, and another when it is back.

        Args:
            out: the marks of all connections that are out (see `harness.probe.pool`).
            now_ns: the time.
        """
        there = set()
        for mark in out:
            taken_ns, account = mark.used_since_ns, mark.account
            over_ns = taken_ns if account is None else account.ended_ns
            there.add(taken_ns)
            if over_ns == IN_PROGRESS or now_ns - over_ns < LONG_OUT_NS or taken_ns in self._said or taken_ns < 0:
                continue
            scope = {} if account is None else account.scope
            line = {
                "taken_ns": taken_ns,
                "over_ns": over_ns,
                "back_ns": None,
                "method": scope.get("method", ""),
                "route": self._endpoints.name(scope["path"], scope.get("route")) if scope else "",
                "site": mark.site,
            }
            self._said[taken_ns] = (mark, line)
            yield json.dumps(line) + "\n"
        for taken_ns in self._said.keys() - there:
            mark, line = self._said.pop(taken_ns)
            yield json.dumps(line | {"back_ns": mark.back_ns}) + "\n"


def site_lines(holds: Iterable[tuple[Account, str, int]], endpoints: Endpoints) -> Iterator[str]:
    """One line for each segment, endpoint and line of the service that took these connections, with the longest."""
    sums: dict[tuple[bytes, str, str, str], list[int]] = {}
    for account, site, held_ns in holds:
        scope = account.scope
        route = endpoints.name(scope["path"], scope.get("route"))
        total = sums.setdefault((segment_of(account.headers), scope.get("method", ""), route, site), [0, 0, 0])
        total[0] += 1
        total[1] += held_ns
        total[2] = max(total[2], held_ns)
    for (segment, method, route, site), (count, held_ns, longest_ns) in sums.items():
        key = {"segment": number(segment), "method": method, "route": route, "site": site}
        yield json.dumps(key | {"holds": count, "held_s": held_ns / 1e9, "longest_s": longest_ns / 1e9}) + "\n"
