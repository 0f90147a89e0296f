"""pg_stat_activity of every launch's database, over a connection of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from harness.domain.evidence import Server
from harness.errors import InfrastructureError
from harness.observe.sampler import Row

APPLICATION_NAME = "poolbench_observer"
_CONNECT_TIMEOUT_S = 3
_STATEMENT_TIMEOUT_MS = 2000

# Autocommit matters: within a transaction the view would show its first state again and again.
_QUERY = """
SELECT datname, coalesce(state, ''), coalesce(wait_event_type, ''), coalesce(wait_event, ''), count(*)::int,
       extract(epoch FROM max(clock_timestamp() - xact_start))::float8
FROM pg_stat_activity
WHERE datname = ANY(%s) AND backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1, 2, 3, 4
"""


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
        self._databases = list(launches)
        self._connection = observer_connection(server)

    def read(self) -> Sequence[Row]:
        if self._connection.closed:
            self._connection = observer_connection(self._server)
        found = self._connection.execute(_QUERY, [self._databases], prepare=True).fetchall()
        unseen = set(self._databases).difference(database for database, *_ in found)
        return [
            *(
                self._row(database, state=state, kind=kind, event=event, connections=connections, oldest_s=oldest_s)
                for database, state, kind, event, connections, oldest_s in found
            ),
            *(self._row(database) for database in unseen),
        ]

    def close(self) -> None:
        self._connection.close()

    def _row(
        self,
        database: str,
        *,
        state: str = "",
        kind: str = "",
        event: str = "",
        connections: int = 0,
        oldest_s: float | None = None,
    ) -> Row:
        return {
            "launch_id": self._launches[database],
            "state": state,
            "wait_event_type": kind,
            "wait_event": event,
            "connections": connections,
            "oldest_transaction_s": math.nan if oldest_s is None else oldest_s,
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
