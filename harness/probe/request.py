"""The ASGI wrapper: each response says where its time went, and work after its start leaves a completion record."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from harness.probe.accounting import Account, current

if TYPE_CHECKING:
    from harness.probe.process import ProcessProbe

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Headers = Iterable[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ARRIVAL_HEADER = b"x-poolbench-arrival"
LONG_AFTER_NS = 5_000_000
"""Work after the start of the response is recorded if it took longer than this. Nearly every request rolls its session
back after its response: a record of each would cost the service more than it tells."""

_SEEN = "poolbench.timed"


Finished = tuple[Headers, int, bool, int, int, int]
"""Work of a request that went on after its response had started, as noted by the request: its headers, when it ended,
whether the body came in several parts, and from the start of the response on the elapsed, pool and database time, all
in nanoseconds. What costs more than a tuple, finding the arrival and formatting, is left to the writer."""


def completion_line(finished: Finished) -> str:
    """The line of `completions-<pid>.jsonl`; empty without an arrival to assign the work to."""
    headers, t_ns, streamed, after_ns, pool_ns, db_ns = finished
    arrival = next((value.decode("latin-1") for name, value in headers if name == ARRIVAL_HEADER), "")
    if not (arrival.isascii() and arrival.replace("-", "").isalnum()):  # it goes into the JSON as it is
        return ""
    # Hundreds of times a second on a thread that shares the interpreter with the service: several times cheaper
    # than json.dumps.
    return (
        f'{{"arrival": "{arrival}", "t_ns": {t_ns}, "kind": "{"stream" if streamed else "background"}", '
        f'"seconds": {after_ns / 1e9:.6f}, "pool_ms": {pool_ns / 1e6:.3f}, "db_ms": {db_ns / 1e6:.3f}}}\n'
    )


class TimedRequest(Account):
    """One request's account, and the `send` that closes it at the start of the response."""

    __slots__ = ("_db_before_ns", "_pid", "_pool_before_ns", "_send", "began_ns", "responded_ns", "streamed")

    def __init__(self, send: Send, pid: int) -> None:
        self.pool_ns = self.db_ns = self._pool_before_ns = self._db_before_ns = self.responded_ns = 0
        self.streamed = False
        self._send = send
        self._pid = pid
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
        app_ns = now_ns - self.began_ns - pool_ns - db_ns
        value = b'pool;dur=%.3f, db;dur=%.3f, app;dur=%.3f, pid;desc="%d"' % (
            pool_ns / 1e6,
            db_ns / 1e6,
            # Statements run side by side by one request can add up to more than its elapsed time.
            app_ns / 1e6 if app_ns > 0 else 0.0,
            self._pid,
        )
        # A copy: the list of headers may belong to a response object that the app sends more than once.
        return {**message, "headers": [*message.get("headers", ()), (b"server-timing", value)]}

    def finish(self, headers: Headers, completions: deque[Finished]) -> None:
        """Note what went on after the response started, if it is worth a record."""
        now_ns = monotonic_ns()
        after_ns = now_ns - self.responded_ns
        if self.responded_ns and after_ns > LONG_AFTER_NS:
            pool_ns = self.pool_ns - self._pool_before_ns
            db_ns = self.db_ns - self._db_before_ns
            completions.append((headers, now_ns, self.streamed, after_ns, pool_ns, db_ns))


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
        probe.lag.busy = True
        scope[_SEEN] = True
        request = TimedRequest(send, probe.pid)
        token = current.set(request)
        try:
            await self.app(scope, receive, request.send)
        finally:
            current.reset(token)
            if probe.completions is not None:
                request.finish(scope["headers"], probe.completions)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._probe.enter_loop()
        try:
            await self.app(scope, receive, send)
        finally:
            self._probe.flush()  # the server is done with its requests; a signal may end the process right after
