"""A fleet's connections against the limits of its Postgres and its PgBouncer: arithmetic, no run."""

from __future__ import annotations

from collections.abc import Sequence

from harness.domain.budget import Budget, Demand, Fleet, Service, Share


def weigh(fleet: Fleet) -> Budget:
    """Return what each limit is asked for in each situation, and the largest pools that would fit."""
    pooler = fleet.pooler
    pooled = [service for service in fleet.services.values() if service.pgbouncer]
    direct = [service for service in fleet.services.values() if not service.pgbouncer]
    fixed = fleet.jobs + fleet.reserved + (pooler.server_connections if pooler else 0)
    server = _demand(fleet.max_connections, direct, fixed)
    clients = _demand(pooler.client_limit, pooled, 0) if pooler else None
    largest = None
    if pooler:
        size = (server.left + pooler.server_connections) // pooler.pools - pooler.reserve_pool_size
        largest = size if size >= 1 else None
    return Budget(
        fleet=fleet,
        server=server,
        clients=clients,
        shares=tuple(
            _share(name, service, clients if service.pgbouncer and clients else server)
            for name, service in fleet.services.items()
        ),
        largest_default_pool_size=largest,
    )


def _demand(limit: int, services: Sequence[Service], fixed: int) -> Demand:
    steady = fixed + sum(service.connections(service.replicas) for service in services)
    replicas = [service.connections(1) for service in services]
    return Demand(
        limit=limit,
        steady=steady,
        rolling=fixed + sum(_rolling(service) for service in services),
        lost=steady - min(replicas, default=0),
        unnoticed=steady + max(replicas, default=0),
    )


def _share(name: str, service: Service, demand: Demand) -> Share:
    left_over = service.replicas - 1
    pools = (service.replicas + service.surge_replicas) * service.pools
    return Share(
        name=name,
        service=service,
        steady=service.connections(service.replicas),
        rolling=_rolling(service),
        lost=service.connections(left_over),
        load_factor=service.replicas / left_over if left_over else None,
        largest_pool=(demand.left + _rolling(service)) // pools,
    )


def _rolling(service: Service) -> int:
    return service.connections(service.replicas + service.surge_replicas)
