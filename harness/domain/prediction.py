"""What would be: a cell with another pool, rate, distance or number of workers, computed from one that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

HoldPart = Literal["database", "distance", "loop"]
"""database: while Postgres worked on it, or waited, for it. distance: of the way there and back that was added on
purpose. loop: all that the service itself takes, its own work and its waiting for the event loop and its CPU."""

WhyDeclined = Literal[
    "closed",
    "no_probe",
    "no_pool",
    "pgbouncer",
    "several_requests",
    "several_connections",
    "blocking",
    "threads",
    "failing",
    "saturated",
    "worker_cpu",
    "one_load",
    "outside_loads",
    "round_trips",
]
"""Why nothing is predicted. The first ten are of the source, the others of what is asked of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a prediction may differ in from what was measured."""

    pool_size: int
    max_overflow: int
    pool_timeout_s: float
    rate_rps: float
    """arrivals a second, at all workers together"""
    rtt_ms: float
    """between service and Postgres, added on purpose"""
    workers: int

    @property
    def connections(self) -> int:
        """Most of one worker."""
        return self.pool_size + self.max_overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one setting would come to. Figures are NaN where it was declined."""

    setting: Setting
    declined: WhyDeclined | None = None
    wait_ms_p95: float = math.nan
    """for a connection, of the requests that got one"""
    latency_ms_p95: float = math.nan
    """of all that is offered, failures infinitely slow"""
    failed: float = math.nan
    """share of what is offered that gives up waiting for a connection, or whose client does"""
    in_use: float = math.nan
    """connections out on average, by Little's law: rate x hold, of all workers"""
    hold_ms: Mapping[HoldPart, float] | None = None
    """mean, by part"""
    cpu: float = math.nan
    """share of a core that each worker uses"""
    erlang_wait_ms_p95: float = math.nan
    """what Erlang's C says of the wait: as if holds were exponential, and the queue had been there for ever"""

    @property
    def utilisation(self) -> float:
        """Of the connections; beyond 1 the queue grows for as long as the load lasts."""
        return self.in_use / (self.setting.workers * self.setting.connections)
