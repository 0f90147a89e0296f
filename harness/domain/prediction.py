"""What would be: a cell with another pool, rate, distance or number of workers, computed from one that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    "dials",
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
    outside_ms: float = math.nan
    """of a latency neither wait nor hold, on average"""
    cpu: float = math.nan
    """share of a core that each worker uses"""
    erlang_wait_ms_p95: float = math.nan
    """what Erlang's C says of the wait: as if holds were exponential, and the queue had been there for ever"""

    @property
    def utilisation(self) -> float:
        """Of the connections; beyond 1 the queue grows for as long as the load lasts."""
        return self.in_use / (self.setting.workers * self.setting.connections)


NEAR = 0.2
"""A figure that differs from what was predicted by a smaller share is as predicted, or by less than NEAR_MS."""
NEAR_MS = 1.0


def is_near(predicted_ms: float, measured_ms: float) -> bool:
    """Whether a prediction came true; of two that are infinite it did."""
    if math.isinf(predicted_ms) or math.isinf(measured_ms):
        return predicted_ms == measured_ms
    return abs(predicted_ms - measured_ms) <= max(NEAR * measured_ms, NEAR_MS)


Slowed = Literal["database", "loop", "outside", "spread", "cpu", "queue"]
"""Why a cell is not as predicted. The first two, parts of its holds, were not as long as those of the source; outside:
the rest of its latencies was not. spread: on average all were, or the other way about, so it is which requests had the
long ones, or how they were handed on. cpu: a worker used more of its core than holds can be told for. queue: with its
own holds it would have been otherwise as well: connections were not handed out in order, or something stood still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A measured cell, at one rate, beside what was predicted of it."""

    cell_id: str
    label: str
    predicted: Prediction
    is_source: bool
    """it is what was predicted from"""
    wait_ms_p95: float
    latency_ms_p95: float
    failed: float
    slowed: Slowed | None
    """None where it is as predicted, or nothing was predicted"""
    by_ms: float = math.nan
    """how much longer that part was than predicted, on average; NaN of the last three"""
    again_ms: float = math.nan
    """the p95 that its own requests come to, sent through its pool once more; NaN where they were not"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One load, distance and number of workers with one size of the pool after another."""

    setting: Setting
    """of the source, but for what was asked"""
    factors: Sequence[tuple[str, object]]
    """the matrix keys of its cells that are no part of a setting, with their values"""
    source: str
    """label of the cell whose requests it was made from; empty where nothing could be"""
    declined: WhyDeclined | None
    """why nothing is predicted of any size"""
    predicted: Sequence[Prediction]
    """by size"""
    points: Sequence[Point]
    """by size"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a prediction is wanted of, beside what was measured; nothing where that is to stay."""

    pool_sizes: Sequence[int] = ()
    max_overflow: int | None = None
    rates_rps: Sequence[float] = ()
    rtts_ms: Sequence[float] = ()
    workers: Sequence[int] = ()
