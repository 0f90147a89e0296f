"""A light client for the observer benchmark: it sends one request again and again and switches the probe itself.

`python -m benchmarks.light_client TASK`, with the fields of `Task` as JSON, prints a line before each segment, `true`
or `false` for whether samplers should read, and after each that counts the `Turn`. Lines this short are written whole,
which one long line is not where PYTHONUNBUFFERED is set and a signal comes. A process of its own, so that the samplers'
threads do not delay it; and lighter than the generator, because what it leaves of two cores steadies what is measured.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic_ns
from typing import Literal
from urllib.parse import urlsplit

import uvloop

Model = Literal["open", "closed"]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CONTENT_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to ask of whom, and for how long."""

    host: str
    """base URL"""
    path: str
    rate_rps: float
    """in the open model"""
    users: int
    """in the closed model; the open one has as many connections, and an arrival that finds none idle waits"""
    warmup_segments: int
    rounds: Mapping[Model, int]
    guard_s: float
    """after a switch the load runs for so long before anything counts"""
    segment_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A measured segment."""

    model: Model
    round: int
    probe: bool
    """it was switched on"""
    samplers: bool
    """they took readings"""
    figure: float
    """open: the median latency in ms, from when the timer fired; closed: answers per second"""


@contextmanager
def running(task: Task) -> Iterator[subprocess.Popen[str]]:
    """A process with the client at work; killed if it has not ended when the block does."""
    command = [sys.executable, "-m", "benchmarks.light_client", json.dumps(dataclasses.asdict(task))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()  # does nothing to one that has ended by itself


async def _run(task: Task) -> None:
    """Warm-up, then all open rounds, then all closed ones; each with neither probe nor samplers, with one of them, and
    with both, in random order."""
    address = urlsplit(task.host)
    switch, *connections = [
        await asyncio.open_connection(address.hostname, address.port) for _ in range(1 + task.users)
    ]

    async def segment(model: Model, *, probe: bool, samplers: bool) -> float:
        _tell(samplers)
        await _ask(switch, f"POST /observed/{'on' if probe else 'off'}")
        return await {"open": _median_latency_ms, "closed": _answers_per_s}[model](task, connections)

    for _ in range(task.warmup_segments):
        await segment("closed", probe=True, samplers=True)
    sides = list(itertools.product((False, True), repeat=2))
    for model, rounds in task.rounds.items():
        for round_ in range(rounds):
            for probe, samplers in random.sample(sides, k=len(sides)):
                figure = await segment(model, probe=probe, samplers=samplers)
                turn = Turn(model=model, round=round_, probe=probe, samplers=samplers, figure=figure)
                _tell(dataclasses.asdict(turn))


def _tell(message: object) -> None:
    print(json.dumps(message), flush=True)


async def _median_latency_ms(task: Task, connections: list[Connection]) -> float:
    """Uniform gaps, so that no bunch of arrivals decides the median."""
    loop = asyncio.get_running_loop()
    idle: asyncio.Queue[Connection] = asyncio.Queue()  # all in turn: the server closes one that idles for seconds
    for connection in connections:
        idle.put_nowait(connection)
    latencies_ms: list[float] = []

    async def arrive(*, counts: bool) -> None:
        due_ns = monotonic_ns()
        connection = await idle.get()
        await _ask(connection, f"GET {task.path}")
        if counts:
            latencies_ms.append((monotonic_ns() - due_ns) / 1e6)
        idle.put_nowait(connection)

    began_s = loop.time()
    async with asyncio.TaskGroup() as arrivals:
        for number in range(round((task.guard_s + task.segment_s) * task.rate_rps)):
            since_s = number / task.rate_rps
            await asyncio.sleep(began_s + since_s - loop.time())
            arrivals.create_task(arrive(counts=since_s >= task.guard_s))
    return statistics.median(latencies_ms)


async def _answers_per_s(task: Task, connections: list[Connection]) -> float:
    """Every user asks again as soon as it is answered."""
    start_ns = monotonic_ns() + round(task.guard_s * 1e9)
    end_ns = start_ns + round(task.segment_s * 1e9)
    answered_ns: list[int] = []

    async def ask_on(connection: Connection) -> None:
        while (now_ns := monotonic_ns()) < end_ns:
            if now_ns >= start_ns:
                answered_ns.append(now_ns)
            await _ask(connection, f"GET {task.path}")

    async with asyncio.TaskGroup() as users:
        for connection in connections:
            users.create_task(ask_on(connection))
    return (len(answered_ns) - 1) * 1e9 / (answered_ns[-1] - answered_ns[0])


async def _ask(connection: Connection, request: str) -> None:
    """Send a request without a body and read the answer; anything but a 200 ends the benchmark."""
    reader, writer = connection
    writer.write(f"{request} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise RuntimeError(f"{request} was answered: {head.decode('latin-1')}")
    await reader.readexactly(int(length[1]))


if __name__ == "__main__":
    uvloop.run(_run(Task(**json.loads(sys.argv[1]))))
