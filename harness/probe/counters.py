"""What a process's pools have done since it started: the numbers every instrumented part adds to."""

from __future__ import annotations

from collections import deque
from time import monotonic_ns
from typing import Any

from .line import Reading


class Counters:
    """Sums over all pools of the process; times in nanoseconds, never reset while the process lives.

    Sync engines update these from many threads at once, without a lock. CPython hands the interpreter to another
    thread only at a call, a function's entry or a jump back, so a straight line of attribute arithmetic happens as a
    whole; keep calls out of it, here and where the pool's methods do their sums. A test with many threads holds this.

    The integral of the connections in use up to t is `used_integral_ns + used * t`: who takes a connection at t0 and
    gives it back at t1 adds t1 - t0, whatever others do meanwhile and in whichever order their clocks come out.
    """

    __slots__ = (
        "carried",
        "checkouts",
        "closes",
        "connects",
        "create_ns",
        "enabled_ns",
        "handover_ns",
        "handovers",
        "invalidations",
        "loop_thread",
        "out",
        "ping_ns",
        "sites",
        "timeouts",
        "transaction_ns",
        "use_ns",
        "used",
        "used_integral_ns",
        "wait_ns",
    )

    def __init__(self) -> None:
        self.out: set[Any] = set()
        """the marks of connections that are out and whose checkout was seen"""
        self.sites: deque[tuple[Any, str, int]] | None = None
        """of each hold that is over the request's account, the service's own line that took it, and nanoseconds; None
        where nobody wants to know, since finding the line costs more than all else here"""
        self.loop_thread = 0
        """the thread of the event loop that serves requests; 0 before one is known"""
        self.reset()

    def reset(self) -> None:
        """Start from zero, as a forked child must."""
        self.out.clear()
        if self.sites is not None:
            self.sites.clear()
        self.used = 0
        """connections checked out now"""
        self.carried = 0
        """those of them that were checked out before we looked: their start is unknown"""
        self.used_integral_ns = 0
        self.enabled_ns = monotonic_ns()
        self.checkouts = self.timeouts = self.connects = self.closes = self.invalidations = 0
        self.handovers = self.handover_ns = 0
        self.wait_ns = self.create_ns = self.ping_ns = self.use_ns = self.transaction_ns = 0

    def carried_in(self, now_ns: int) -> None:
        """A connection went back whose checkout nobody saw."""
        if self.carried:
            self.carried -= 1
            self.used_integral_ns += now_ns
            self.used -= 1

    def carry(self, connections: int, now_ns: int) -> None:
        """Take over connections that were checked out while nobody looked."""
        self.used_integral_ns -= connections * now_ns
        self.used += connections
        self.carried += connections

    def bound_carried(self, checked_out: int, now_ns: int) -> None:
        """Forget carried connections beyond what the pools say is out: they left by a way that shows no checkin."""
        gone = self.carried - checked_out
        if gone > 0:
            self.used_integral_ns += gone * now_ns
            self.used -= gone
            self.carried -= gone

    def pause(self, now_ns: int) -> None:
        """Nobody looks from now on: what is out is forgotten, the sums stay."""
        self.used_integral_ns += self.used * now_ns
        self.used = self.carried = 0
        self.out.clear()

    def resume(self, now_ns: int) -> None:
        self.enabled_ns = now_ns

    def still_out(self) -> tuple[Any, ...]:
        """What is out now, copied in one step."""
        return tuple(self.out)

    def connected(self, spent_ns: int) -> None:
        self.connects += 1
        self.create_ns += spent_ns

    def pinged(self, spent_ns: int) -> None:
        self.ping_ns += spent_ns

    def closed(self) -> None:
        self.closes += 1

    def invalidated(self) -> None:
        self.invalidations += 1

    def read(self, now_ns: int) -> Reading:
        """From `connection_checkouts` to `connection_handover_time_s`, the integral up to `now_ns`."""
        return (
            self.checkouts,
            self.timeouts,
            self.connects,
            self.closes,
            self.invalidations,
            self.wait_ns,
            self.create_ns,
            self.ping_ns,
            self.use_ns,
            self.used_integral_ns + self.used * now_ns,
            self.transaction_ns,
            self.handovers,
            self.handover_ns,
        )
