"""pg_stat_activity of every launch's database, over a connection of its own."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.sql import SQL

from harness.domain.deployed import Server
from harness.errors import InfrastructureError
from harness.observe.sampler import Row

APPLICATION_NAME = "poolbench_observer"
_CONNECT_TIMEOUT_S = 3
_STATEMENT_TIMEOUT_MS = 2000
ANSWER_TIMEOUT_S = 3.0
"""on our side; the server's own limit above comes first where it still works"""

# Autocommit matters: within a transaction the view would show its first state again and again.
_QUERY = SQL("""
SELECT datname, coalesce(state, ''), coalesce(wait_event_type, ''), coalesce(wait_event, ''), count(*),
       coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 'NaN')
FROM pg_stat_activity
WHERE datname = ANY({databases}) AND backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1, 2, 3, 4
""")
_STATEMENT = b"poolbench_activity"


class ActivitySampler:
    """One row per launch, state and wait event; a launch without any connection has one row with state ""."""

    name = "postgres"

    def __init__(self, server: Server, launches: Mapping[str, str]) -> None:
        """`launches` maps a database's name to the launch it belongs to. Connects at once.

        Raises:
            InfrastructureError: the server gives no connection.
        """
        self._server = server
        self._launches = launches
        self._connect()

    def read(self) -> Sequence[Row]:
        if self._connection.closed:
            self._connect()
        # ten times a second beside a loaded service, and psycopg's cursor takes two and a half times as long
        self._connection.pgconn.send_query_prepared(_STATEMENT, None)
        result = self._result()
        encoding = self._connection.info.encoding
        found = [
            [(result.get_value(row, column) or b"").decode(encoding) for column in range(result.nfields)]
            for row in range(result.ntuples)
        ]
        unseen = self._launches.keys() - {database for database, *_ in found}
        return [
            *(self._row(database, *values) for database, *values in found),
            *(self._row(database, "", "", "", "0", "NaN") for database in unseen),
        ]

    def _connect(self) -> None:
        self._connection = observer_connection(self._server)
        self._poll = select.poll()
        self._poll.register(self._connection.fileno(), select.POLLIN)
        query = _QUERY.format(databases=list(self._launches)).as_bytes(self._connection)
        try:
            self._connection.pgconn.send_prepare(_STATEMENT, query)
            self._result()
        except psycopg.Error as error:
            self._connection.close()  # the next reading tries anew
            raise _no_connection(self._server, error) from error

    def _result(self) -> PGresult:
        """Wait for the answer to what was sent, no longer than `ANSWER_TIMEOUT_S`: then the connection is given up."""
        pgconn = self._connection.pgconn
        deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
        last: PGresult | None = None
        pgconn.flush()
        while True:
            while pgconn.is_busy():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not self._poll.poll(left_s * 1000):
                    self._connection.close()
                    raise psycopg.OperationalError(f"no answer within {ANSWER_TIMEOUT_S:g} s")
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            last = result
        if last is None or last.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise psycopg.OperationalError(pgconn.get_error_message(self._connection.info.encoding))
        return last

    def close(self) -> None:
        self._connection.close()

    def _row(self, database: str, *values: str) -> Row:
        """Values as Postgres writes them."""
        state, kind, event, connections, oldest_s = values
        return {
            "launch_id": self._launches[database],
            "state": state,
            "wait_event_type": kind,
            "wait_event": event,
            "connections": int(connections),
            "oldest_transaction_s": float(oldest_s),
        }


class _Impatient(psycopg.Connection[tuple[Any, ...]]):
    """Gives up when no answer came: a server that stands still, or a network that does, says nothing at all."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, ANSWER_TIMEOUT_S if timeout is None else timeout)


def observer_connection(server: Server) -> psycopg.Connection[tuple[Any, ...]]:
    """An autocommit connection to the maintenance database, under the observer's name, that waits for no answer long.

    Raises:
        InfrastructureError: the server gives no connection.
    """
    try:
        return _Impatient.connect(
            server.url(server.maintenance_database),
            autocommit=True,
            application_name=APPLICATION_NAME,
            connect_timeout=_CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}",
            tcp_user_timeout=round(ANSWER_TIMEOUT_S * 1000),
        )
    except psycopg.OperationalError as error:
        raise _no_connection(server, error) from error


def _no_connection(server: Server, error: psycopg.Error) -> InfrastructureError:
    reason = next(iter(str(error).splitlines()), "no answer").replace(server.password or "\0", "***").rstrip(".")
    full = "too many clients" in reason or "connection slots" in reason
    return InfrastructureError(
        f"The observer gets no connection to Postgres at {server.place}: {reason}.",
        next_step="Leave two connections below max_connections free for it."
        if full
        else "Check that the server still runs and can be reached from here.",
    )


@contextmanager
def activity_sampler(server: Server, launches: Mapping[str, str]) -> Iterator[ActivitySampler]:
    """A connected sampler; its connection is closed at the end."""
    sampler = ActivitySampler(server, launches)
    try:
        yield sampler
    finally:
        sampler.close()
