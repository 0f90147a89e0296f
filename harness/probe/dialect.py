"""Times the round trips a SQLAlchemy dialect makes: statements, commits, rollbacks, pings. Counts statements.

The methods are shadowed on the dialect instance, which belongs to one engine; event listeners would miss COMMIT,
ROLLBACK and ping, and cost more. A transaction lasts from SQLAlchemy's begin, just before its first statement (where
the drivers send BEGIN), to the end of the commit or rollback; in AUTOCOMMIT there is none.
Fetches from a server-side cursor are not timed: they belong to no statement's execution. Round trips are counted in
`harness.probe.drivers`.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.engine.default import DefaultDialect

from . import drivers
from .accounting import current
from .counters import Counters
from .pool import NOT_BEGUN, mark_of

_EXECUTE = ("do_execute", "do_executemany")
_END = ("do_commit", "do_rollback")
_TIMED = (*_EXECUTE, *_END, "do_execute_no_params", "do_begin", "do_ping")
_AUTOCOMMIT = "_poolbench_autocommit"
"""set on a dialect whose connections may be in AUTOCOMMIT; stays when the dialect is restored"""
_MARK = "_poolbench_timed"
"""set on a dialect that is timed: the names that hide its own"""

Method = Callable[..., Any]


def install(dialect: Dialect, counters: Counters) -> None:
    """Time this dialect from now on; does nothing when it is timed already."""
    timed = vars(dialect)
    if _MARK in timed:
        return
    for name in _EXECUTE:
        timed[name] = _timed_execute(getattr(dialect, name))
    timed["do_execute_no_params"] = _timed_execute_no_params(dialect.do_execute_no_params)
    for name in _END:
        timed[name] = _timed_end(*_ending(dialect, name), counters)
    timed["do_begin"] = _marked_begin(dialect)
    _watch_for_autocommit(dialect, timed)
    timed["do_ping"] = _timed_ping(dialect.do_ping, counters)
    wrappers = drivers.wrappers(dialect, counted=drivers.exchanges.count(dialect))
    for name, wrap in wrappers.items():
        timed[name] = wrap(getattr(dialect, name))
    timed[_MARK] = (*_TIMED, *wrappers)


def restore(dialect: Dialect) -> None:
    """Let the dialect's own methods show again."""
    timed = vars(dialect)
    for name in timed.pop(_MARK, ()):
        timed.pop(name, None)
    drivers.exchanges.forget(dialect)


def _timed_execute(execute: Method) -> Method:
    if getattr(execute, "__func__", None) is DefaultDialect.do_execute:
        return _timed_cursor_execute

    # Positional arguments, as SQLAlchemy passes them: unpacking *args would go through C, and every byte of C stack
    # is copied whenever the greenlet of an async session is switched.
    def timed_execute(cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        account = current.get()
        if account is None:
            execute(cursor, statement, parameters, context)
            return
        began_ns = monotonic_ns()
        try:
            execute(cursor, statement, parameters, context)
        finally:
            spent_ns = monotonic_ns() - began_ns
            account.db_ns += spent_ns
            account.statements += 1
            if not account.responded_ns:
                _spent_on(context, spent_ns)

    return timed_execute


def _spent_on(context: Any, spent_ns: int) -> None:
    """A statement is executed in a context, which knows its connection; one that left its pool has no record."""
    try:
        context._dbapi_connection._connection_record.poolbench_mark.query_ns += spent_ns
    except AttributeError:
        return


def _timed_cursor_execute(cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
    """In the place of DefaultDialect.do_execute rather than around it: no call more than without the probe."""
    account = current.get()
    if account is None:
        cursor.execute(statement, parameters)
        return
    began_ns = monotonic_ns()
    try:
        cursor.execute(statement, parameters)
    finally:
        spent_ns = monotonic_ns() - began_ns
        account.db_ns += spent_ns
        account.statements += 1
        if not account.responded_ns:
            _spent_on(context, spent_ns)


def _timed_execute_no_params(execute: Method) -> Method:
    def with_parameters(cursor: Any, statement: Any, _parameters: Any, context: Any = None) -> None:
        execute(cursor, statement, context)

    timed_execute = _timed_execute(with_parameters)

    def timed_execute_no_params(cursor: Any, statement: Any, context: Any = None) -> None:
        timed_execute(cursor, statement, None, context)

    return timed_execute_no_params


def _marked_begin(dialect: Dialect) -> Method:
    # The drivers send BEGIN with the first statement, so SQLAlchemy's begin does nothing and takes no time to count.
    begin = None if type(dialect).do_begin is DefaultDialect.do_begin else dialect.do_begin
    in_autocommit = _autocommit_check(dialect)
    settings = vars(dialect)

    def marked_begin(connection: Any) -> None:
        if begin is not None:
            begin(connection)
        # Asking costs three calls in every transaction, so nobody is asked before somebody set it.
        if _AUTOCOMMIT in settings and in_autocommit(connection.dbapi_connection):
            return
        try:
            mark = mark_of(connection._connection_record)
        except AttributeError:  # detached from its pool
            return
        mark.began_ns = monotonic_ns()
        mark.query_before_ns = mark.query_ns

    return marked_begin


def _watch_for_autocommit(dialect: Dialect, settings: dict[str, Any]) -> None:
    """Note when a connection is set to AUTOCOMMIT. One may have been already, on an engine that was used before."""
    if "set_isolation_level" in settings:
        return
    if getattr(dialect, "server_version_info", None) is not None:
        settings[_AUTOCOMMIT] = True
    set_plainly = drivers.watched_setting(dialect, dialect.set_isolation_level)

    def set_isolation_level(connection: Any, level: Any) -> None:
        if level == "AUTOCOMMIT":  # SQLAlchemy passes it in capitals, however it was written
            settings[_AUTOCOMMIT] = True
        set_plainly(connection, level)

    settings["set_isolation_level"] = set_isolation_level


def _autocommit_check(dialect: Dialect) -> Callable[[Any], bool]:
    plain = getattr(Dialect, "detect_autocommit_setting", None)
    if plain is None:  # before SQLAlchemy 2.0.43; asyncpg's adapter, psycopg and psycopg2 all say
        return lambda connection: getattr(connection, "autocommit", False) is True
    if type(dialect).detect_autocommit_setting is plain:
        return lambda _connection: False  # a dialect that cannot say
    return dialect.detect_autocommit_setting


# In Python for the same reason.
def _commit(connection: Any) -> None:
    connection.commit()


def _rollback(connection: Any) -> None:
    connection.rollback()


def _ending(dialect: Dialect, name: str) -> tuple[Method, bool]:
    """What ends a transaction, and whether on the driver's own connection: in the place of DefaultDialect's method,
    which has the pool's proxy look for the driver's."""
    plain = name == "do_commit" or not getattr(dialect, "skip_autocommit_rollback", False)
    if plain and getattr(type(dialect), name) is getattr(DefaultDialect, name):
        return (_commit if name == "do_commit" else _rollback), True
    return getattr(dialect, name), False


def _timed_end(end: Method, of_driver: bool, counters: Counters) -> Method:
    def timed_end(connection: Any) -> None:
        began_ns = monotonic_ns()
        try:
            # Who calls the dialect by hand may pass the driver's connection itself.
            end(getattr(connection, "dbapi_connection", connection) if of_driver else connection)
        finally:
            ended_ns = monotonic_ns()
            account = current.get()
            responded_ns = 0
            if account is not None:
                account.db_ns += ended_ns - began_ns
                responded_ns = account.responded_ns
            try:
                mark = connection._connection_record.poolbench_mark
            except AttributeError:  # detached from its pool, or never begun
                pass
            else:
                if not responded_ns:
                    mark.query_ns += ended_ns - began_ns
                since_ns = mark.began_ns
                if since_ns != NOT_BEGUN:
                    mark.began_ns = NOT_BEGUN
                    if since_ns >= counters.enabled_ns:
                        counters.transaction_ns += ended_ns - since_ns
                        until_ns = responded_ns or ended_ns
                        if until_ns > since_ns:
                            mark.idle_transaction_ns += until_ns - since_ns - mark.query_ns + mark.query_before_ns

    return timed_end


def _timed_ping(ping: Method, counters: Counters) -> Method:
    def timed_ping(connection: Any) -> Any:
        began_ns = monotonic_ns()
        try:
            return ping(connection)
        finally:
            counters.pinged(monotonic_ns() - began_ns)

    return timed_ping
