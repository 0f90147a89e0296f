"""A stub service whose every answer is known, and segments to send to it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from harness.domain.load import LoadOutput, LoadPlan, Segment, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as the stub received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the stub does about a request. `raw` replaces the whole response; `delay_s` None never answers;
    `reset` ends the connection with a RST."""

    status: int = 200
    body: bytes = b"{}"
    delay_s: float | None = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    close: bool = False
    reset: bool = False


class Stub:
    """An HTTP/1.1 server in a thread: one behaviour for every request, and a list of what came in."""

    def __init__(self, behave: Callable[[Seen], Answer]) -> None:
        self.behave = behave
        self.seen: list[Seen] = []
        self.connections = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(method=method, path=path, headers=headers, body=body)
        self.seen.append(seen)
        answer = self.behave(seen)
        if answer.delay_s is None:
            await asyncio.sleep(3600)
        elif answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if answer.raw is not None:
            writer.write(answer.raw)
        elif not answer.close:
            lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {len(answer.body)}"]
            lines += [f"{name}: {value}" for name, value in answer.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
        await writer.drain()
        return not answer.close


@contextmanager
def serving(stub: Stub) -> Iterator[str]:
    """Serve the stub on a free port of the loopback. Yields its base URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        server = await asyncio.start_server(stub._serve, sock=listener, backlog=2048)
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    output: LoadOutput
    rows: pd.DataFrame
    """of the first launch, without what on_start sent"""
    setup: pd.DataFrame
    seen: Sequence[Seen]
    plan: LoadPlan
    all_rows: Mapping[str, pd.DataFrame]
    """of every launch, with what on_start sent"""


def segment(index: int = 0, launch_id: str = "L", **changes: object) -> Segment:
    """A second of 50 arrivals a second in the open model, unless changed."""
    values: dict[str, object] = {
        "index": index,
        "launch_id": launch_id,
        "phase": "measure",
        "start_s": 0.0,
        "duration_s": 1.0,
        "model": "open",
        "rate_rps": 50.0,
        "users": None,
        "arrivals": "poisson",
        "seed": 7,
    }
    return Segment(**(values | changes))  # type: ignore[arg-type]


def closed(index: int = 0, users: int = 3, launch_id: str = "L", **changes: object) -> Segment:
    return segment(index, launch_id, **({"model": "closed", "rate_rps": None, "users": users} | changes))


def whole_turns(segments: Sequence[Segment], pause_s: float = 0.0) -> tuple[Turn, ...]:
    """One turn a launch, for all of its load; `pause_s` passes after the last step of a staircase."""
    ends_s = {each.launch_id: each.end_s for each in segments}
    return tuple(Turn(launch_id=launch_id, duration_s=end_s + pause_s) for launch_id, end_s in ends_s.items())


Run = Callable[..., Result]
