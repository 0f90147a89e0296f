"""A fleet that shares one Postgres, and the connections it may open at most.

`Fleet` and what it holds are the schema of a services file as well: `harness.plan.budget` validates TOML into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

POSTGRES_MAX = 262_143
"""the most that Postgres takes for max_connections"""
COUNT_MAX = 100_000
"""of anything that is counted; no fleet comes near"""
SERVICE = "service"
"""the name of the one service of a fleet that no file describes"""
_STRICT: Mapping[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service: equal replicas, each with equal processes, each with equal engines."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    replicas: Annotated[int, Ge(1), Le(COUNT_MAX)]
    """instances of the service"""
    workers: Annotated[int, Ge(1), Le(COUNT_MAX)] = 1
    """processes of a replica, each of which has pools of its own"""
    engines: Annotated[int, Ge(1), Le(COUNT_MAX)] = 1
    """engines of a process, each of which has a pool of its own"""
    pool_size: Annotated[int, Ge(1), Le(COUNT_MAX)] = 5
    """SQLAlchemy's pool_size"""
    max_overflow: Annotated[int, Ge(0), Le(COUNT_MAX)] = 10
    """SQLAlchemy's max_overflow"""
    jobs: Annotated[int, Ge(0), Le(COUNT_MAX)] = 0
    """connections of its jobs (migrations, cron), straight to Postgres"""
    surge: str = "25%"
    """replicas that a rolling deploy starts before old ones end: a share, rounded up, or a count; as maxSurge"""
    pgbouncer: bool = False
    """whether its pools connect to PgBouncer instead of Postgres"""

    @property
    def surge_replicas(self) -> int:
        """Replicas beyond the usual ones during a rolling deploy, a share of them rounded up as Kubernetes does."""
        if self.surge.endswith("%"):
            return -(-self.replicas * int(self.surge[:-1]) // 100)
        return int(self.surge)

    @property
    def pools(self) -> int:
        """Pools of one replica."""
        return self.workers * self.engines

    def connections(self, replicas: int) -> int:
        """Most connections that the pools of so many replicas can hold."""
        return replicas * self.pools * (self.pool_size + self.max_overflow)


@dataclass(frozen=True, slots=True, kw_only=True)
class PgBouncer:
    """PgBouncer between services and Postgres, with its own names and defaults."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    default_pool_size: Annotated[int, Ge(1), Le(COUNT_MAX)] | None = None
    """server connections for each database and user; 20 when nobody says so"""
    reserve_pool_size: Annotated[int, Ge(0), Le(COUNT_MAX)] = 0
    """further ones for each database and user when clients have waited"""
    databases: Annotated[int, Ge(1), Le(COUNT_MAX)] = 1
    """databases that are connected to"""
    users: Annotated[int, Ge(1), Le(COUNT_MAX)] = 1
    """users that connect, each to each database"""
    instances: Annotated[int, Ge(1), Le(COUNT_MAX)] = 1
    """processes of PgBouncer, each of which has pools and limits of its own"""
    max_client_conn: Annotated[int, Ge(1), Le(1_000_000)] = 100
    """clients that one instance takes"""

    @property
    def pool_size(self) -> int:
        """Server connections for each database and user, the reserve aside."""
        return 20 if self.default_pool_size is None else self.default_pool_size

    @property
    def pools(self) -> int:
        """A pool for each instance, database and user."""
        return self.instances * self.databases * self.users

    @property
    def server_connections(self) -> int:
        """Most connections to Postgres."""
        return self.pools * (self.pool_size + self.reserve_pool_size)

    @property
    def client_limit(self) -> int:
        """Clients that all instances together take."""
        return self.instances * self.max_client_conn


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Services that share one Postgres."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = _STRICT

    max_connections: Annotated[int, Ge(1), Le(POSTGRES_MAX)] = 100
    """of the server"""
    reserved: Annotated[int, Ge(0), Le(POSTGRES_MAX)] = 3
    """superuser_reserved_connections + reserved_connections of the server"""
    services: Mapping[str, Service] = field(default_factory=dict)
    """by name"""
    pgbouncer: PgBouncer | None = None
    """with its defaults where a service goes through one that is not described"""

    @property
    def jobs(self) -> int:
        """Connections of all jobs."""
        return sum(service.jobs for service in self.services.values())

    @property
    def pooler(self) -> PgBouncer | None:
        """The PgBouncer that a service goes through, if one does."""
        used = any(service.pgbouncer for service in self.services.values())
        return (self.pgbouncer or PgBouncer()) if used else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one limit is asked for, in connections."""

    limit: int
    steady: int
    rolling: int
    """while all services deploy at once"""
    lost: int
    """with the smallest replica gone"""
    unnoticed: int
    """with the largest replica gone and replaced before the server has noticed"""

    @property
    def worst(self) -> int:
        """The most that is asked for in steady running and while deploying."""
        return max(self.steady, self.rolling)

    @property
    def left(self) -> int:
        """What is left of the limit at worst; below zero: what is lacking."""
        return self.limit - self.worst


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One service's part, in connections."""

    name: str
    service: Service
    steady: int
    rolling: int
    lost: int
    """that its other replicas have when one is gone"""
    load_factor: float | None
    """how much more load each of these then carries; None: no replica is left"""
    largest_pool: int
    """pool_size + max_overflow that fits at worst, all else unchanged; below 1: not even one connection"""

    @property
    def largest_pool_size(self) -> int | None:
        """The largest pool_size that fits beside its max_overflow; None: none does."""
        size = self.largest_pool - self.service.max_overflow
        return size if size >= 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Whether a fleet fits its Postgres, and its PgBouncer where it has one."""

    fleet: Fleet
    server: Demand
    clients: Demand | None
    """of PgBouncer"""
    shares: tuple[Share, ...]
    largest_default_pool_size: int | None
    """of PgBouncer, all else unchanged; None: without one, or when none fits"""

    @property
    def fits(self) -> bool:
        """Whether no limit is passed."""
        return self.server.left >= 0 and (self.clients is None or self.clients.left >= 0)
