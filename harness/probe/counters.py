"""What a process's pools have done since it started: the numbers every instrumented part adds to."""

from __future__ import annotations

from time import monotonic_ns

_SECOND_NS = 1e9


class Counters:
    """Sums over all pools of the process; times in nanoseconds, never reset while the process lives.

    Sync engines update these from many threads at once, without a lock. CPython hands the interpreter to another
    thread only at a call, a function's entry or a jump back, so a method below that is a straight line of attribute
    arithmetic happens as a whole; keep calls, loops and `with` out of them. A test with many threads holds this.
    """

    __slots__ = (
        "carried",
        "changed_ns",
        "checkouts",
        "closes",
        "connects",
        "create_ns",
        "enabled_ns",
        "invalidations",
        "ping_ns",
        "timeouts",
        "transaction_ns",
        "use_ns",
        "used",
        "used_integral_ns",
        "wait_ns",
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start from zero, as a forked child must."""
        self.used = 0
        """connections checked out now"""
        self.carried = 0
        """those of them that were checked out before we looked: their start is unknown"""
        self.used_integral_ns = 0
        self.changed_ns = self.enabled_ns = monotonic_ns()
        self.checkouts = self.timeouts = self.connects = self.closes = self.invalidations = 0
        self.wait_ns = self.create_ns = self.ping_ns = self.use_ns = self.transaction_ns = 0

    def checked_out(self, now_ns: int) -> None:
        # Here and below the integral stays exact even if threads come out of the order of their clocks: it is linear
        # in time, so what a negative step takes away, the next one gives back.
        self.used_integral_ns += self.used * (now_ns - self.changed_ns)
        self.changed_ns = now_ns
        self.used += 1
        self.checkouts += 1

    def checked_in(self, now_ns: int, since_ns: int | None) -> None:
        """A connection went back; `since_ns` is when it was checked out, None if nobody saw that."""
        if since_ns is not None and since_ns >= self.enabled_ns:
            self.use_ns += now_ns - since_ns
        elif self.carried:
            self.carried -= 1
        else:
            return
        self.used_integral_ns += self.used * (now_ns - self.changed_ns)
        self.changed_ns = now_ns
        self.used -= 1

    def carry(self, connections: int, now_ns: int) -> None:
        """Take over connections that were checked out while nobody looked."""
        self.used_integral_ns += self.used * (now_ns - self.changed_ns)
        self.changed_ns = now_ns
        self.used += connections
        self.carried += connections

    def bound_carried(self, checked_out: int, now_ns: int) -> None:
        """Forget carried connections beyond what the pools say is out: they left by a way that shows no checkin."""
        gone = self.carried - checked_out
        if gone > 0:
            self.used_integral_ns += self.used * (now_ns - self.changed_ns)
            self.changed_ns = now_ns
            self.used -= gone
            self.carried -= gone

    def pause(self, now_ns: int) -> None:
        """Nobody looks from now on: what is out is forgotten, the sums stay."""
        self.used_integral_ns += self.used * (now_ns - self.changed_ns)
        self.changed_ns = now_ns
        self.used = self.carried = 0

    def resume(self, now_ns: int) -> None:
        self.changed_ns = self.enabled_ns = now_ns

    def waited(self, spent_ns: int) -> None:
        self.wait_ns += spent_ns

    def connected(self, spent_ns: int) -> None:
        self.connects += 1
        self.create_ns += spent_ns

    def pinged(self, spent_ns: int) -> None:
        self.ping_ns += spent_ns

    def timed_out(self) -> None:
        self.timeouts += 1

    def closed(self) -> None:
        self.closes += 1

    def invalidated(self) -> None:
        self.invalidations += 1

    def transaction_ended(self, spent_ns: int) -> None:
        self.transaction_ns += spent_ns

    def totals(self, now_ns: int) -> dict[str, int | float]:
        """The counters as the time series names them, the integral up to `now_ns`."""
        self.used_integral_ns += self.used * (now_ns - self.changed_ns)
        self.changed_ns = now_ns
        return {
            "connection_checkouts": self.checkouts,
            "connection_timeouts": self.timeouts,
            "connection_connects": self.connects,
            "connection_closes": self.closes,
            "connection_invalidations": self.invalidations,
            "connection_wait_time_s": self.wait_ns / _SECOND_NS,
            "connection_create_time_s": self.create_ns / _SECOND_NS,
            "connection_ping_time_s": self.ping_ns / _SECOND_NS,
            "connection_use_time_s": self.use_ns / _SECOND_NS,
            "connection_used_integral_s": self.used_integral_ns / _SECOND_NS,
            "transaction_time_s": self.transaction_ns / _SECOND_NS,
        }
