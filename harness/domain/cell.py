"""One full configuration of an experiment's matrix, and how many connections and requests it allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.domain.experiment import ASYNC_DRIVERS, DatabaseSpec, Load, Network, Pool, Session, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One full configuration. `factors` are the matrix keys with this cell's values, in the file's order."""

    id: str
    label: str
    factors: tuple[tuple[str, Any], ...]
    pool: Pool
    session: Session
    target: Target
    database: DatabaseSpec
    load: Load
    network: Network = field(default_factory=Network)
    arm: str = ""
    """the side it belongs to; empty where there are none"""
    named: tuple[str, ...] = ()
    """the dotted keys that the experiment names: of an own app, all others keep the service's values"""
    commit: str = ""
    """full hash of what `target.ref` meant as the experiment was read; empty without one"""

    def has_say(self, key: str) -> bool:
        """Whether the experiment decides this setting of the service."""
        return self.target.is_reference or key in self.named

    @property
    def rate_rps(self) -> float | None:
        """Arrivals a second; None in the closed model, and while a share of a capacity is no rate yet."""
        return self.load.rate_rps if self.load.model == "open" else None

    @property
    def takes_settings(self) -> bool:
        """Whether the service is started here: one that runs already has a driver, a pool and workers of its own."""
        return self.target.url is None

    @property
    def decides_pool(self) -> bool:
        """Whether how many connections the service may open is the experiment's to say."""
        return self.takes_settings and self.has_say("pool.pool_size") and self.has_say("pool.max_overflow")

    @property
    def connection_ceiling(self) -> int | None:
        """workers x (pool_size + max_overflow); None when the pool has no limit."""
        per_process = self.pool.ceiling
        return None if per_process is None else self.target.workers * per_process

    @property
    def decided_ceiling(self) -> int | None:
        """The same, None as well where a service has a pool of its own: how large that is, is not known."""
        return self.connection_ceiling if self.decides_pool else None

    @property
    def server_ceiling(self) -> int | None:
        """Most connections Postgres may have to hold: what PgBouncer keeps to it, where one stands between."""
        if not self.target.pgbouncer:
            return self.connection_ceiling
        own = self.connection_ceiling
        return self.target.pgbouncer_pool_size if own is None else min(own, self.target.pgbouncer_pool_size)

    @property
    def served_at_once(self) -> int | None:
        """Most requests that can be served at the same time, as far as pools and threads decide it; None: no limit."""
        ceiling = self.server_ceiling
        if ceiling is None or self.target.driver in ASYNC_DRIVERS:
            return ceiling
        return min(ceiling, self.target.workers * self.target.threadpool_tokens)
