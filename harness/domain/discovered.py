"""What is known of a service after it was looked at and started once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.domain.observed import AppliedPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that stands in one of the service's files."""

    place: str
    """ "shop/db.py:12" """
    text: str
    """a variable's name, or the function that makes sessions"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a service's files say."""

    variables: tuple[Found, ...] = ()
    """environment names that look like a database's, each where it stands first"""
    sizes: tuple[Found, ...] = ()
    """environment names that look like a pool's size"""
    makers: tuple[Found, ...] = ()
    """where sessions, or factories of them, are made"""
    env: Mapping[str, str] = field(default_factory=dict)
    """the variables with the placeholder that each seems to want"""
    has_alembic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path of the OpenAPI document."""

    method: str
    path: str
    url: str | None
    """the path with the document's own examples filled in; None where something required has none"""
    lacks: tuple[str, ...] = ()
    """required parameters without an example"""
    status: int | None = None
    """what it answered when it was asked once; None: it was not"""

    @property
    def is_ready(self) -> bool:
        """Whether a scenario can send it as it is; an answer below 500 but for 401, 403 and the like is one."""
        return self.method == "get" and self.url is not None and self.status is not None and self.status < 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """A service that was started once against an empty database."""

    sources: Sources
    engines: tuple[AppliedPool, ...]
    health_path: str | None
    """the first candidate that answered 2xx"""
    operations: tuple[Operation, ...]
    driver_pools: tuple[str, ...] = ()
    """pools of the drivers' own, which no engine accounts for"""
    openapi_path: str = "/openapi.json"
    """where its OpenAPI document is"""

    @property
    def ready(self) -> tuple[Operation, ...]:
        """The operations that a scenario can send as they are.

        Those that failed on an empty database as well, where there are migrations to make its tables.
        """
        migrated = self.sources.has_alembic
        return tuple(each for each in self.operations if each.is_ready or (migrated and (each.status or 0) >= 500))
