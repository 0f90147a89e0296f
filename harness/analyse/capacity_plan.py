"""From what one replica carries to a fleet: how many replicas, and what they may open of Postgres; arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.analyse.budget import weigh
from harness.domain.budget import COUNT_MAX, SERVICE, Budget, Fleet, PgBouncer, Service
from harness.domain.capacity import CellCapacity
from harness.domain.capacity_plan import CapacityPlan, FleetPlan, Wanted


def plan_capacity(cells: Sequence[CellCapacity], wanted: Wanted) -> CapacityPlan:
    """Plan a fleet of each cell that was shown to carry something, with pools whose size is known.

    The one to run comes first: of those that hold the one that takes the fewest processes, then the fewest connections.
    """
    fleets = [
        _fleet_of(cell, cell.replica, cell.found.highest_pass_rps, wanted)
        for cell in cells
        if cell.found is not None
        and cell.found.stop == "bracketed"
        and cell.found.highest_pass_rps is not None
        and cell.replica is not None
    ]
    return CapacityPlan(wanted=wanted, cells=cells, fleets=tuple(sorted(fleets, key=_order)))


def replicas_needed(peak_rps: float, replica_rps: float, headroom: float) -> int:
    """Return how many replicas leave `headroom` free at the peak, and carry it whole when one of them is lost."""
    with_headroom = _whole(peak_rps / (replica_rps * (1 - headroom)))
    with_one_lost = _whole(peak_rps / replica_rps) + 1
    return max(with_headroom, with_one_lost)


def _whole(replicas: float) -> int:
    """Rounded up, but not for what a float is off: 90 / (100 * 0.9) is one."""
    return math.ceil(round(replicas, 9))


def _fleet_of(cell: CellCapacity, measured: Service, carried_rps: float, wanted: Wanted) -> FleetPlan:
    asked = wanted.limits.services[SERVICE]
    workers = asked.workers if "workers" in wanted.named else measured.workers
    service = replace(
        measured,
        workers=workers,
        jobs=asked.jobs,
        surge=asked.surge,
        pgbouncer=asked.pgbouncer or measured.pgbouncer,
    )
    limits = replace(wanted.limits, pgbouncer=_pooler(cell, wanted.limits.pgbouncer))
    replica_rps = carried_rps * workers / measured.workers
    needed = None if wanted.peak_rps is None else replicas_needed(wanted.peak_rps, replica_rps, wanted.headroom)
    most = _most_replicas(limits, service)
    replicas = asked.replicas if "replicas" in wanted.named else needed or max(1, most)
    return FleetPlan(
        capacity=cell,
        measured=measured,
        wanted=wanted,
        replica_rps=replica_rps,
        needed=needed,
        most=most,
        budget=_weighed(limits, service, replicas),
    )


def _pooler(cell: CellCapacity, asked: PgBouncer | None) -> PgBouncer | None:
    """The PgBouncer that was asked for; where the replica was measured behind one, its pool unless another is given."""
    target = cell.cell.target
    if not target.pgbouncer or (asked is not None and asked.default_pool_size is not None):
        return asked
    return replace(asked or PgBouncer(), default_pool_size=target.pgbouncer_pool_size)


def _weighed(limits: Fleet, service: Service, replicas: int) -> Budget:
    return weigh(replace(limits, services={SERVICE: replace(service, replicas=replicas)}))


def _most_replicas(limits: Fleet, service: Service) -> int:
    """Return how many replicas fit at worst, 0 where not even one does: by bisection, since more never ask for less."""
    fits, does_not = 0, COUNT_MAX + 1
    while does_not - fits > 1:
        middle = (fits + does_not) // 2
        fits, does_not = (middle, does_not) if _weighed(limits, service, middle).fits else (fits, middle)
    return fits


def _order(fleet: FleetPlan) -> tuple[bool, float, int]:
    """Fewest processes for the peak first; without a peak what each carries tells the same."""
    processes = -fleet.worker_rps if fleet.needed is None else fleet.needed * fleet.service.workers
    return not fleet.holds, processes, fleet.budget.shares[0].rolling
