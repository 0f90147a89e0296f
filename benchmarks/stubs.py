"""Servers whose every answer is known, each in a process of its own, with a log of what it really did.

`python -m benchmarks.stubs '{"kind": "constant", "delay_s": 0.02}'` prints its port and, on SIGTERM, writes its log to
standard output. Its times are the wire's: the kernel says when a request had reached the server's socket, so that
waiting for a core behind other programs is the server's own time, as it is for whoever asks; an answer is on the wire
when `send` returns.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

NS_PER_S = 1_000_000_000
BACKLOG = 4096
"""Above any cap: a dropped SYN would come back after a second and look like latency."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
ARRIVAL_HEADER = b"x-poolbench-arrival: "
STAMP = struct.Struct("@ll")
SO_TIMESTAMPNS = 35
"""Linux: with what is received comes when it came, CLOCK_REALTIME"""
SLOW_EVERY = 50
"""one answer in so many is a slow one: 2 %"""
LOG_COLUMNS = ("segment", "arrival", "received_ns", "sent_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a stub answers. Times in seconds count from its first request."""

    kind: Literal["constant", "bimodal", "freeze", "sawtooth"]
    delay_s: float
    slow_s: float = 0.0
    """bimodal: what one answer in SLOW_EVERY takes; sawtooth: the delay at a tooth's top"""
    freeze_at_s: float = 0.0
    freeze_s: float = 0.0
    """freeze: the whole server stands still for so long, once"""
    period_s: float = 1.0
    """sawtooth: a tooth's length"""

    def answer_after_s(self, since_first_s: float, number: int) -> float:
        """What the `number`th request takes, when it is read `since_first_s` after the first one."""
        match self.kind:
            case "bimodal":
                return self.slow_s if number % SLOW_EVERY == SLOW_EVERY - 1 else self.delay_s
            case "sawtooth":
                along = since_first_s % self.period_s / self.period_s
                return self.delay_s + (self.slow_s - self.delay_s) * along
            case _:
                return self.delay_s


class Server:
    """One event loop, so `freeze` stops everything, as a process that stands still does."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.log = array("q")
        self.first_ns: int | None = None
        self.frozen_ns: tuple[int, int] | None = None
        self._loop = asyncio.get_running_loop()
        self._number = 0

    def answer(self, connection: _Connection, head: bytes, received_ns: int) -> None:
        """Answer one request when its time has come, and note what happened."""
        if self.first_ns is None:
            self.first_ns = received_ns
            if self.behaviour.kind == "freeze":
                self._loop.call_later(self.behaviour.freeze_at_s, self._freeze)
        delay_s = self.behaviour.answer_after_s((received_ns - self.first_ns) / NS_PER_S, self._number)
        self._number += 1
        self._loop.call_later(delay_s, self._send, connection, _arrival(head), received_ns)

    def _send(self, connection: _Connection, arrival: tuple[int, int] | None, received_ns: int) -> None:
        connection.send(ANSWER)
        if arrival is not None:
            self.log.extend((*arrival, received_ns, time.monotonic_ns()))

    def _freeze(self) -> None:
        begun_ns = time.monotonic_ns()
        time.sleep(self.behaviour.freeze_s)
        self.frozen_ns = (begun_ns, time.monotonic_ns())


class _Connection:
    """One client's; requests have no body."""

    def __init__(self, server: Server, client: socket.socket) -> None:
        self._server = server
        self._client = client
        self._buffer = b""
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asyncio.get_running_loop().add_reader(client, self._read)

    def send(self, data: bytes) -> None:
        with suppress(OSError):  # the client has gone
            self._client.send(data)

    def _read(self) -> None:
        try:
            data, ancillary, _, _ = self._client.recvmsg(65536, socket.CMSG_SPACE(STAMP.size))
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._client)
            self._client.close()
            return
        received_ns = _came_ns(ancillary)
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._server.answer(self, head, received_ns)


def _came_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """CLOCK_MONOTONIC when what was just read had come; now, where the system does not say."""
    now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
    for _, kind, value in ancillary:
        if kind == SO_TIMESTAMPNS:
            s, ns = map(int, STAMP.unpack(value))
            return min(now_ns, now_ns - (wall_ns - s * NS_PER_S - ns))
    return now_ns


def _arrival(head: bytes) -> tuple[int, int] | None:
    """Segment and number of the arrival that a request belongs to; None for other load generators."""
    _, found, rest = head.partition(ARRIVAL_HEADER)
    if not found:
        return None
    segment, _, number = rest.partition(b"\r\n")[0].partition(b"-")
    return int(segment), int(number)


async def _serve(behaviour: Behaviour) -> None:
    server = Server(behaviour)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # each connection has it from the beginning
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(listener, lambda: _Connection(server, listener.accept()[0]))
    print(listener.getsockname()[1], flush=True)
    await stop.wait()
    first_ns = server.first_ns or 0
    # a buffered file: with PYTHONUNBUFFERED, print loses the rest of a long line when a signal interrupts it
    with os.fdopen(sys.stdout.fileno(), "w", closefd=False) as output:
        json.dump({"first_ns": first_ns, "frozen_ns": server.frozen_ns, "log": server.log.tolist()}, output)


class Stub:
    """A stub that is serving. Its log is there once the block is left."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._witnessed: dict[str, Any] = {}

    @property
    def first_ns(self) -> int:
        """When the first request was read: the behaviour's time zero."""
        return int(self._witnessed["first_ns"])

    @property
    def frozen_ns(self) -> tuple[int, int] | None:
        """Between which times everything stood still."""
        frozen = self._witnessed["frozen_ns"]
        return None if frozen is None else (frozen[0], frozen[1])

    def log(self) -> pd.DataFrame:
        """What it did, request by request: LOG_COLUMNS."""
        import numpy as np
        import pandas as pd

        values = np.array(self._witnessed["log"], dtype=np.int64).reshape(-1, len(LOG_COLUMNS))
        return pd.DataFrame(values, columns=list(LOG_COLUMNS))


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Stub]:
    """A fresh stub on a free port of the loopback, stopped when the block ends."""
    command = [sys.executable, "-m", "benchmarks.stubs", json.dumps(dataclasses.asdict(behaviour))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            stub = Stub(int(process.stdout.readline()))
            yield stub
            process.terminate()
            stub._witnessed = json.loads(process.stdout.read())
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_serve(Behaviour(**json.loads(sys.argv[1]))))
