"""Settings that an experiment asks for and the service does not have, as its own engines say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.domain.evidence import Trial

KEYS = ("pool_size", "max_overflow", "pool_timeout_s", "pool_recycle_s", "pool_pre_ping", "pool_use_lifo")
SIZE_KEYS = {"pool.pool_class", "pool.pool_size", "pool.max_overflow"}
"""Without these nobody knows how many connections a cell's pools may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplied:
    """One setting of a cell that no engine of its service has."""

    key: str
    """ "pool.pool_size" """
    asked: Any
    found: tuple[Any, ...]
    """what the engines have instead, each value once"""


def not_applied(trial: Trial) -> tuple[NotApplied, ...]:
    """Of the pool settings those that no engine of the service has.

    A service may have several engines, of which one is meant: it is enough that one of them has the value. Nothing is
    said of a service whose engines were not seen, nor of pools that are not SQLAlchemy's queue.
    """
    pool, engines = trial.launch.cell.pool, trial.applied
    if pool.pool_class != "queue" or not engines:
        return ()
    if all(engine.pool_size is None for engine in engines):
        classes = tuple(dict.fromkeys(engine.pool_class for engine in engines))
        return (NotApplied(key="pool.pool_class", asked=pool.pool_class, found=classes),)
    wrong = []
    for key in KEYS:
        asked = getattr(pool, key)
        found = tuple(dict.fromkeys(value for e in engines if (value := getattr(e, key)) is not None))
        if found and asked not in found:
            wrong.append(NotApplied(key=f"pool.{key}", asked=asked, found=found))
    return tuple(wrong)
