"""The ASGI wrapper: each response says where its time went, and work after its start leaves a completion record."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.probe.accounting import Account, current

if TYPE_CHECKING:
    from harness.probe.process import ProcessProbe

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ARRIVAL_HEADER = b"x-poolbench-arrival"
LONG_AFTER_NS = 5_000_000
"""Work after the start of the response is recorded if it used the database or took longer than this."""

_SEEN = "poolbench.timed"


class Completion(NamedTuple):
    """Work of one request that went on after its response had started; the times count from there.

    A tuple, since one is made for nearly every request: it costs a third of a frozen dataclass.
    """

    arrival: str
    t_ns: int
    """when it ended"""
    kind: Literal["stream", "background"]
    """stream: the body came in several parts"""
    after_ns: int
    pool_ns: int
    db_ns: int

    def json_line(self) -> str:
        # Written hundreds of times a second by a thread that shares the interpreter with the service: a format is
        # several times cheaper than json.dumps, and _arrival lets nothing through that would need escaping.
        return (
            f'{{"arrival": "{self.arrival}", "t_ns": {self.t_ns}, "kind": "{self.kind}", '
            f'"seconds": {self.after_ns / 1e9:.6f}, '
            f'"pool_ms": {self.pool_ns / 1e6:.3f}, "db_ms": {self.db_ns / 1e6:.3f}}}\n'
        )


class TimedRequest(Account):
    """One request's account, and the `send` that closes it at the start of the response."""

    __slots__ = ("_db_before_ns", "_pool_before_ns", "_send", "began_ns", "responded_ns", "streamed")

    def __init__(self, send: Send) -> None:
        self.pool_ns = 0
        self.db_ns = 0
        self.responded_ns = 0
        self.streamed = False
        self._pool_before_ns = self._db_before_ns = 0
        self._send = send
        self.began_ns = monotonic_ns()

    def send(self, message: Message) -> Awaitable[None]:
        """A plain function that hands on the server's awaitable: one coroutine less for each message."""
        if message["type"] == "http.response.start":
            message = self._with_header(message)
        elif message.get("more_body"):
            self.streamed = True
        return self._send(message)

    def _with_header(self, message: Message) -> Message:
        self.responded_ns = now_ns = monotonic_ns()
        self._pool_before_ns = pool_ns = self.pool_ns
        self._db_before_ns = db_ns = self.db_ns
        # Statements run side by side by one request can add up to more than its elapsed time.
        app_ns = max(0, now_ns - self.began_ns - pool_ns - db_ns)
        value = b'pool;dur=%.3f, db;dur=%.3f, app;dur=%.3f, pid;desc="%d"' % (
            pool_ns / 1e6,
            db_ns / 1e6,
            app_ns / 1e6,
            os.getpid(),
        )
        # A copy: the list of headers may belong to a response object that the app sends more than once.
        return {**message, "headers": [*message.get("headers", ()), (b"server-timing", value)]}

    def complete(self, scope: Scope, probe: ProcessProbe) -> None:
        """Record what went on after the response started, if it is worth a record and there is an arrival to name."""
        pool_ns = self.pool_ns - self._pool_before_ns
        db_ns = self.db_ns - self._db_before_ns
        now_ns = monotonic_ns()
        after_ns = now_ns - self.responded_ns
        if (after_ns < LONG_AFTER_NS and not pool_ns and not db_ns) or not self.responded_ns:
            return
        arrival = _arrival(scope)
        if arrival is not None:
            kind: Literal["stream", "background"] = "stream" if self.streamed else "background"
            probe.completed(Completion(arrival, now_ns, kind, after_ns, pool_ns, db_ns))


class TimedApp:
    """An ASGI app around another. While the probe is off, requests pass straight through."""

    def __init__(self, app: Application, probe: ProcessProbe) -> None:
        self.app = app
        self._probe = probe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        probe = self._probe
        if scope["type"] != "http" or not probe.active or _SEEN in scope:  # seen: wrapped twice
            await (self._lifespan if scope["type"] == "lifespan" else self.app)(scope, receive, send)
            return
        if not probe.in_loop:
            probe.enter_loop()
        scope[_SEEN] = True
        request = TimedRequest(send)
        token = current.set(request)
        try:
            await self.app(scope, receive, request.send)
        finally:
            current.reset(token)
            request.complete(scope, probe)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._probe.enter_loop()
        try:
            await self.app(scope, receive, send)
        finally:
            self._probe.flush()  # the server is done with its requests; a signal may end the process right after


def _arrival(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == ARRIVAL_HEADER:
            arrival: str = value.decode("latin-1")
            return arrival if arrival.replace("-", "").isalnum() and arrival.isascii() else None  # goes into JSON as is
    return None
