"""The request at hand: a mutable account in a context variable, so that whatever serves the request can add to it.

A context is copied into greenlets (AsyncSession) and worker threads (`def` endpoints); the account in it is shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextvars import ContextVar

Headers = Iterable[tuple[bytes, bytes]]


UNKNOWN = math.nan
"""A count that cannot be known exactly from inside: it stays so, whatever is added to it."""


class Account:
    """What one request spent on connections and on statements, in nanoseconds, and how many of each it took.

    `+=` of a number computed beforehand has no point between its load and its store where CPython changes threads,
    and two threads of one request at the same moment are rare anyway: no lock.
    Whoever makes an account sets its attributes: an `__init__` would be one more call in every request.
    """

    __slots__ = ("checkouts", "db_ns", "headers", "pool_ns", "round_trips", "statements", "transactions")

    headers: Headers
    """the request's own list, which tells one request from another"""
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


current: ContextVar[Account | None] = ContextVar("poolbench_account", default=None)
