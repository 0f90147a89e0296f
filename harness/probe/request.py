"""The ASGI wrapper: each response says where its time went, and work after its start leaves a completion record.

When all its work is done, each request leaves what it took of the database and how it held connections (see
`harness.probe.left`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from .accounting import Account, Headers, Scope, current
from .left import ARRIVAL_HEADER, segment_of

if TYPE_CHECKING:
    from .process import ProcessProbe

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LONG_AFTER_NS = 5_000_000
"""Work after the start of the response is recorded if it took longer than this. Nearly every request rolls its session
back after its response: a record of each would cost the service more than it tells."""


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
    """One request's account, and the `send` that notes in the response's head what it stands at.

    What runs once a request runs with cold caches, where every call and every object shows in what the service can
    carry: one object for both, no `__init__`, whole numbers in the header.
    """

    __slots__ = (
        "began_ns",
        "plain_send",
        "process",
        "said_db_ns",
        "said_pool_ns",
        "status",
        "streamed",
    )

    plain_send: Send
    process: str
    began_ns: int
    said_pool_ns: int
    said_db_ns: int
    """what its head said"""
    status: int
    """of the answer; 0 before"""
    streamed: bool
    """the body came in several parts"""

    def send(self, message: Message) -> Awaitable[None]:
        """A plain function that hands on the server's awaitable: one coroutine less for each message."""
        if message["type"] == "http.response.start":
            self.responded_ns = now_ns = monotonic_ns()
            self.status = message["status"]
            self.said_pool_ns = pool_ns = self.pool_ns
            self.said_db_ns = db_ns = self.db_ns
            # Statements run side by side by one request can add up to more than its elapsed time.
            app_ns = now_ns - self.began_ns - pool_ns - db_ns
            if app_ns < 0:  # noqa: PLR1730 -- max() is a call, and this is on every request's way
                app_ns = 0
            timing = f"pool;dur={pool_ns}e-6, db;dur={db_ns}e-6, app;dur={app_ns}e-6, {self.process}"
            # Copies: an app may send its message, or the list in it, more than once.
            message = message.copy()
            message["headers"] = [*message.get("headers", ()), (b"server-timing", timing.encode())]
        elif message.get("more_body"):
            self.streamed = True
        return self.plain_send(message)

    def finished(self, now_ns: int) -> Finished:
        """What went on after the response had started."""
        return (
            self.headers,
            now_ns,
            self.streamed,
            now_ns - self.responded_ns,
            self.pool_ns - self.said_pool_ns,
            self.db_ns - self.said_db_ns,
        )


class TimedApp:
    """An ASGI app around another. While the probe is off, requests pass straight through."""

    def __init__(self, app: Application, probe: ProcessProbe) -> None:
        self.app = app
        self._probe = probe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        probe = self._probe
        if scope["type"] == "websocket" and probe.timing:
            await self._websocket(scope, receive, send)
            return
        if scope["type"] != "http" or not (probe.timing or self._begin()):
            await (self._lifespan if scope["type"] == "lifespan" else self.app)(scope, receive, send)
            return
        headers = scope["headers"]
        around = current.get()
        if around is not None and around.headers is headers:  # wrapped twice
            await self.app(scope, receive, send)
            return
        probe.lag.busy = True
        request = TimedRequest()
        request.headers = headers
        request.plain_send = send
        request.process = probe.process
        request.scope = scope
        request.pool_ns = request.db_ns = request.responded_ns = request.ended_ns = request.status = 0
        request.statements = request.transactions = request.checkouts = request.round_trips = 0
        request.first_round_trips = 0
        request.held = request.held_most = request.holds = request.on_loop = request.threads = 0
        request.hold_ns = request.query_ns = request.idle_transaction_ns = request.after_ns = 0
        request.streamed = request.fresh = False
        current.set(request)  # to stay: the server drops the context with the request
        live = probe.live
        live.value[0] = live.count = live.count + 1
        request.began_ns = monotonic_ns()
        try:
            await self.app(scope, receive, request.send)
        finally:
            live.value[0] = live.count = live.count - 1
            request.ended_ns = now_ns = monotonic_ns()
            responded_ns = request.responded_ns
            if responded_ns and now_ns - responded_ns > LONG_AFTER_NS and probe.completions is not None:
                probe.completions.append(request.finished(now_ns))
            # Counted from its beginning to its end, or not at all.
            if probe.timing and request.began_ns >= probe.counting_since_ns and probe.left is not None:
                probe.left.append(
                    (
                        segment_of(headers),
                        scope["method"],
                        scope["path"],
                        scope.get("route"),
                        request.status,
                        (
                            request.statements,
                            request.transactions,
                            request.checkouts,
                            request.round_trips,
                            request.first_round_trips,
                            request.fresh,
                        ),
                        (
                            request.held_most,
                            request.held,
                            request.holds,
                            request.on_loop,
                            request.threads,
                            request.statements,
                            request.hold_ns,
                            request.query_ns,
                            request.idle_transaction_ns,
                            request.after_ns,
                        )
                        if request.held_most
                        else (),
                    )
                )

    def _begin(self) -> bool:
        """Whether the probe is on; it learns the event loop from the first request it sees there."""
        if self._probe.active:
            self._probe.enter_loop()
        return self._probe.active

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """In no count and no record; but the connections that it takes are somebody's as long as it lasts."""
        account = Account()
        for name in Account.__slots__:
            setattr(account, name, 0)
        account.headers, account.scope = scope.get("headers", ()), scope
        current.set(account)
        try:
            await self.app(scope, receive, send)
        finally:
            account.ended_ns = monotonic_ns()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._probe.enter_loop()
        try:
            await self.app(scope, receive, send)
        finally:
            self._probe.flush()  # the server is done with its requests; a signal may end the process right after
