"""A fleet as large as a load takes, from what one replica was measured to carry; and what it may open of Postgres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.domain.budget import SERVICE, Budget, Fleet, Service
from harness.domain.capacity import CellCapacity

SituationName = Literal["steady", "lost", "rolling"]
"""also what a `Demand` calls its connections then"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a fleet is planned for."""

    limits: Fleet
    """of Postgres and PgBouncer, and one service: its replicas and workers hold as far as they are `named`"""
    named: frozenset[str]
    """keys that were given; all others have defaults, or the values of the replica that was measured"""
    headroom: float
    """share of what the fleet carries that is to stay free at the peak"""
    peak_rps: float | None = None
    """arrivals a second; None: as large a fleet as the limits take"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a fleet carries at some time, and what it may open then."""

    name: SituationName
    """in steady running, with one replica lost, while all replicas are replaced"""
    replicas: int
    """that take requests"""
    carries_rps: float
    """within the SLO"""
    used_share: float | None
    """of that, at the peak; None without a peak, infinite where nothing is carried"""
    connections: int
    """of Postgres at most, with jobs and what is reserved"""
    clients: int | None
    """of PgBouncer at most; None without one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """A fleet of one cell's service: each replica carries what the one that was measured did."""

    capacity: CellCapacity
    measured: Service
    """the replica that was measured"""
    wanted: Wanted
    replica_rps: float
    """at which every fresh launch met the SLO; in proportion where replicas have other workers than the measured one"""
    needed: int | None
    """replicas that the peak takes; None without a peak"""
    most: int
    """replicas that fit the limits at worst; 0: not even one does"""
    budget: Budget

    @property
    def service(self) -> Service:
        """The fleet's."""
        return self.budget.fleet.services[SERVICE]

    @property
    def worker_rps(self) -> float:
        """What one process carries."""
        return self.replica_rps / self.service.workers

    @property
    def suffices(self) -> bool:
        """Whether there are as many replicas as the peak takes."""
        return self.needed is None or self.service.replicas >= self.needed

    @property
    def holds(self) -> bool:
        """Whether it carries the load and fits the limits."""
        return self.suffices and self.budget.fits

    @property
    def situations(self) -> tuple[Situation, ...]:
        """Steady running, a replica lost, a rolling deploy: without a surge one replica ends before the next begins."""
        replicas = self.service.replicas
        deploying = replicas if self.service.surge_replicas else replicas - 1
        return (
            self._situation("steady", replicas),
            self._situation("lost", replicas - 1),
            self._situation("rolling", deploying),
        )

    def _situation(self, name: SituationName, serving: int) -> Situation:
        carries_rps, peak_rps, clients = serving * self.replica_rps, self.wanted.peak_rps, self.budget.clients
        return Situation(
            name=name,
            replicas=serving,
            carries_rps=carries_rps,
            used_share=None if peak_rps is None else peak_rps / carries_rps if carries_rps else math.inf,
            connections=getattr(self.budget.server, name),
            clients=None if clients is None else getattr(clients, name),
        )

    def peak_at_most_rps(self, replicas: int) -> float:
        """The highest peak for which so many replicas are enough: headroom left, and carried whole when one is lost."""
        return self.replica_rps * min(replicas * (1 - self.wanted.headroom), replicas - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityPlan:
    """A fleet for each cell that has a capacity, and which of them to run."""

    wanted: Wanted
    cells: Sequence[CellCapacity]
    fleets: tuple[FleetPlan, ...]
    """of the cells whose capacity and pools are known, the one to run first"""

    @property
    def best(self) -> FleetPlan | None:
        """The one to run, whether it holds or not; None where no cell has a capacity."""
        return next(iter(self.fleets), None)
