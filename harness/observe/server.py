"""What the server and the machine did beside the load: time in transactions, checkpoints, autovacuum, stolen time.

Backends report their time to the statistics at the end of a transaction at most once a second, and for good when they
disconnect. So the log is kept until the targets have stopped, and its last reading has everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg

from harness.domain.deployed import Server
from harness.domain.observed import SamplerGap
from harness.domain.tables import SERVER_COLUMNS
from harness.errors import InfrastructureError
from harness.observe.frames import table
from harness.observe.host import host_values
from harness.observe.postgres import observer_connection
from harness.observe.sampler import Row, SamplerLoop

if TYPE_CHECKING:
    import pandas as pd

_INTERVAL_S = 0.5
_QUIET_TIMEOUT_S = 2.0
_SINCE_CHECKPOINTER_VIEW = 170000

_DATABASES = """
SELECT datname, active_time / 1000, idle_in_transaction_time / 1000, (xact_commit + xact_rollback)::float8
FROM pg_stat_database WHERE datname = ANY(%s)
"""
# A checkpointer on the CPU shows no wait event; the count of checkpoints begun catches it all the same.
_WHOLE_SERVER = """
SELECT (SELECT {begun} FROM {view})::float8,
       count(*) FILTER (WHERE backend_type = 'checkpointer' AND wait_event <> 'CheckpointerMain')::float8,
       count(*) FILTER (WHERE backend_type = 'autovacuum worker')::float8
FROM pg_stat_activity
"""
_CONNECTED = """
SELECT count(*) FROM pg_stat_activity WHERE datname = ANY(%s) AND backend_type = 'client backend'
"""
_DATABASE_KEYS = ("active_s", "idle_in_transaction_s", "transactions")
_SERVER_KEYS = ("checkpoints", "checkpointer_busy", "autovacuum_workers")


class ServerSampler:
    """One row a figure; those of a launch's database carry its id, those of server and machine concern every launch."""

    name = "server"

    def __init__(self, server: Server | None, launches: Mapping[str, str]) -> None:
        """`launches` maps a database's name to the launch it belongs to. Connects at once.

        Raises:
            InfrastructureError: the server gives no connection.
        """
        self._server = server
        self._launches = launches
        self._connection = None if server is None else observer_connection(server)

    def read(self) -> Sequence[Row]:
        rows = [_row("", key, value) for key, value in host_values().items()]
        return rows if self._server is None else [*rows, *self._postgres(self._server)]

    def wait_until_quiet(self) -> None:
        """Wait until nobody is connected to the launches' databases: everything is then in the statistics."""
        if self._server is None:
            return
        deadline_s = time.monotonic() + _QUIET_TIMEOUT_S
        while time.monotonic() < deadline_s:
            found = self._connected(self._server).execute(_CONNECTED, [list(self._launches)]).fetchone()
            if found == (0,):
                return
            time.sleep(0.01)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _postgres(self, server: Server) -> Iterator[Row]:
        connection = self._connected(server)
        for database, *values in connection.execute(_DATABASES, [list(self._launches)]):
            for key, value in zip(_DATABASE_KEYS, values, strict=True):
                yield _row(self._launches[database], key, value)
        new = connection.info.server_version >= _SINCE_CHECKPOINTER_VIEW
        view = "pg_stat_checkpointer" if new else "pg_stat_bgwriter"
        begun = "num_timed + num_requested" if new else "checkpoints_timed + checkpoints_req"
        for figures in connection.execute(_WHOLE_SERVER.format(begun=begun, view=view)):
            for key, value in zip(_SERVER_KEYS, figures, strict=True):
                yield _row("", key, value)

    def _connected(self, server: Server) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = observer_connection(server)
        return self._connection


class ServerLog:
    """The readings of one sitting; complete once the block of `server_log` is left."""

    def __init__(self, loop: SamplerLoop) -> None:
        self._loop = loop
        self.last: Sequence[Row] = ()

    @property
    def gaps(self) -> tuple[SamplerGap, ...]:
        return self._loop.gaps

    def table(self) -> pd.DataFrame:
        """SERVER_COLUMNS and `launch_id`."""
        return table([*self._loop.rows, *self.last], SERVER_COLUMNS)


@contextmanager
def server_log(server: Server | None, launches: Mapping[str, str]) -> Iterator[ServerLog]:
    """Keep the log within the block, which is to enclose the targets: its end takes a last reading.

    `launches` maps a database's name to the launch it belongs to. Without a server only the machine is watched.

    Raises:
        InfrastructureError: Postgres gives the observer no connection.
    """
    with ExitStack() as stack:
        sampler = ServerSampler(server, launches)
        stack.callback(sampler.close)
        loop = SamplerLoop(sampler, interval_s=_INTERVAL_S)
        log = ServerLog(loop)
        loop.start()
        stack.callback(loop.stop)
        yield log
        loop.stop()
        with suppress(psycopg.Error, InfrastructureError):  # a server that is gone says no more
            sampler.wait_until_quiet()
            t_ns = time.monotonic_ns()
            log.last = [{"t_ns": t_ns, **row} for row in sampler.read()]


def _row(launch_id: str, key: str, value: float) -> Row:
    return {"launch_id": launch_id, "key": key, "value": value}
