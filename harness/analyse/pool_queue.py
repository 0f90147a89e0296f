"""A pool's queue, exactly: when each request gets its connection, and what formulas of the textbook say beside it.

The simulation is SQLAlchemy's QueuePool: who finds no connection free waits in the order of arrival, whoever waits
longer than pool_timeout gives up, and what is opened beyond pool_size is closed when it comes back. In a queue that is
served in order everything about a wait is known when it begins, so one pass over the arrivals is exact; a heap of the
times at which connections come back is all it needs (Kiefer and Wolfowitz, 1955).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import heappop, heappush, heapreplace

import numpy as np

from harness.analyse.arrays import Floats


def waits_s(
    due_s: Iterable[float],
    holds_s: Iterable[float],
    pool_size: int,
    max_overflow: int = 0,
    timeout_s: float = math.inf,
    *,
    dial_s: float = 0.0,
    handover_s: float = 0.0,
    open_: int = 0,
) -> Floats:
    """How long each request waits for its connection; infinite where it gave up.

    Args:
        due_s: when each asks for a connection, ascending.
        holds_s: for how long it then has it.
        pool_size: connections that are kept.
        max_overflow: connections that may be opened beyond.
        timeout_s: after which a request gives up.
        dial_s: what it takes to open a connection.
        handover_s: from a connection's return until somebody who waits has taken it up; nobody else has it meanwhile.
        open_: connections that are open at the beginning.
    """
    back_s: list[float] = []  # when each connection that is out comes back, soonest first
    idle, most = min(open_, pool_size), pool_size + max_overflow
    found: list[float] = []
    for at_s, hold_s in zip(due_s, holds_s, strict=True):
        while back_s and back_s[0] <= at_s:
            heappop(back_s)
            if idle < pool_size:
                idle += 1
        if idle:
            idle -= 1
            heappush(back_s, at_s + hold_s)
            found.append(0.0)
        elif len(back_s) < most:
            heappush(back_s, at_s + dial_s + hold_s)
            found.append(dial_s)
        elif (wait_s := back_s[0] - at_s) > timeout_s:
            found.append(math.inf)
        else:
            wait_s += handover_s
            heapreplace(back_s, at_s + wait_s + hold_s)
            found.append(wait_s)
    return np.array(found)


def erlang_wait_s(rate_rps: float, hold_s: float, connections: int, share: float) -> float:
    """The quantile of waiting in M/M/c, whose holds are exponential; infinite where more comes than can be served.

    Erlang's C, by his recursion for B: the chance to wait at all; who does waits for an exponential time.
    """
    load = rate_rps * hold_s
    if load >= connections:
        return math.inf
    blocked = 1.0
    for number in range(1, connections + 1):
        blocked = load * blocked / (number + load * blocked)
    waiting = blocked / (1 - load / connections * (1 - blocked))
    beyond = 1 - share
    return math.log(waiting / beyond) * hold_s / (connections - load) if waiting > beyond else 0.0
