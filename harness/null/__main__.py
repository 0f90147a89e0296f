"""Answers every request at once with the same bytes: `python -m harness.null --fd N`.

It reads no further than the end of each head, so that what is measured against it is the generator.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from typing import cast

HEAD_END = b"\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Connection(asyncio.Protocol):
    """One client's connection; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of it
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        received = self._rest + data
        self._transport.write(ANSWER * received.count(HEAD_END))
        self._rest = received.rpartition(HEAD_END)[2][-len(HEAD_END) :]


async def serve(listening: socket.socket) -> None:
    """Answer until the process is ended, or the one that started it, which closes standard input."""
    loop, orphaned = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), orphaned.set)
    async with await loop.create_server(Connection, sock=listening):
        await orphaned.wait()


def main() -> None:
    """Serve on the inherited listening socket, on the quickest event loop there is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    listening = socket.socket(fileno=parser.parse_args().fd)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(listening))
    else:
        uvloop.run(serve(listening))


if __name__ == "__main__":
    main()
