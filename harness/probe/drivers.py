"""Counts the transactions and round trips of each request where the driver itself makes them.

A round trip: the driver sends something and waits for the server's answer before it goes on. How many an operation of
SQLAlchemy takes depends on the driver and on what its connection has seen before (statements prepared, evicted from a
cache, types looked up), so it is not computed from outside:

- asyncpg and psycopg make each exchange through one of a few functions of their own; those count;
- psycopg2 makes them within libpq, where nothing can be seen, but by few rules: in a transaction or not, and what
  leaving AUTOCOMMIT resets. Where these do not say (server-side cursors, an error that is not the server's), UNKNOWN;
- of any other driver, transactions and round trips are UNKNOWN.

Of these, what a statement takes the first time that a connection meets it is told apart, and what psycopg prepares and
forgets by its count of uses: which of a service's requests that is depends on which connection it was given.

Exchanges on connections that the app got from asyncpg or psycopg past SQLAlchemy belong to its requests as well.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from math import ceil
from threading import Lock
from typing import Any
from weakref import WeakSet

from sqlalchemy.engine import Dialect

from .accounting import UNKNOWN, Account, current

Method = Callable[..., Any]
Wrap = Callable[[Method], Method]

MOST_STATEMENTS = 1000
"""of a connection that are told apart: who writes a new statement each time must not fill memory"""
_STATEMENT = ("do_execute", "do_execute_no_params")
_END = ("do_commit", "do_rollback")
_TWO_PHASE = ("do_begin_twophase", "do_prepare_twophase", "do_commit_twophase", "do_rollback_twophase")


class Exchanges:
    """The functions through which asyncpg and psycopg exchange, replaced by counting ones while a dialect is measured.

    They belong to the driver's module, hence to all connections of the process.
    """

    def __init__(self) -> None:
        self._measured: WeakSet[Dialect] = WeakSet()
        self._replaced: dict[str, list[tuple[Any, str, Any]]] = {}
        self._lock = Lock()

    def count(self, dialect: Dialect) -> bool:
        """Count this dialect's driver's exchanges from now on; False where they cannot be counted there."""
        replacements = _REPLACEMENTS.get(dialect.driver)
        if replacements is None:
            return False
        with self._lock:
            self._measured.add(dialect)
            if dialect.driver not in self._replaced:
                try:
                    found = list(replacements())
                except (AttributeError, KeyError):  # a version of the driver that is made otherwise
                    return False
                self._replaced[dialect.driver] = [(owner, name, getattr(owner, name)) for owner, name, _ in found]
                for owner, name, replacement in found:
                    setattr(owner, name, replacement)
        return True

    def forget(self, dialect: Dialect) -> None:
        """Give the driver back its own functions, once none of its dialects is measured."""
        with self._lock:
            self._measured.discard(dialect)
            if any(other.driver == dialect.driver for other in self._measured):
                return
            for owner, name, plain in self._replaced.pop(dialect.driver, ()):
                setattr(owner, name, plain)

    def after_fork(self) -> None:
        """Nobody holds the lock in a forked child."""
        self._lock = Lock()


def _asyncpg() -> Iterator[tuple[Any, str, Any]]:
    protocol = sys.modules["asyncpg.protocol"].Protocol
    if not hasattr(protocol, "queries_count"):
        raise AttributeError
    yield protocol, "query", _query(protocol.query)
    for name in ("bind_execute", "bind_execute_many"):
        yield protocol, name, _sent(getattr(protocol, name))
    yield protocol, "prepare", _prepare(protocol.prepare)
    connection = sys.modules["asyncpg.connection"].Connection
    if hasattr(connection, "_introspect_types"):
        yield connection, "_introspect_types", _looking_up(connection._introspect_types)
    for name in ("bind", "execute", "close_statement", "close_portal", "copy_in", "copy_out"):
        yield protocol, name, _exchange(getattr(protocol, name))


def _psycopg() -> Iterator[tuple[Any, str, Any]]:
    execute = sys.modules["psycopg.generators"].execute
    counted = _waiting(execute)
    # Each module has imported it under its name.
    for name, module in list(sys.modules.items()):
        if name.startswith("psycopg.") and getattr(module, "execute", None) is execute:
            yield module, "execute", counted
    connection = sys.modules["psycopg._connection_base"].BaseConnection
    yield connection, "_get_tx_start_command", _begin(connection._get_tx_start_command)
    if hasattr(connection, "_deallocate"):
        yield connection, "_deallocate", _deallocating(connection._deallocate)
    cursor = sys.modules["psycopg._cursor_base"].BaseCursor
    if hasattr(cursor, "_send_prepare"):
        yield cursor, "_send_prepare", _preparing(cursor._send_prepare)
    pipeline = sys.modules["psycopg._pipeline_base"].BasePipeline
    for name in ("_sync_gen", "_exit_gen"):  # each waits for the answers to all that was sent
        yield pipeline, name, _waiting(getattr(pipeline, name))


_REPLACEMENTS: Mapping[str, Callable[[], Iterator[tuple[Any, str, Any]]]] = {"asyncpg": _asyncpg, "psycopg": _psycopg}


def _query(plain: Method) -> Method:
    """Of asyncpg, for what takes no parameters: BEGIN, COMMIT, ROLLBACK."""

    def query(protocol: Any, text: str, *arguments: Any) -> Awaitable[Any]:
        account = current.get()
        if account is not None:
            account.round_trips += 1
            if text[:5] == "BEGIN":  # a third of what startswith takes
                account.transactions += 1
        return plain(protocol, text, *arguments)  # type: ignore[no-any-return]  # a coroutine

    return query


def _sent(plain: Method) -> Method:
    """Of asyncpg, for what sends parameters: where one cannot be encoded, nothing is sent."""

    async def exchange(protocol: Any, *arguments: Any, **named: Any) -> Any:
        before = protocol.queries_count
        try:
            return await plain(protocol, *arguments, **named)
        finally:
            if protocol.queries_count != before:
                account = current.get()
                if account is not None:
                    account.round_trips += 1

    return exchange


def _prepare(plain: Method) -> Method:
    """Of asyncpg: after an error, which it asked for by a Flush, it sends Sync and waits once more."""

    async def prepare(protocol: Any, *arguments: Any, **named: Any) -> Any:
        account = current.get()
        if account is None:
            return await plain(protocol, *arguments, **named)
        account.round_trips += 1
        if _is_first(protocol, arguments[1] if len(arguments) > 1 else None):
            account.first_round_trips += 1
        try:
            return await plain(protocol, *arguments, **named)
        except Exception as error:
            if getattr(error, "sqlstate", None) is not None:
                account.round_trips += 1
            raise

    return prepare


def _looking_up(plain: Method) -> Method:
    """Of asyncpg, for types that a connection meets for the first time: several exchanges, all of them for that."""

    async def look_up(connection: Any, *arguments: Any, **named: Any) -> Any:
        account = current.get()
        if account is None:
            return await plain(connection, *arguments, **named)
        others = account.round_trips - account.first_round_trips
        try:
            return await plain(connection, *arguments, **named)
        finally:
            if others == others:  # noqa: PLR0124 -- not UNKNOWN
                account.first_round_trips = int(account.round_trips - others)

    return look_up


def _preparing(plain: Method) -> Method:
    """Of psycopg, which waits for what it prepares before it goes on, but not in a pipeline."""

    def send_prepare(cursor: Any, name: bytes, query: Any) -> None:
        plain(cursor, name, query)
        account = current.get()
        if account is None or cursor._conn._pipeline is not None:
            return
        if _is_first(cursor._conn, query.query) or cursor._conn.prepare_threshold:
            account.first_round_trips += 1

    return send_prepare


def _deallocating(plain: Method) -> Method:
    """Of psycopg, which forgets what it prepared with each ROLLBACK, and prepares it again after some uses: what that
    takes depends on what others did on the connection, unless it prepares everything at once."""

    def deallocate(connection: Any, *arguments: Any) -> Iterator[Any]:
        account = current.get()
        if account is not None and connection._pipeline is None and connection.prepare_threshold:
            account.first_round_trips += 1
        return plain(connection, *arguments)  # type: ignore[no-any-return]  # a generator

    return deallocate


def _is_first(connection: Any, text: object) -> bool:
    """Whether a connection meets a statement for the first time. Preparing it again, because a cache is off or too
    small, is not: that is what each of its requests takes."""
    try:
        met = connection.poolbench_prepared
    except AttributeError:
        met = connection.poolbench_prepared = set()
    digest = hash(text)
    if digest in met or len(met) >= MOST_STATEMENTS:
        return False
    met.add(digest)
    return True


def _exchange(plain: Method) -> Method:
    def exchange(protocol: Any, *arguments: Any, **named: Any) -> Awaitable[Any]:
        account = current.get()
        if account is not None:
            account.round_trips += 1
        return plain(protocol, *arguments, **named)  # type: ignore[no-any-return]  # a coroutine

    return exchange


def _waiting(plain: Method) -> Method:
    """Of psycopg: sends what there is to send and waits for all answers."""

    def exchange(*arguments: Any) -> Iterator[Any]:
        account = current.get()
        if account is not None:
            account.round_trips += 1
        return plain(*arguments)  # type: ignore[no-any-return]  # a generator

    return exchange


def _begin(plain: Method) -> Method:
    """Of psycopg, asked for the command when it is about to be sent."""

    def begin(*arguments: Any) -> bytes:
        account = current.get()
        if account is not None:
            account.transactions += 1
        return plain(*arguments)  # type: ignore[no-any-return]

    return begin


exchanges = Exchanges()
"""of this process, whose modules they are in"""


def wrappers(dialect: Dialect, *, counted: bool) -> Mapping[str, Wrap]:
    """What to put around this dialect's methods. `counted`: the driver counts by itself, so nothing."""
    if counted:
        return {}
    if dialect.driver == "psycopg2":
        return {
            **dict.fromkeys(_STATEMENT, _psycopg2_statement),
            "do_executemany": lambda execute: _psycopg2_many(execute, dialect),
            **dict.fromkeys(_END, _psycopg2_end),
            "do_ping": _psycopg2_ping,
            "set_readonly": _psycopg2_setting,
            "set_deferrable": _psycopg2_setting,
            **dict.fromkeys(_TWO_PHASE, _untold),
        }
    return dict.fromkeys((*_STATEMENT, "do_executemany", *_END, "do_ping", *_TWO_PHASE), _untold)


def watched_setting(dialect: Dialect, set_isolation_level: Method) -> Method:
    """`set_isolation_level`, its round trips counted where the driver does not do so by itself."""
    return _psycopg2_setting(set_isolation_level) if dialect.driver == "psycopg2" else set_isolation_level


def _untold(plain: Method) -> Method:
    def untold(*arguments: Any, **named: Any) -> Any:
        account = current.get()
        if account is not None:
            account.transactions = account.round_trips = UNKNOWN
        return plain(*arguments, **named)

    return untold


# psycopg2. STATUS_READY and STATUS_BEGIN of psycopg2.extensions; anything else is a two-phase commit.
_READY, _BEGUN = 1, 2


def _psycopg2_statement(execute: Method) -> Method:
    def counted_execute(cursor: Any, statement: Any, *arguments: Any) -> None:
        account = current.get()
        if account is None:
            execute(cursor, statement, *arguments)
            return
        with _Psycopg2Execution(account, cursor, round_trips=1):
            execute(cursor, statement, *arguments)

    return counted_execute


def _psycopg2_many(execute: Method, dialect: Any) -> Method:
    """One round trip for each set of parameters, or for each page of them."""

    def counted_executemany(cursor: Any, statement: Any, parameters: Any, *arguments: Any) -> None:
        account = current.get()
        if account is None:
            execute(cursor, statement, parameters, *arguments)
            return
        in_pages = getattr(dialect.executemany_mode, "name", "") == "EXECUTEMANY_VALUES_PLUS_BATCH"
        page_size = (dialect.executemany_batch_page_size or 100) if in_pages else 1
        with _Psycopg2Execution(account, cursor, round_trips=ceil(len(parameters) / page_size)) as execution:
            execution.partial = len(parameters) > 1
            execute(cursor, statement, parameters, *arguments)

    return counted_executemany


class _Psycopg2Execution:
    """psycopg2 sends BEGIN by itself, before the statement, when no transaction has begun."""

    __slots__ = ("account", "cursor", "partial", "ready", "round_trips")

    def __init__(self, account: Account, cursor: Any, *, round_trips: int) -> None:
        self.account = account
        self.cursor = cursor
        self.round_trips = round_trips
        self.partial = False
        """it may fail half-way, and does not say how far it came"""
        self.ready = _status(cursor) == _READY

    def __enter__(self) -> _Psycopg2Execution:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        account = self.account
        status = _status(self.cursor)
        if self.ready and status == _BEGUN:
            account.transactions += 1
            account.round_trips += 1
        account.round_trips += self.round_trips
        answered = error is None or (not self.partial and getattr(error, "pgcode", None) is not None)
        if not answered or getattr(self.cursor, "name", None) is not None:
            account.round_trips = UNKNOWN
        if status is None:
            account.transactions = account.round_trips = UNKNOWN


def _status(cursor: Any) -> int | None:
    """None where something else stands in psycopg2's place and does not say."""
    return getattr(getattr(cursor, "connection", None), "status", None)


def _psycopg2_end(end: Method) -> Method:
    """COMMIT and ROLLBACK are sent only when a transaction has begun."""

    def counted_end(connection: Any) -> None:
        account = current.get()
        if account is not None:
            status = getattr(getattr(connection, "dbapi_connection", connection), "status", None)
            if status == _BEGUN:
                account.round_trips += 1
            elif status != _READY:
                account.round_trips = UNKNOWN
        end(connection)

    return counted_end


def _psycopg2_ping(ping: Method) -> Method:
    """SQLAlchemy pings in AUTOCOMMIT, which it enters and leaves for that."""

    def counted_ping(connection: Any) -> Any:
        account = current.get()
        if account is None:
            return ping(connection)
        account.round_trips += 1 if connection.autocommit else 1 + _settings_reset(_settings(connection))
        try:
            return ping(connection)
        except BaseException:
            account.round_trips = UNKNOWN
            raise

    return counted_ping


def _psycopg2_setting(change: Method) -> Method:
    """psycopg2 tells the server of a setting when it is in AUTOCOMMIT, where no BEGIN would."""

    def counted_setting(connection: Any, value: Any) -> None:
        account = current.get()
        if account is None:
            change(connection, value)
            return
        was_automatic, before, status = connection.autocommit, _settings(connection), connection.status
        change(connection, value)
        if status == _BEGUN and connection.status == _READY:  # it was rolled back for it
            account.round_trips += 1
        if connection.autocommit:
            account.round_trips += sum(old != new for old, new in zip(before, _settings(connection)))
        elif was_automatic:
            account.round_trips += _settings_reset(before)

    return counted_setting


def _settings(connection: Any) -> tuple[Any, Any, Any]:
    return connection.isolation_level, connection.readonly, connection.deferrable


def _settings_reset(settings: tuple[Any, Any, Any]) -> int:
    """How many leaving AUTOCOMMIT sets back to the server's default, each with a SET of its own."""
    return sum(setting is not None for setting in settings)
