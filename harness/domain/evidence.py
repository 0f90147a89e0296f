"""What a sitting yields and a run keeps: the database and targets that ran, readings, trials, certificates.

The columns of the tables of a trial are fixed here, so that whoever writes them and whoever reads them agree.
Every `t_ns` is CLOCK_MONOTONIC of the machine poolbench runs on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.domain.experiment import Cell, Experiment
from harness.domain.load import Launch, Ledger, Segment
from harness.domain.profile import MachineProfile

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("ok", "error", "timeout", "dropped", "unfinished")
"""Codes of `requests.outcome`, in this order. The last two never reached a client call or never came back."""

REQUEST_COLUMNS: Mapping[str, str] = {
    "segment": "uint32",  # SETUP_SEGMENT while users ran on_start
    "phase": "category",  # setup, staircase, warmup, measure
    "arrival": "uint32",  # number within the segment; closed model: number of the task execution
    "sequence": "uint16",  # 0 for an arrival's first request; only that one has an intended time
    "task": "category",
    "endpoint": "category",  # "GET /heroes/{id}"; "" for an arrival that was dropped or sent nothing
    "outcome": "category",  # one of OUTCOMES
    "status": "uint16",  # HTTP status, 0 when there was none
    "error": "category",  # what failed, "" when nothing did
    "intended_ns": "int64",  # when it should have been sent; open model, sequence 0 only, else = started_ns
    "handed_ns": "int64",  # when the engine handed the arrival to a user; sequence 0 only, else = started_ns; -1 never
    "started_ns": "int64",  # -1 when never sent
    "finished_ns": "int64",  # -1 when it never came back
    "uptake_ns": "uint32",  # for how long the answer may have lain there before the generator took it up, at most
    "response_bytes": "uint32",
    "pool_ms": "float32",  # from Server-Timing, NaN without the probe
    "db_ms": "float32",
    "app_ms": "float32",
    "pid": "uint32",  # process that answered, 0 without the probe
}
"""One row a request, and one for each arrival that was dropped or unfinished without a request of its own."""

ACTIVITY_COLUMNS: Mapping[str, str] = {
    "t_ns": "int64",
    "state": "category",  # active, idle, idle in transaction, idle in transaction (aborted), ...
    "wait_event_type": "category",  # "" when not waiting
    "wait_event": "category",
    "connections": "uint16",
    "oldest_transaction_s": "float32",  # NaN when none is open
}
"""pg_stat_activity of the launch's own database; a reading without any connection has one row with state ""."""

PROBE_COLUMNS: Mapping[str, str] = {
    "t_ns": "int64",
    "pid": "uint32",
    "connection_max": "int32",  # pool_size + max_overflow, -1 without limit
    "connection_count_used": "int32",  # checked out
    "connection_count_idle": "int32",  # in the pool
    "connection_overflow": "int32",  # open beyond pool_size, >= 0
    "connection_pending_requests": "int32",  # waiting for a connection
    # counters from here, since the process started, never reset:
    "connection_checkouts": "int64",
    "connection_timeouts": "int64",
    "connection_connects": "int64",
    "connection_closes": "int64",
    "connection_invalidations": "int64",
    "connection_wait_time_s": "float64",  # in the queue only
    "connection_create_time_s": "float64",  # dial, handshake and the first words of dialect and app
    "connection_ping_time_s": "float64",  # pre-ping
    "connection_use_time_s": "float64",  # checkout to checkin, of finished checkouts
    "connection_used_integral_s": "float64",  # time integral of connection_count_used
    "transaction_time_s": "float64",
    "connection_handovers": "float64",  # to requests that were waiting; NaN in runs of before
    "connection_handover_time_s": "float64",  # from a connection's return until such a request had it; likewise
    "gc_pauses": "int64",
    "gc_pause_s": "float64",
    # over the time since the previous line:
    "gc_pause_max_ms": "float32",
    "loop_lag_max_ms": "float32",  # how late the event loop ran a timer; a blocked loop shows as it grows
    # counters again:
    "loop_lag_s": "float64",  # summed over the runs of that timer; NaN in runs of before
    "loop_beats": "float64",  # how often it ran; likewise
    # gauges:
    "threadpool_tokens_borrowed": "int32",
    "threadpool_tokens_total": "int32",
    "threadpool_tasks_waiting": "float32",  # for a token; NaN in runs of before
}
"""One row a line of the probe's time series. Names follow OpenTelemetry's `db.client.connection.*`."""

LOG_COLUMNS: Mapping[str, str] = {
    "since_ns": "int64",  # of the reading before this one
    "t_ns": "int64",
    "bytes": "int64",  # written until then
}
"""When the service's log had which length: a row for the first reading, and for each that found it longer.

Services stamp their lines in forms of their own, or not at all; a line was written between the two readings of the row
that first holds it whole.
"""

COUNT_COLUMNS: Mapping[str, str] = {
    "segment": "int32",  # of the arrival, -1 for requests that are nobody's
    "method": "category",
    "route": "category",  # "/heroes/{hero_id}", as the app spells it; of a path without a route with {id} for numbers
    "status": "uint16",  # 0 when no answer was begun
    "requests": "int64",  # that came to their end; the others are their sums
    "statements": "int64",
    "transactions": "float64",  # NaN where the driver does not show them
    "checkouts": "int64",
    "round_trips": "float64",  # NaN where the driver does not show them
    "first_round_trips": "int64",  # of these, what statements took the first time that a connection met them
    "fresh": "bool",  # each of these requests had a connection that no request had had before
    "alike": "bool",  # each of these requests took the same of everything, so a sum divided by requests is exact
}
"""A row for each segment, endpoint, status and kind of request of a launch: what its requests took of the database.

Requests of one kind took the same of everything. Whole numbers, but for NaN. What each of them is, is said in
docs/decisions/0014-what-a-request-is-counted-to-take.md.
"""

HOLD_COLUMNS: Mapping[str, str] = {
    "segment": "int32",  # these four as of COUNT_COLUMNS
    "method": "category",
    "route": "category",
    "status": "uint16",
    "connections": "uint16",  # the most that each of these requests wanted at once, whether it got them or not
    "requests": "int64",  # the others are their sums
    "left": "int64",  # connections that were still out when their request was over; in no figure that follows
    "holds": "int64",  # connections that they gave back
    "on_loop": "int64",  # connections taken on the event loop with a driver that stops the loop when it waits
    "threads": "int64",  # how often they needed a thread of the threadpool while they had a connection out
    "statements": "int64",
    "hold_s": "float64",  # from checkout to checkin, until the response started
    "query_s": "float64",  # of that, until the driver had answered
    "idle_transaction_s": "float64",  # of that, in a transaction otherwise; what is left is in none
    "after_s": "float64",  # from the start of the response to checkin
}
"""One row for each segment, endpoint, status and number of connections at once: how requests held connections."""

UNRETURNED_COLUMNS: Mapping[str, str] = {
    "pid": "uint32",
    "taken_ns": "int64",  # when it was checked out
    "over_ns": "int64",  # when the request that took it was over; taken_ns where no request did
    "back_ns": "int64",  # when it came back; -1 never
    "method": "category",  # of the endpoint, "" where no request took it
    "route": "category",
    "site": "category",  # the service's own line that took it, "" where nobody looked
}
"""One row for each connection that was out for a second after its request was over: a leak, or one that was late."""

SITE_COLUMNS: Mapping[str, str] = {
    "segment": "int32",  # these three as of COUNT_COLUMNS
    "method": "category",
    "route": "category",
    "site": "category",  # the service's own line that took the connection, "shop/db.py:12"; "" where there was none
    "holds": "int64",
    "held_s": "float64",  # of them all, from checkout to checkin
    "longest_s": "float64",
}
"""Which lines of the service took connections for how long, several rows each: with observe.detail only."""

PROCESS_COLUMNS: Mapping[str, str] = {
    "t_ns": "int64",
    "role": "category",  # target, postgres, relay, pgbouncer, generator, harness
    "pid": "uint32",
    "cpu_s": "float64",  # user + system since the process started
    "rss_bytes": "int64",
    "threads": "uint16",
}
"""CPU and memory; postgres rows are the sum over the server's processes under the postmaster's pid."""

GENERATOR_COLUMNS: Mapping[str, str] = {
    "t_ns": "int64",
    "cpu_share": "float64",  # of one core, since the last reading
    "stall_max_ms": "float64",  # longest time for which its event loop did not come round
    "in_flight": "int64",
    "lag_max_ms": "float64",  # how late an arrival was handed over at worst
}
"""How the load generator itself fared, a row a second and process; it serves every launch of the sitting."""

NULL_COLUMNS: Mapping[str, str] = {
    "started_ns": "int64",
    "finished_ns": "int64",
    "uptake_ns": "uint32",  # as of REQUEST_COLUMNS
}
"""Requests beside the load to a service that does nothing, through the scenario's own client: what they take is the
instrument's. One row for each that was answered; they serve every launch of the sitting."""

PROBE_USER_COLUMNS: Mapping[str, str] = {
    "intended_ns": "int64",
    "started_ns": "int64",
    "finished_ns": "int64",
    "outcome": "category",  # ok, error or timeout
    "status": "uint16",
    "error": "category",
}
"""What a launch's probe user was answered, a row a request."""

SERVER_COLUMNS: Mapping[str, str] = {
    "t_ns": "int64",
    "key": "category",  # one of SERVER_KEYS
    "value": "float64",
}
"""What server and machine did beside the load, one row a figure, about twice a second until the targets have stopped.

Postgres adds a backend's time up to a second late, and for good when it disconnects: the last row of a key is exact.
"""

SERVER_KEYS = (
    "active_s",  # of the launch's database, cumulative: backends executing (pg_stat_database.active_time)
    "idle_in_transaction_s",  # of the launch's database, cumulative
    "transactions",  # of the launch's database, cumulative: commits and rollbacks
    "checkpoints",  # of the server, cumulative: begun
    "checkpointer_busy",  # of the server: 1 while one is being written
    "autovacuum_workers",  # of the server: at work now
    "host_cpu_s",  # of the machine, cumulative over all cores, idle or not
    "host_idle_s",  # of the machine, cumulative over all cores: of that, used by nobody
    "host_steal_s",  # of the machine, cumulative: taken by the hypervisor
    "cgroup_throttled_s",  # of poolbench's control group, cumulative: not allowed to run
)


def _empty(columns: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    """A table without rows."""
    return _made_once(columns).copy()


@cache
def _made_once(columns: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: [] for name, _ in columns}).astype(dict(columns))


def no_server_readings() -> pd.DataFrame:
    """The server table of a trial that has none: it was saved before there was one."""
    return _empty(tuple(SERVER_COLUMNS.items()))


def no_generator_readings() -> pd.DataFrame:
    """The generator table of a trial whose load was over within a second."""
    return _empty(tuple(GENERATOR_COLUMNS.items()))


def no_null_requests() -> pd.DataFrame:
    """The null table of a load beside which no service that does nothing was asked."""
    return _empty(tuple(NULL_COLUMNS.items()))


def no_probe_user() -> pd.DataFrame:
    """The probe user's table of a launch that has none."""
    return _empty(tuple(PROBE_USER_COLUMNS.items()))


def no_log_readings() -> pd.DataFrame:
    """The log table of a service that was not started here."""
    return _empty(tuple(LOG_COLUMNS.items()))


def no_holds() -> pd.DataFrame:
    """The holds of what was not observed with the probe, or before there were any."""
    return _empty(tuple(HOLD_COLUMNS.items()))


def none_unreturned() -> pd.DataFrame:
    """The table of a launch whose connections all came back, or that was not observed so."""
    return _empty(tuple(UNRETURNED_COLUMNS.items()))


def no_sites() -> pd.DataFrame:
    """The sites of what was not observed in detail."""
    return _empty(tuple(SITE_COLUMNS.items()))


def no_counts() -> pd.DataFrame:
    """The counts of what was not observed with the probe, without rows."""
    return _empty(tuple(COUNT_COLUMNS.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A role that may connect. `password` is never written to disk or shown."""

    user: str
    password: str = field(repr=False)
    superuser: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Postgres server that is up. `password` is never written to disk or shown."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    version: str
    transport: str
    """for example "tcp, scram-sha-256, no TLS" """
    provider: str
    max_connections: int
    reserved_connections: int
    pid: int | None
    """of the postmaster, None when it does not run on this machine"""
    owned: bool
    """whether settings may be changed and checkpoints forced"""
    maintenance_database: str = "postgres"
    """a database that exists, to connect to while others are made and dropped"""
    sslmode: str = ""
    """libpq's word for what the URL of a server that is not ours asks for; "" where it says nothing"""
    app: Login | None = None
    """whom the service connects as; None: as poolbench itself does"""

    @property
    def place(self) -> str:
        """Return "host:port" as a URL has it."""
        return place(self.host, self.port)

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Return poolbench's own connection URL, with the password percent-encoded."""
        return self._url(self.user, self.password, database, scheme)

    def app_url(self, database: str) -> str:
        """Return the URL the service is given, which owns the database."""
        return self.url(database) if self.app is None else self._url(self.app.user, self.app.password, database)

    def _url(self, user: str, password: str, database: str, scheme: str = "postgresql") -> str:
        from urllib.parse import quote

        credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
        query = f"?sslmode={self.sslmode}" if self.sslmode else ""
        return f"{scheme}://{credentials}@{self.place}/{database}{query}"


def place(host: str, port: int) -> str:
    """Return "host:port", with the brackets that an address of IPv6 needs before a port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTarget:
    """A launch whose target answers. Empty `pids` and None mean: it was not started by poolbench."""

    launch_id: str
    host: str
    """base URL, http://127.0.0.1:PORT"""
    database: str | None
    pids: tuple[int, ...]
    """of the launcher process; its children are the workers"""
    probe_dir: Path | None
    log: Path | None
    workers: tuple[int, ...] = ()
    """pids of the launcher's workers; empty where it serves by itself, or the system does not show them"""


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
class Reason:
    """One line of a certificate: a figure beside its threshold.

    `kind` instrument makes the trial invalid; a finding is a result.
    """

    kind: Literal["instrument", "finding"]
    code: str
    """short and stable: "lag", "ledger", "sampler_gap", "dropped", "errors", ..."""
    message: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Whether the instrument worked, and what was found."""

    valid: bool
    reasons: tuple[Reason, ...] = ()

    @property
    def broken(self) -> tuple[str, ...]:
        """Codes of what failed in the instrument, each once."""
        return tuple(dict.fromkeys(reason.code for reason in self.reasons if reason.kind == "instrument"))


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
class Version:
    """Which code of a service was started."""

    commit: str
    """full hash"""
    changes: str = ""
    """differs with what is changed and not committed; empty where nothing is"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What was known beside a sitting's tables: kept with each trial, so that a certificate can be made at any time."""

    probe: bool = True
    """whether the probe was on the target's path"""
    lost_workers: tuple[str, ...] = ()
    """names of the generator's workers that ended before their counts were acknowledged"""
    clock_uncertainty_ms: float | None = None
    """by how much times of different processes may be off; None when not known"""
    generator_ceiling_rps: float | None = None
    """what the generator sends at most on this machine; None when not calibrated"""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """fingerprint of machine, interpreter, packages and the server that this launch used"""
    scenario_notes: tuple[str, ...] = ()
    """what of the sitting's scenarios did not apply, or went wrong beside the load"""
    version: Version | None = None
    """of the service's code as it was started; None where git does not say"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one launch yielded, before anything is concluded from it.

    `segments` are the launch's own, as planned; the ledger holds only theirs.
    """

    id: str
    launch: Launch
    sitting: int
    start_ns: int
    segments: tuple[Segment, ...]
    ledger: Ledger
    context: Context = field(default_factory=Context)
    gaps: tuple[SamplerGap, ...] = ()
    relay: RelayReadings | None = None
    """None where nothing lay between target and Postgres"""
    applied: tuple[AppliedPool, ...] = ()
    """the engines of the service as its processes said; empty where they were not seen"""
    processes: tuple[AppliedProcess, ...] = ()
    """what else they said, likewise"""
    deaths: tuple[Death, ...] = ()
    """processes that ended while they were needed, the launch's own and those that concern every launch"""
    standstills: tuple[Standstill, ...] = ()
    """processes that were stopped meanwhile, likewise"""

    @property
    def place(self) -> tuple[int, str]:
        """Block and cell: what a fresh launch takes over from one that was spoilt."""
        return self.launch.block, self.launch.cell.id


class Evidence(Protocol):
    """A trial and its tables, wherever they are. Each access may read from disk: ask once, and only for what is needed.

    A run's requests can be more than memory holds, so whoever goes through several trials keeps no table of them.
    """

    @property
    def trial(self) -> Trial: ...
    @property
    def requests(self) -> pd.DataFrame: ...
    @property
    def activity(self) -> pd.DataFrame: ...
    @property
    def probe(self) -> pd.DataFrame: ...
    @property
    def process(self) -> pd.DataFrame: ...
    @property
    def server(self) -> pd.DataFrame: ...
    @property
    def generator(self) -> pd.DataFrame: ...
    @property
    def counts(self) -> pd.DataFrame: ...
    @property
    def null(self) -> pd.DataFrame: ...
    @property
    def probe_user(self) -> pd.DataFrame: ...
    @property
    def log(self) -> pd.DataFrame: ...
    @property
    def holds(self) -> pd.DataFrame: ...
    @property
    def unreturned(self) -> pd.DataFrame: ...
    @property
    def sites(self) -> pd.DataFrame: ...
    @property
    def target_log(self) -> bytes:
        """What the service wrote; nothing where it was not started here."""
        ...

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of one table ("requests"), or all of it where they are in memory anyway."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEvidence:
    """A trial with its tables in memory."""

    trial: Trial
    requests: pd.DataFrame
    activity: pd.DataFrame
    probe: pd.DataFrame
    process: pd.DataFrame
    server: pd.DataFrame = field(default_factory=no_server_readings)
    generator: pd.DataFrame = field(default_factory=no_generator_readings)
    counts: pd.DataFrame = field(default_factory=no_counts)
    log: pd.DataFrame = field(default_factory=no_log_readings)
    target_log: bytes = b""
    null: pd.DataFrame = field(default_factory=no_null_requests)
    probe_user: pd.DataFrame = field(default_factory=no_probe_user)
    holds: pd.DataFrame = field(default_factory=no_holds)
    unreturned: pd.DataFrame = field(default_factory=none_unreturned)
    sites: pd.DataFrame = field(default_factory=no_sites)

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:  # noqa: ARG002 -- the protocol's
        """The table: to copy some of its columns would cost more than the others do."""
        found: pd.DataFrame = getattr(self, name)
        return found


MAX_SEARCH_LAUNCHES = 1000
"""of a cell: no search comes near it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """run.json: everything known before the first launch, and nothing of what comes after it."""

    schema_version: int
    run_id: str
    created_utc: str
    poolbench_version: str
    experiment: Experiment
    strategy: Literal["fixed", "two_stage", "capacity", "tune"]
    """how it decides what to measure next; see `harness.domain.strategy`"""
    cells: tuple[Cell, ...]
    environment: Mapping[str, Any]
    """fingerprint: cpu, cores, memory, kernel, python, package versions, postgres, transport, settings"""
    profile: MachineProfile | None = None
    """what calibration knew of the machine as the run began; None where it was not calibrated"""

    @property
    def most_blocks(self) -> int:
        """Launches of each cell at most; a comparison measures a second stage only on an alarm."""
        if self.strategy in {"capacity", "tune"}:
            return MAX_SEARCH_LAUNCHES
        return self.experiment.design.launches * (2 if self.strategy == "two_stage" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as analysed: what is complete in its folder."""

    info: RunInfo
    trials: tuple[Evidence, ...]
    """of the launches that measure"""
    pilots: tuple[Evidence, ...] = ()
    """of the staircase's"""

    @property
    def planned_trials(self) -> int:
        """Launches that measure, as the experiment asks for them; those measured again are not counted twice."""
        return len(self.info.cells) * self.info.experiment.design.launches
