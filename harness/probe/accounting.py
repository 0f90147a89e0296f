"""The request at hand: a mutable account in a context variable, so that whatever serves the request can add to it.

A context is copied into greenlets (AsyncSession) and worker threads (`def` endpoints); the account in it is shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

Headers = Iterable[tuple[bytes, bytes]]


class Account:
    """Time one request spent on connections and on statements, in nanoseconds.

    `+=` of a number computed beforehand has no point between its load and its store where CPython changes threads,
    and two threads of one request at the same moment are rare anyway: no lock.
    Whoever makes an account sets its attributes: an `__init__` would be one more call in every request.
    """

    __slots__ = ("db_ns", "headers", "pool_ns")

    headers: Headers
    """the request's own list, which tells one request from another"""
    pool_ns: int
    db_ns: int


current: ContextVar[Account | None] = ContextVar("poolbench_account", default=None)
