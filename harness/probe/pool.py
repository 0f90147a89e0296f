"""Times what a SQLAlchemy pool does, by giving the living pool a class that measures.

`recreate()`, hence `engine.dispose()`, makes the new pool from `self.__class__`, so the measuring class survives it and
the counters, which live outside the pool, go on. Where each quantity is taken:

- checkout: all of `connect()`, as the request's pool time: wait, dial, ping and what listeners do; one that succeeds
  counts as the request's;
- wait: the queue's `get(block=True)`, which `_do_get` calls only when nothing more may be opened; that of async engines
  only where the queue is empty;
- handover: from a connection's return to the end of a `connect()` that had begun before, so was waiting for one;
- dial: the creator, which reconnects (recycle, invalidation) use too; only successful ones count;
- creation: the dial and what follows it until the end of `connect()`: listeners of dialect and app say their first
  words to the server there, which takes as long as the dial where the server is far;
- use: from the end of `connect()` to `_do_return_conn`, which runs after the rollback on return;
- close: `_close_connection`, through which every close goes, overflow included.
"""

from __future__ import annotations

from asyncio import QueueEmpty
from collections.abc import Callable
from threading import get_ident
from time import monotonic_ns
from typing import Any, NamedTuple

from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, QueuePool
from sqlalchemy.pool.base import _ConnectionFairy
from sqlalchemy.util.queue import AsyncAdaptedQueue, Full

from .accounting import Account, current
from .counters import Counters
from .place import own_line

NOT_USED = NOT_BEGUN = NOT_NEW = -1


class Mark:
    """What is known of a connection, left on its pool's record of it as `poolbench_mark`.

    One object whose attributes are slots: as attributes of the record each would be looked for in its class first, then
    in a dictionary.
    """

    __slots__ = (
        "account",
        "back_ns",
        "began_ns",
        "dialled_ns",
        "fresh",
        "idle_transaction_ns",
        "query_before_ns",
        "query_ns",
        "site",
        "used_since_ns",
    )

    def __init__(self) -> None:
        self.used_since_ns = NOT_USED
        """when it was checked out"""
        self.account: Account | None = None
        """while it is out, of the request that took it; None outside of any"""
        self.site = ""
        """the service's own line that took it, where that is asked for"""
        self.began_ns = NOT_BEGUN
        """when its transaction began"""
        self.query_ns = self.idle_transaction_ns = 0
        """what it spent, while it is out, until that request's response started, as `accounting` has them"""
        self.query_before_ns = 0
        """what `query_ns` was when its transaction began"""
        self.back_ns = 0
        """when it came back last"""
        self.dialled_ns = NOT_NEW
        """when its dial was over; nothing any more once it was checked out"""
        self.fresh = False
        """its connection was dialled, and no request has had it yet"""


def mark_of(record: Any) -> Mark:
    """The record's mark, made where it was dialled or taken while nobody looked."""
    try:
        mark: Mark = record.poolbench_mark
    except AttributeError:
        mark = record.poolbench_mark = Mark()
    return mark


_PLAIN = "_poolbench_plain_class"

Dial = Callable[[Any], Any]


class PoolGauges(NamedTuple):
    """What a pool says of itself now."""

    maximum: int
    """-1 without limit"""
    checked_out: int
    idle: int
    overflow: int
    pending: int


class PoolInstrument:
    """Makes and caches the measuring classes of one set of counters, and puts them on pools."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._pool_classes: dict[type, type] = {}
        self._queue_classes: dict[type, type] = {}

        def invalidated(*_: object) -> None:
            if self.active:
                counters.invalidated()

        self.active = False
        self._invalidated = invalidated

    def install(self, pool: Pool) -> None:
        """Measure this pool from now on; does nothing when it is measured already."""
        if hasattr(pool, _PLAIN):
            return
        plain = type(pool)
        if isinstance(pool, QueuePool):
            queue: Any = pool._pool
            queue.__class__ = self._queue_class(type(queue))
        pool.__class__ = self._pool_class(plain)
        any_pool: Any = pool
        any_pool._invoke_creator = self._timed_dial(any_pool._invoke_creator)
        # Invalidation shows nowhere but in events. They are rare, so the listeners stay when the pool is restored
        # (recreate() copies them, after which SQLAlchemy no longer knows how to remove them) and fall silent.
        for name in ("invalidate", "soft_invalidate"):
            if not any(listener is self._invalidated for listener in getattr(any_pool.dispatch, name)):
                event.listen(pool, name, self._invalidated)
        self._counters.carry(read_pool(pool).checked_out, monotonic_ns())

    def restore(self, pool: Pool) -> None:
        """Give the pool back its own classes and creator."""
        plain = getattr(pool, _PLAIN, None)
        if plain is None:
            return
        pool.__class__ = plain
        any_pool: Any = pool
        any_pool._invoke_creator = any_pool._should_wrap_creator(any_pool._creator)
        if isinstance(pool, QueuePool):
            queue: Any = pool._pool
            queue.__class__ = getattr(queue, _PLAIN)

    def _timed_dial(self, dial: Dial) -> Dial:
        counters = self._counters

        def timed_dial(record: Any) -> Any:
            # The dialect's first look at the server runs statements on this connection: they are part of getting a
            # connection, not of the request's own. connect() gives the request its account back.
            current.set(None)
            began_ns = monotonic_ns()
            connection = dial(record)
            mark = mark_of(record)
            mark.dialled_ns = dialled_ns = monotonic_ns()
            mark.fresh = True
            counters.connected(dialled_ns - began_ns)
            return connection

        return timed_dial

    def _pool_class(self, plain: type) -> type:
        if plain not in self._pool_classes:
            self._pool_classes[plain] = self._make_pool_class(plain)
        return self._pool_classes[plain]

    def _make_pool_class(self, plain: Any) -> type:
        timed_dial = self._timed_dial

        def _should_wrap_creator(pool: Any, creator: Any) -> Dial:
            return timed_dial(plain._should_wrap_creator(pool, creator))

        namespace = {
            "__slots__": (),  # the same layout, or a living pool could not change its class
            "__module__": plain.__module__,  # the pool's logger is named after its class
            "__qualname__": plain.__qualname__,
            "__doc__": plain.__doc__,
            _PLAIN: plain,
            "_should_wrap_creator": _should_wrap_creator,
            **_timed_methods(plain, self._counters),
        }
        if issubclass(plain, QueuePool):
            namespace["_queue_class"] = self._queue_class(plain._queue_class)
        return type(plain.__name__, (plain,), namespace)

    def _queue_class(self, plain: Any) -> type:
        if plain not in self._queue_classes:
            get = _timed_get(plain, self._counters)
            self._queue_classes[plain] = type(plain.__name__, (plain,), {"__slots__": (), _PLAIN: plain, "get": get})
        return self._queue_classes[plain]


def _timed_get(plain: Any, counters: Counters) -> Callable[..., Any]:
    plain_get = plain.get

    def get(queue: Any, block: bool = True, timeout: float | None = None) -> Any:
        if not block:
            return plain_get(queue, False)
        began_ns = monotonic_ns()
        try:
            return plain_get(queue, True, timeout)
        finally:
            spent_ns = monotonic_ns() - began_ns
            counters.wait_ns += spent_ns

    if plain_get is not AsyncAdaptedQueue.get:
        return get

    def get_at_once(queue: Any, block: bool = True, timeout: float | None = None) -> Any:
        """In the place of AsyncAdaptedQueue.get, which begins so too: no call more where there is no wait."""
        try:
            return queue._queue.get_nowait()
        except QueueEmpty:
            return get(queue, block, timeout)

    return get_at_once


def _timed_methods(plain: Any, counters: Counters) -> dict[str, Callable[..., Any]]:
    """The methods of the measuring class, around those of the plain one.

    The counters' sums stand here as they are: a call for each would cost a request as much as what it adds up.
    """
    return {
        "connect": _timed_connect(plain, counters),
        "_do_return_conn": _timed_return(plain, counters),
        "_close_connection": _counted_close(plain, counters),
    }


def _timed_connect(plain: Any, counters: Counters) -> Callable[[Any], Any]:
    plain_connect = plain.connect
    if plain_connect is Pool.connect:
        plain_connect = _ConnectionFairy._checkout  # all it does
    blocks = not issubclass(plain, AsyncAdaptedQueuePool)

    def connect(pool: Any) -> Any:  # noqa: PLR0912 -- each call more costs a request as much as what it adds up
        account = current.get()
        if account is not None and account.held >= account.held_most:
            account.held_most = account.held + 1  # it wants one, whether it gets it or not
        began_ns = monotonic_ns()
        try:
            fairy = plain_connect(pool)
        except PoolTimeoutError:
            counters.timeouts += 1
            raise
        finally:
            ended_ns = monotonic_ns()
            if account is not None:
                account.pool_ns += ended_ns - began_ns
                if current.get() is not account:  # a dial took it
                    current.set(account)
        mark = mark_of(fairy._connection_record)
        if mark.back_ns > began_ns:
            counters.handover_ns += ended_ns - mark.back_ns
            counters.handovers += 1
        dialled_ns = mark.dialled_ns
        if dialled_ns != NOT_NEW:
            mark.dialled_ns = NOT_NEW
            if dialled_ns >= counters.enabled_ns:
                counters.create_ns += ended_ns - dialled_ns
        if account is not None:
            account.checkouts += 1
        # Pools that hand one record to several holders (StaticPool) count it once, until its first checkin.
        if mark.used_since_ns < counters.enabled_ns:
            mark.used_since_ns = ended_ns
            mark.account = account
            mark.query_ns = mark.idle_transaction_ns = 0
            counters.used_integral_ns -= ended_ns
            counters.used += 1
            counters.checkouts += 1
            counters.out.add(mark)
            if counters.sites is not None:
                mark.site = own_line()
            if account is not None:
                account.held += 1
                if mark.fresh:
                    mark.fresh = False
                    account.fresh = True
                if blocks and get_ident() == counters.loop_thread and not pool._dialect.is_async:
                    account.on_loop += 1
        return fairy

    return connect


def _timed_return(plain: Any, counters: Counters) -> Callable[[Any, Any], None]:
    plain_return = plain._do_return_conn
    short = plain_return is QueuePool._do_return_conn

    def _do_return_conn(pool: Any, record: Any) -> None:
        now_ns = monotonic_ns()
        mark = mark_of(record)
        since_ns, began_ns = mark.used_since_ns, mark.began_ns
        if began_ns != NOT_BEGUN:  # lost or detached within a transaction
            mark.began_ns = NOT_BEGUN
            if began_ns >= counters.enabled_ns:
                counters.transaction_ns += now_ns - began_ns
        mark.used_since_ns = NOT_USED
        mark.back_ns = now_ns
        if since_ns >= counters.enabled_ns:
            counters.use_ns += now_ns - since_ns
            counters.used_integral_ns += now_ns
            counters.used -= 1
            counters.out.discard(mark)
            if mark.account is not None:
                if counters.sites is not None:
                    counters.sites.append((mark.account, mark.site, now_ns - since_ns))
                _end_hold(mark, since_ns, now_ns)
        # Without a mark and without a connection it is the record of a checkout that failed: it was never in use.
        elif since_ns != NOT_USED or record.dbapi_connection is not None:
            counters.carried_in(now_ns)
        if short:  # all that QueuePool does, unless the queue is full
            try:
                pool._pool.put_nowait(record)
            except Full:
                pass
            else:
                return
        plain_return(pool, record)

    return _do_return_conn


def _end_hold(mark: Mark, since_ns: int, now_ns: int) -> None:
    """Add a hold that is over to what its request held, divided at the start of the response."""
    account: Any = mark.account
    mark.account = None  # a request lives no longer for its connection's sake
    responded_ns = account.responded_ns
    if not responded_ns:
        account.hold_ns += now_ns - since_ns
    elif responded_ns > since_ns:
        account.hold_ns += responded_ns - since_ns
        account.after_ns += now_ns - responded_ns
    else:
        account.after_ns += now_ns - since_ns
    account.query_ns += mark.query_ns
    account.idle_transaction_ns += mark.idle_transaction_ns
    account.holds += 1
    account.held -= 1


def _counted_close(plain: Any, counters: Counters) -> Callable[..., None]:
    plain_close = plain._close_connection

    # SQLAlchemy 1.4 passes `terminate` in its place, 2.x by name.
    def _close_connection(pool: Any, connection: Any, *arguments: Any, **named: Any) -> None:
        counters.closed()
        plain_close(pool, connection, *arguments, **named)

    return _close_connection


def read_pool(pool: Pool) -> PoolGauges:
    """Read a pool from any thread, without touching what it has not made yet."""
    if not isinstance(pool, QueuePool):
        return PoolGauges(-1, 0, 0, 0, 0)
    queue: Any = pool._pool
    idle, pending = _queue_lengths(queue)
    size, overflow, limit = queue.maxsize, pool._overflow, pool._max_overflow
    open_ = size + overflow
    # Neither keywords nor max(): each call counts where a service waits for the reading.
    return PoolGauges(
        -1 if limit < 0 else size + limit,
        open_ - idle if open_ > idle else 0,
        idle,
        overflow if overflow > 0 else 0,
        pending,
    )


def _queue_lengths(queue: Any) -> tuple[int, int]:
    """Connections in the queue and requests waiting for one: len() of both, atomic, and right at any moment."""
    parts = vars(queue)
    if "not_empty" in parts:
        return len(queue.queue), len(queue.not_empty._waiters)
    # The async queue makes its asyncio.Queue at first use. Asking for it from here could make a second one, and a
    # connection put into the first would be lost.
    inner = parts.get("_queue")
    return (0, 0) if inner is None else (len(inner._queue), len(inner._getters))
