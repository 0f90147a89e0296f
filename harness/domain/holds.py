"""Who holds the connections of a cell: by endpoint how long and doing what, and what is never given back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

PARTS = ("query", "idle_transaction", "idle", "after")
"""What a connection does while a request holds it, until its response starts and then, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHolds:
    """How the requests of one endpoint held connections, over all launches that count."""

    endpoint: str
    """as the app spells it: "GET /heroes/{hero_id}" """
    requests: int
    """that wanted a connection"""
    connections: int
    """the most that one of them wanted at once, whether it got them or not"""
    left: int
    """connections that were still out when their request was over; the figures that follow are of the others"""
    holds: int
    on_loop: int
    """connections taken on the event loop with a driver that stops it when it waits"""
    threads: int
    """how often its requests needed a thread of the threadpool while they had a connection out"""
    statements: int
    seconds: Mapping[str, float]
    """of all holds, by PARTS"""
    in_use: float
    """connections that it had out on average"""

    @property
    def hold_ms(self) -> float:
        """A hold's mean length; NaN without one."""
        return 1000 * sum(self.seconds.values()) / self.holds if self.holds else math.nan

    @property
    def statements_per_hold(self) -> float:
        """NaN without a hold."""
        return self.statements / self.holds if self.holds else math.nan

    def share(self, part: str) -> float:
        """Of the time of its holds, by one of PARTS; NaN without any."""
        total_s = sum(self.seconds.values())
        return self.seconds[part] / total_s if total_s else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSite:
    """A line of the service that takes connections, and how long they are held; known with observe.detail."""

    endpoint: str
    site: str
    """ "shop/db.py:12"; "" where no line of the service's own was on the way"""
    holds: int
    held_s: float
    """of them all"""
    longest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Connections that go out and do not come back."""

    lost: int
    """taken while there was load, whose request was over long before the end, and that were still out"""
    exposed_s: float
    """in which they were taken: until nobody could say whether one would come back, or the pool was empty"""
    low_per_s: float
    """95 % interval of how many are lost a second, by Poisson's law"""
    high_per_s: float
    pool: int | None
    """connections that the pools of a launch's processes may hold; None without a limit"""
    endpoints: tuple[str, ...]
    """whose requests took them, most of them first; "" where no request did"""
    sites: tuple[str, ...] = ()
    """the service's own lines that did, likewise; nothing without observe.detail"""

    @property
    def per_s(self) -> float:
        return self.lost / self.exposed_s

    @property
    def empty_after_s(self) -> float | None:
        """From a full pool until it is empty; None without a limit."""
        return None if self.pool is None else self.pool / self.per_s
