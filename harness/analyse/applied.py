"""What took effect in the service, as its own processes say, and where that is not what the experiment has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analyse.resources import ConnectionReadings
from harness.domain.cell import Cell
from harness.domain.evidence import Trial
from harness.domain.observed import AppliedPool

POOL = ("pool_size", "max_overflow", "pool_timeout_s", "pool_recycle_s", "pool_pre_ping", "pool_use_lifo")
OF_QUEUES = ("pool_size", "max_overflow", "pool_timeout_s", "pool_use_lifo")
"""of these, what only pools have that keep connections"""
CACHES = ("prepared_statement_cache_size", "statement_cache_size", "prepare_threshold")
CONNECTIONS = "connections"
"""not a setting but what several make together: workers x (pool_size + max_overflow) at most"""
ENGINE = "target.engine"
NO_ENGINE = "no engine of SQLAlchemy's"
"""found instead of any setting of a pool"""
CEILING = ("pool.pool_size", "pool.max_overflow", "pool.pool_class", "target.workers")
"""what that most is made of"""
BEYOND_SHARE = 0.1
"""of the readings with more connections than there may be; a backend that is just ending shows in fewer"""

_DRIVERS = {
    ("asyncpg", True): "asyncpg",
    ("psycopg", True): "psycopg",
    ("psycopg", False): "psycopg, sync",
    ("psycopg2", False): "psycopg2",
}
_DRIVER_OF_MODE = {"psycopg_sync": "psycopg, sync", "psycopg_blocking": "psycopg, sync"}
"""of the two alike, whether the event loop is blocked shows in no setting"""

Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplied:
    """One setting of a cell that its service does not have."""

    key: str
    """ "pool.pool_size" """
    asked: Any
    found: Values
    """what the service has instead, each value once"""


def read_back(trial: Trial) -> dict[str, Values]:
    """What the service has of each setting, each value once; nothing where it could not be seen.

    A service may have several engines or sessions, of which one is meant: all are told.
    """
    engines = trial.applied
    serving = [process for process in trial.processes if process.serving]
    lost = sum(death.role == "worker" for death in trial.deaths)  # each was replaced
    queues = engines if trial.launch.cell.pool.pool_class == "queue" else ()  # other pools have none of these
    found: dict[str, Iterable[Any]] = {
        "target.driver": [_DRIVERS.get((e.driver, e.is_async), e.driver) for e in engines if e.is_async is not None],
        ENGINE: [engine for process in serving for engine in process.other_engines],
        "target.workers": [len(serving) - lost] if serving else [],
        "pool.pool_class": [engine.pool_class for engine in engines],
        **{f"pool.{name}": [getattr(engine, name) for engine in queues] for name in POOL},
        "session.expire_on_commit": [value for process in serving for value in process.expire_on_commit],
        "target.threadpool_tokens": [process.threadpool_tokens for process in serving],
        "target.gc_freeze": [process.gc_frozen for process in serving],
        **{f"target.{name}": [getattr(engine, name) for engine in engines] for name in CACHES},
    }
    return {key: tuple(dict.fromkeys(v for v in values if v is not None)) for key, values in found.items()}


def not_applied(trial: Trial) -> tuple[NotApplied, ...]:
    """The settings that the service surely does not have: it is enough that one of its engines or sessions has one."""
    cell, found = trial.launch.cell, read_back(trial)
    if has_no_engine(trial):
        found |= {key: (NO_ENGINE,) for key in found if key.startswith("pool.")}
    elif _has_other_pool(cell, trial.applied):
        found = {key: values for key, values in found.items() if key.removeprefix("pool.") not in POOL}
        found |= _of_no_queue(cell, found["pool.pool_class"])
    wrong = []
    for key, values in found.items():
        asked = asked_of(cell, key)
        if not values or not _is_asked(cell, key):
            continue
        fits = not _has_other_pool(cell, trial.applied) if key == "pool.pool_class" else asked in values
        if not fits or values == (NO_ENGINE,):
            wrong.append(NotApplied(key=key, asked=asked, found=values))
    return tuple(wrong)


def _of_no_queue(cell: Cell, kinds: Values) -> Mapping[str, Values]:
    """What the service's pools, all of them of these other kinds, have of a queue's settings: none of them.

    Said of those that are varied, and where the kind is nobody's to say but the service's.
    """
    lacking = [
        key
        for key in (f"pool.{name}" for name in OF_QUEUES)
        if key in dict(cell.factors) or not cell.has_say("pool.pool_class")
    ]
    return dict.fromkeys(lacking if cell.pool.pool_class == "queue" else (), tuple(f"none ({kind})" for kind in kinds))


def has_no_engine(trial: Trial) -> bool:
    """Whether each process that takes requests said that it never made an engine."""
    said = [process.has_engine for process in trial.processes if process.serving]
    return bool(said) and not trial.applied and all(has is False for has in said)


def driver_pools(trials: Iterable[Trial]) -> tuple[str, ...]:
    """The pools of the drivers' own that own apps made, each once; the reference app's take the settings."""
    own = [trial for trial in trials if not trial.launch.cell.target.is_reference]
    return tuple(dict.fromkeys(pool for trial in own for process in trial.processes for pool in process.driver_pools))


def asked_of(cell: Cell, key: str) -> Any:
    """What the experiment has of a setting, in the words of `read_back`."""
    section, name = key.split(".")
    value = getattr(getattr(cell, section), name)
    return _DRIVER_OF_MODE.get(value, value) if key == "target.driver" else value


def beyond_ceiling(trial: Trial, most_open: int | None, readings: ConnectionReadings) -> tuple[NotApplied, ...]:
    """Connections for which neither the cell nor the pools that were seen have room, in a tenth of the readings.

    `most_open` is how many the pools that the probe saw may hold; None where they may hold any number.
    """
    cell = trial.launch.cell
    ceiling = cell.server_ceiling if cell.takes_settings and any(map(cell.has_say, CEILING)) else None
    if ceiling is None or (trial.applied and most_open is None):
        return ()
    if trial.applied and not cell.target.pgbouncer:
        ceiling = max(ceiling, most_open or 0)
    seen = readings.counts.sum(axis=1)
    if not len(seen) or np.count_nonzero(seen > ceiling) < BEYOND_SHARE * len(seen):
        return ()
    return (NotApplied(key=CONNECTIONS, asked=ceiling, found=(readings.peak,)),)


def _is_asked(cell: Cell, key: str) -> bool:
    """An own app keeps what the experiment does not name; behind a PgBouncer nothing is kept prepared, on purpose."""
    return cell.has_say(key) and not (cell.target.pgbouncer and key.removeprefix("target.") in CACHES)


def _has_other_pool(cell: Cell, engines: tuple[AppliedPool, ...]) -> bool:
    """Whether every engine has a pool of another kind; SQLAlchemy's null pool stands before the driver's own too."""
    if cell.pool.pool_class == "queue":
        return all(engine.pool_size is None for engine in engines)
    return all(engine.pool_class != "NullPool" for engine in engines)
