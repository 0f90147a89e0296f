"""What was seen of a sitting beside its load: what took effect, what died or stood still, and readings.

Every `t_ns` is CLOCK_MONOTONIC of the machine poolbench runs on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness.domain.tables import no_counts, no_holds, no_log_readings, no_server_readings, no_sites, none_unreturned

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPool:
    """What an engine in one of the target's processes has; None where its kind of pool has no such setting."""

    launch_id: str
    pid: int
    driver: str
    pool_class: str
    pool_size: int | None
    max_overflow: int | None
    pool_timeout_s: float | None
    pool_recycle_s: float | None
    pool_pre_ping: bool | None
    pool_use_lifo: bool | None
    is_async: bool | None = None
    """whether requests await its driver"""
    prepared_statement_cache_size: int | None = None
    statement_cache_size: int | None = None
    prepare_threshold: int | None = None
    """these three of a connection that lay idle in its pool; -1 never, None where none was seen or it has no such"""
    made_at: str = ""
    """the service's own line that made it, "shop/db.py:12"; empty where it was not seen"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedProcess:
    """What one of the target's processes has beside its engines; None and empty where it could not be seen."""

    launch_id: str
    pid: int
    serving: bool
    """it takes requests"""
    threadpool_tokens: int | None
    """-1 without limit"""
    gc_frozen: bool | None
    expire_on_commit: tuple[bool, ...]
    """each value that its sessions had"""
    echo_off: bool = False
    """its engines were to log each statement, and were kept from it"""
    other_engines: tuple[str, ...] = ()
    """its engines where target.engine fits none of them: order, database and driver of each"""
    has_engine: bool | None = None
    """it made an engine, whether that is still there or not"""
    driver_pools: tuple[str, ...] = ()
    """the pools of the drivers' own that it made: "asyncpg.Pool of 10 to 10, made in shop/db.py:7" """


NeededRole = Literal["target", "worker", "relay", "pgbouncer", "postgres", "checkpointer"]
StillRole = Literal["target", "relay", "pgbouncer", "postgres", "backend", "generator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A process that ended while it was needed."""

    role: NeededRole
    """Postgres ends its checkpointer only to recover from the death of one of its processes, which cuts every
    connection: a backend that was killed for its memory, say"""
    launch_id: str
    """"" concerns every launch of the sitting"""
    pid: int
    t_ns: int
    code: int | None
    """as subprocess has it: negative for a signal; None where it could not be read"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstill:
    """A stretch in which a process was stopped, as by SIGSTOP, while the observer went on: it did nothing at all."""

    role: StillRole
    """of a service and of the generator, whichever of their processes; a backend is any of Postgres's"""
    launch_id: str
    """"" concerns every launch of the sitting"""
    pid: int
    t_ns: int
    """of the first reading that found it so; it began at most an interval before"""
    length_s: float
    """until the first reading that found it going on, or until the last of all"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerGap:
    """A sampler that gave nothing for longer than five intervals, or that stood still itself."""

    sampler: str
    t_ns: int
    length_s: float
    reason: str = ""
    launch_id: str = ""
    """whose readings are missing; "" concerns every launch of the sitting"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayReadings:
    """What the relay between a launch's target and Postgres did under load, and how exactly; warm-up included."""

    rtt_ms: float
    """as asked for"""
    rtt_ms_measured: float
    """what it added to a ping of Postgres before the load, median"""
    late_ms_p50: float
    """how much later than due data was passed on"""
    late_ms_p99: float
    round_trips: int
    connections: int
    idle_drops: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All readings of one sitting, each table with the columns above plus `launch_id` ("" concerns every launch)."""

    activity: pd.DataFrame
    probe: pd.DataFrame
    process: pd.DataFrame
    gaps: tuple[SamplerGap, ...] = ()
    server: pd.DataFrame = field(default_factory=no_server_readings)
    applied: tuple[AppliedPool, ...] = ()
    processes: tuple[AppliedProcess, ...] = ()
    deaths: tuple[Death, ...] = ()
    """from the first reading to the last, in the order of time"""
    standstills: tuple[Standstill, ...] = ()
    """likewise"""
    counts: pd.DataFrame = field(default_factory=no_counts)
    log: pd.DataFrame = field(default_factory=no_log_readings)
    holds: pd.DataFrame = field(default_factory=no_holds)
    unreturned: pd.DataFrame = field(default_factory=none_unreturned)
    sites: pd.DataFrame = field(default_factory=no_sites)
