"""The columns of a trial's tables, fixed here so that whoever writes them and whoever reads them agree.

Every `t_ns` is CLOCK_MONOTONIC of the machine poolbench runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

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


def _empty(columns: Mapping[str, str]) -> pd.DataFrame:
    """A table without rows."""
    return _made_once(tuple(columns.items())).copy()


@cache
def _made_once(columns: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: [] for name, _ in columns}).astype(dict(columns))


def no_server_readings() -> pd.DataFrame:
    """The server table of a trial that has none: it was saved before there was one."""
    return _empty(SERVER_COLUMNS)


def no_generator_readings() -> pd.DataFrame:
    """The generator table of a trial whose load was over within a second."""
    return _empty(GENERATOR_COLUMNS)


def no_null_requests() -> pd.DataFrame:
    """The null table of a load beside which no service that does nothing was asked."""
    return _empty(NULL_COLUMNS)


def no_probe_user() -> pd.DataFrame:
    """The probe user's table of a launch that has none."""
    return _empty(PROBE_USER_COLUMNS)


def no_log_readings() -> pd.DataFrame:
    """The log table of a service that was not started here."""
    return _empty(LOG_COLUMNS)


def no_holds() -> pd.DataFrame:
    """The holds of what was not observed with the probe, or before there were any."""
    return _empty(HOLD_COLUMNS)


def none_unreturned() -> pd.DataFrame:
    """The table of a launch whose connections all came back, or that was not observed so."""
    return _empty(UNRETURNED_COLUMNS)


def no_sites() -> pd.DataFrame:
    """The sites of what was not observed in detail."""
    return _empty(SITE_COLUMNS)


def no_counts() -> pd.DataFrame:
    """The counts of what was not observed with the probe, without rows."""
    return _empty(COUNT_COLUMNS)
