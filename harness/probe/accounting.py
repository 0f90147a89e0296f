"""The request at hand: a mutable account in a context variable, so that whatever serves the request can add to it.

A context is copied into greenlets (AsyncSession) and worker threads (`def` endpoints); the account in it is shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, MutableMapping
from contextvars import ContextVar
from typing import Any

Headers = Iterable[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]

UNKNOWN = math.nan
"""A count that cannot be known exactly from inside: it stays so, whatever is added to it."""


class Account:
    """What one request spent on connections and on statements, in nanoseconds, and how many of each it took.

    `+=` of a number computed beforehand has no point between its load and its store where CPython changes threads,
    and two threads of one request at the same moment are rare anyway: no lock.
    Whoever makes an account sets its attributes: an `__init__` would be one more call in every request.
    """

    __slots__ = (
        "after_ns",
        "checkouts",
        "db_ns",
        "ended_ns",
        "first_round_trips",
        "fresh",
        "headers",
        "held",
        "held_most",
        "hold_ns",
        "holds",
        "idle_transaction_ns",
        "on_loop",
        "pool_ns",
        "query_ns",
        "responded_ns",
        "round_trips",
        "scope",
        "statements",
        "threads",
        "transactions",
    )

    headers: Headers
    """the request's own list, which tells one request from another"""
    scope: Scope
    """which names its endpoint"""
    responded_ns: int
    """when its response started; 0 before"""
    ended_ns: int
    """when all its work was done; 0 before"""
    pool_ns: int
    db_ns: int
    statements: int
    """calls of a cursor's execute or executemany, whether they succeeded or not; a savepoint is one, its end another"""
    transactions: float
    """BEGINs that the driver sent, those of its pings included; UNKNOWN with drivers that do not show it"""
    checkouts: int
    """connections that a pool handed out"""
    round_trips: float
    """how often the driver sent something and waited for the answer; dialling not included; may be UNKNOWN"""
    first_round_trips: int
    """of these, what a connection takes for itself: a statement prepared and types looked up as it meets them first"""
    fresh: bool
    """it had a connection that no request had had before"""
    held: int
    """connections that it has out now"""
    held_most: int
    """that it wanted at once, the one it waited for in vain included"""
    holds: int
    """connections that it gave back; the times that follow are of these"""
    on_loop: int
    """connections that it took on the event loop with a driver that cannot wait there without stopping it"""
    threads: int
    """how often it needed a thread of the threadpool while it had a connection out"""
    hold_ns: int
    """from checkout to checkin, until its response started"""
    query_ns: int
    """of that, until the driver had answered a statement, a commit or a rollback"""
    idle_transaction_ns: int
    """of that, in a transaction otherwise"""
    after_ns: int
    """from the start of its response to checkin"""


current: ContextVar[Account | None] = ContextVar("poolbench_account", default=None)
