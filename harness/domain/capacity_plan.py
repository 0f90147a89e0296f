"""A fleet as large as a load takes, from what one replica was measured to carry; and what it may open of Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.domain.budget import Budget, Fleet, Service
from harness.domain.capacity import CellCapacity

SERVICE = "service"
"""The name of the one service of a fleet that no file describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a fleet is planned for."""

    limits: Fleet
    """of Postgres and PgBouncer, and one service: its replicas, workers and pools hold as far as they are `named`"""
    named: frozenset[str]
    """keys that were given; all others have defaults, or the values of the replica that was measured"""
    headroom: float
    """share of what the fleet carries that is to stay free at the peak"""
    peak_rps: float | None = None
    """arrivals a second; None: as large a fleet as the limits take"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """A fleet of one cell's service: each replica carries what the one that was measured did."""

    capacity: CellCapacity
    measured: Service
    """the replica that was measured"""
    replica_rps: float
    """at which every fresh launch met the SLO; in proportion where replicas have other workers than the measured one"""
    needed: int | None
    """replicas that the peak takes; None without a peak"""
    most: int
    """replicas that fit the limits at worst; 0: not even one does"""
    budget: Budget
    peak_rps: float | None

    @property
    def service(self) -> Service:
        """The fleet's."""
        return self.budget.fleet.services[SERVICE]

    @property
    def worker_rps(self) -> float:
        """What one process carries."""
        return self.replica_rps / self.service.workers

    @property
    def serving(self) -> int:
        """Replicas that take requests in steady running."""
        return self.service.replicas

    @property
    def serving_rolling(self) -> int:
        """Likewise while they are replaced: without a surge one ends before the next begins."""
        return self.serving if self.service.surge_replicas else self.serving - 1

    @property
    def suffices(self) -> bool:
        """Whether there are as many replicas as the peak takes."""
        return self.needed is None or self.serving >= self.needed

    @property
    def holds(self) -> bool:
        """Whether it carries the load and fits the limits."""
        return self.suffices and self.budget.fits

    def carries_rps(self, replicas: int) -> float:
        """What so many replicas carry within the SLO."""
        return replicas * self.replica_rps


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
