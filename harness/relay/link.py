"""What the relay knows of one connection that goes through it."""

from __future__ import annotations

import socket


class Pipe:
    """One direction of a link: what was read from `source` and waits until it is due, then for `sink` to take it."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.outbox = bytearray()
        self.under_way_bytes = 0
        self.ended = False  # nothing more will be read
        self.ending = False  # the end has travelled: once the outbox is empty, the sink is told
        self.blocked = False  # the sink takes no more for now
        self.finished = False


class Link:
    """A client's connection and ours to the server on its behalf."""

    def __init__(self, client: socket.socket, server: socket.socket, now_ns: int) -> None:
        self.client = client
        self.server = server
        self.up = Pipe(client, server)
        self.down = Pipe(server, client)
        self.handshake_done = False
        self.connected = False
        self.asked = False
        self.lost = False
        self.closed = False
        self.active_ns = now_ns
