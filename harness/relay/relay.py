"""All connections through the relay: one loop, one selector, and a queue of what is due when.

What is read is passed on half a round trip later, in order. A link's first round trip is that of the TCP handshake: the
kernel answers the client at once, so the relay waits a round trip before it reads what the client sends.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import select
import selectors
import socket
import struct
import time
from collections.abc import Callable
from typing import Literal

from harness.relay.lateness import Lateness
from harness.relay.link import Link, Pipe

OnIdle = Literal["reset", "blackhole"]

_BACKLOG = 2048
_CHUNK_BYTES = 64 * 1024
_PIPE_LIMIT_BYTES = 4 * 2**20  # what may be under way in one direction before the sender is made to wait
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER that turns a close into a reset
_OVERSLEEP_MOST_NS = 300_000
_REST_NS = 50_000_000
_TOO_MANY = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Relay:
    """All links, one selector, and a queue of what is due when."""

    def __init__(self, *, upstream: tuple[str, int], rtt_ms: float, idle_s: float | None, on_idle: OnIdle) -> None:
        self._upstream = socket.getaddrinfo(*upstream, type=socket.SOCK_STREAM)[0]
        self._rtt_ns = round(rtt_ms * 1e6)
        self._half_ns = self._rtt_ns // 2
        self._idle_ns = None if idle_s is None else round(idle_s * 1e9)
        self._on_idle = on_idle
        self._selector = selectors.DefaultSelector()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._links: set[Link] = set()
        self._holding = False
        self._healed_ns = 0
        self._oversleep_ns = 0
        self._now_ns = time.monotonic_ns()
        self._count_from_zero(cpu_s=0.0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def watch(self, descriptor: int, callback: Callable[[int], None]) -> None:
        """Have `callback` called when `descriptor` can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def step(self) -> None:
        """Pass on what is due, then wait for the next thing to happen."""
        self._run_due()
        self._wait()
        self._now_ns = time.monotonic_ns()
        for key, events in self._selector.select(0):
            key.data(events)
        self._run_due()

    def restart(self) -> None:
        """Count from zero, now that what matters begins; links stay as they are."""
        self._count_from_zero(cpu_s=time.process_time())

    def reset(self) -> None:
        """End every link with a reset on both sides."""
        for link in tuple(self._links):
            self._abort(link)

    def blackhole(self) -> None:
        """Let nothing through; what is sent meanwhile arrives after `heal`, as TCP would send it again."""
        self._holding = True

    def heal(self) -> None:
        self._holding = False
        self._healed_ns = time.monotonic_ns()

    def readings(self) -> dict[str, float]:
        return {
            "connections": self._connections,
            "open": len(self._links),
            "round_trips": self._round_trips,
            "idle_drops": self._idle_drops,
            "refused": self._refused,
            "bytes_up": self._bytes_up,
            "bytes_down": self._bytes_down,
            "late_ms_p50": self._late.quantile_ms(0.5),
            "late_ms_p99": self._late.quantile_ms(0.99),
            "late_ms_max": self._late.max_ms,
            "cpu_s": time.process_time() - self._cpu_s,
        }

    def _count_from_zero(self, *, cpu_s: float) -> None:
        self._late = Lateness()
        self._connections = 0
        self._round_trips = 0
        self._idle_drops = 0
        self._refused = 0
        self._bytes_up = 0
        self._bytes_down = 0
        self._cpu_s = cpu_s

    def _wait(self) -> None:
        """Until something can be read or is due. `select` waits to the microsecond, epoll to the next millisecond.

        A sleeper is woken late, by some 100 us on a virtual machine that idles. What is usual here is learnt and taken
        off the next sleep; a wake-up that then comes early goes round without sleeping until the time is there.
        """
        if not self._queue or self._holding:
            select.select([self._selector], [], [])
            return
        until_ns = self._queue[0][0] - self._oversleep_ns
        sleep_ns = max(0, until_ns - time.monotonic_ns())
        ready, _, _ = select.select([self._selector], [], [], sleep_ns / 1e9)
        if sleep_ns and not ready:
            overslept_ns = min(time.monotonic_ns() - until_ns, _OVERSLEEP_MOST_NS)
            self._oversleep_ns += (overslept_ns - self._oversleep_ns) // 8

    def _at(self, due_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (due_ns, next(self._order), action))

    def _run_due(self) -> None:
        while self._queue and not self._holding and self._queue[0][0] <= time.monotonic_ns():
            heapq.heappop(self._queue)[2]()

    def _accept(self, _events: int) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _TOO_MANY:
                    self._rest()
                    return
                continue  # this client has gone again (ECONNABORTED); the next one is waiting
            self._open(client)

    def _rest(self) -> None:
        """Leave clients in the backlog until there may be descriptors again, instead of asking without a pause."""
        self._selector.unregister(self._listener)
        self._at(time.monotonic_ns() + _REST_NS, self._listen)

    def _listen(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _open(self, client: socket.socket) -> None:
        family, kind, protocol, _, address = self._upstream
        try:
            server = socket.socket(family, kind, protocol)
        except OSError:  # no descriptor for the other half: the client hears at once that nobody serves it
            self._refused += 1
            _reset(client)
            return
        try:
            for end in (client, server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.connect_ex(address)
        except OSError:
            self._refused += 1
            _reset(client)
            server.close()
            return
        link = Link(client, server, self._now_ns)
        self._links.add(link)
        self._connections += 1
        self._selector.register(server, selectors.EVENT_WRITE, lambda _events: self._connected(link))
        self._at(self._now_ns + self._rtt_ns, lambda: self._handshake_done(link))
        if self._idle_ns is not None:
            self._at(self._now_ns + self._idle_ns, lambda: self._check_idle(link))

    def _connected(self, link: Link) -> None:
        if link.closed:
            return
        self._selector.unregister(link.server)
        if link.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._at(self._now_ns + self._half_ns, lambda: self._abort(link))
            return
        link.connected = True
        self._set_interest(link, link.server)
        self._set_interest(link, link.client)

    def _handshake_done(self, link: Link) -> None:
        link.handshake_done = True
        self._set_interest(link, link.client)

    def _set_interest(self, link: Link, end: socket.socket) -> None:
        """Register `end` for exactly what it is waited for."""
        if link.closed or not link.connected:
            return
        into, out = (link.up, link.down) if end is link.client else (link.down, link.up)
        may_read = end is link.server or link.handshake_done
        reads = may_read and not into.ended and into.under_way_bytes < _PIPE_LIMIT_BYTES
        events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if out.blocked else 0)
        registered = self._selector.get_map().get(end)
        if registered is None:
            if events:
                self._selector.register(end, events, lambda ready: self._ready(link, end, ready))
        elif not events:
            self._selector.unregister(end)
        elif registered.events != events:
            self._selector.modify(end, events, registered.data)

    def _ready(self, link: Link, end: socket.socket, events: int) -> None:
        into, out = (link.up, link.down) if end is link.client else (link.down, link.up)
        if events & selectors.EVENT_WRITE and not link.closed:
            self._flush(link, out)
        if events & selectors.EVENT_READ and not link.closed:
            self._read(link, into)

    def _read(self, link: Link, pipe: Pipe) -> None:
        try:
            data = pipe.source.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a reset travels like everything else
            pipe.ended = True
            self._set_interest(link, pipe.source)
            self._at(self._now_ns + self._half_ns, lambda: self._abort(link))
            return
        link.active_ns = self._now_ns
        if link.lost:
            if not data:
                self._abort(link)
            return
        if not data:
            pipe.ended = True
        self._count(link, pipe, len(data))
        pipe.under_way_bytes += len(data)
        due_ns = self._now_ns + self._half_ns
        self._at(due_ns, lambda: self._arrive(link, pipe, data, due_ns))
        if pipe.ended or pipe.under_way_bytes >= _PIPE_LIMIT_BYTES:
            self._set_interest(link, pipe.source)

    def _count(self, link: Link, pipe: Pipe, size: int) -> None:
        """A round trip is over when the server answers what the client has asked since its last answer."""
        if pipe is link.up:
            self._bytes_up += size
            link.asked = link.asked or size > 0
        else:
            self._bytes_down += size
            self._round_trips += link.asked and size > 0
            link.asked = False

    def _arrive(self, link: Link, pipe: Pipe, data: bytes, due_ns: int) -> None:
        if link.closed or link.lost:
            return
        pipe.outbox += data
        pipe.ending = pipe.ending or not data
        self._flush(link, pipe)
        self._late.add(time.monotonic_ns() - max(due_ns, self._healed_ns))

    def _flush(self, link: Link, pipe: Pipe) -> None:
        """Hand over what has arrived, as far as the sink takes it."""
        full, had = pipe.under_way_bytes >= _PIPE_LIMIT_BYTES, len(pipe.outbox)
        try:
            while pipe.outbox:
                del pipe.outbox[: pipe.sink.send(pipe.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self._abort(link)
            return
        pipe.under_way_bytes -= had - len(pipe.outbox)
        if pipe.blocked != bool(pipe.outbox):
            pipe.blocked = not pipe.blocked
            self._set_interest(link, pipe.sink)
        if full and pipe.under_way_bytes < _PIPE_LIMIT_BYTES:
            self._set_interest(link, pipe.source)
        if pipe.ending and not pipe.outbox:
            self._finish(link, pipe)

    def _finish(self, link: Link, pipe: Pipe) -> None:
        """One side has said its last; when both have, the link is closed."""
        pipe.finished = True
        with contextlib.suppress(OSError):
            pipe.sink.shutdown(socket.SHUT_WR)
        if link.up.finished and link.down.finished:
            self._close(link)

    def _check_idle(self, link: Link) -> None:
        assert self._idle_ns is not None
        if link.closed or link.lost:
            return
        due_ns = link.active_ns + self._idle_ns
        if due_ns > time.monotonic_ns():
            self._at(due_ns, lambda: self._check_idle(link))
            return
        self._idle_drops += 1
        if self._on_idle == "reset":
            self._abort(link)
        else:
            link.lost = True

    def _abort(self, link: Link) -> None:
        for end in (link.client, link.server):
            _linger_not(end)
        self._close(link)

    def _close(self, link: Link) -> None:
        if link.closed:
            return
        link.closed = True
        self._links.discard(link)
        for end in (link.client, link.server):
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            end.close()


def _linger_not(end: socket.socket) -> None:
    """Have its close be a reset."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)


def _reset(end: socket.socket) -> None:
    _linger_not(end)
    end.close()
