"""pg_stat_activity of every launch's database, over a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.sql import SQL

from harness.domain.evidence import Server
from harness.errors import InfrastructureError
from harness.observe.sampler import Row

APPLICATION_NAME = "poolbench_observer"
_CONNECT_TIMEOUT_S = 3
_STATEMENT_TIMEOUT_MS = 2000

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
        result = self._checked(self._connection.pgconn.exec_prepared(_STATEMENT, None))
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
        query = _QUERY.format(databases=list(self._launches)).as_bytes(self._connection)
        try:
            self._checked(self._connection.pgconn.prepare(_STATEMENT, query))
        except psycopg.Error:
            self._connection.close()  # the next reading tries anew
            raise

    def _checked(self, result: PGresult) -> PGresult:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise psycopg.OperationalError(self._connection.pgconn.get_error_message(self._connection.info.encoding))
        return result

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


def observer_connection(server: Server) -> psycopg.Connection[tuple[Any, ...]]:
    """An autocommit connection to the maintenance database, under the observer's name.

    Raises:
        InfrastructureError: the server gives no connection.
    """
    try:
        return psycopg.connect(
            server.url(server.maintenance_database),
            autocommit=True,
            application_name=APPLICATION_NAME,
            connect_timeout=_CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}",
        )
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"The observer gets no connection to Postgres: {str(error).splitlines()[0].rstrip('.')}.",
            next_step="Leave two connections below max_connections free for it.",
        ) from error


@contextmanager
def activity_sampler(server: Server, launches: Mapping[str, str]) -> Iterator[ActivitySampler]:
    """A connected sampler; its connection is closed at the end."""
    sampler = ActivitySampler(server, launches)
    try:
        yield sampler
    finally:
        sampler.close()
