"""What the ASGI wrapper adds to a response, and what it records about work after it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from typing import Any

import pytest

from harness.probe.accounting import current
from harness.probe.process import ProcessProbe
from harness.probe.request import TimedApp, completion_line

START = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
BODY = {"type": "http.response.body", "body": b"x"}


class Recorder(ProcessProbe):
    """A probe that keeps completions instead of writing them."""

    def __init__(self) -> None:
        super().__init__(None)
        self.completions = deque()

    def records(self) -> list[Any]:
        return [json.loads(line) for line in map(completion_line, self.completions or ()) if line]


def request(app: Any, *, arrival: bytes | None = b"2-7", probe: Recorder | None = None) -> tuple[Recorder, list[Any]]:
    """One request through the wrapped app: the probe, and the messages that reached the server."""
    recorder = probe or Recorder()
    sent: list[Any] = []
    headers = [(b"host", b"x")] + ([(b"x-poolbench-arrival", arrival)] if arrival is not None else [])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await TimedApp(app, recorder)({"type": "http", "headers": headers}, receive, send)

    try:
        asyncio.run(run())
    finally:
        recorder.stop()
    return recorder, sent


def spend(pool_ns: int = 0, db_ns: int = 0) -> None:
    account = current.get()
    assert account is not None
    account.pool_ns += pool_ns
    account.db_ns += db_ns


def server_timing(message: Any) -> dict[str, float]:
    values = [value.decode() for name, value in message["headers"] if name == b"server-timing"]
    assert len(values) == 1
    return {name: float(value) for name, value in re.findall(r'(\w+);d(?:ur|esc)="?(\d+(?:e-6)?)', values[0])}


def test_the_header_splits_the_time_up_to_the_start_of_the_response() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        spend(pool_ns=1_234_000, db_ns=3_456_000)
        await asyncio.sleep(0.02)
        await send(START)
        spend(db_ns=9_000_000)
        await send(BODY)

    began = time.monotonic()
    _, (start, body) = request(app)
    elapsed_ms = (time.monotonic() - began) * 1000
    timing = server_timing(start)
    assert list(timing) == ["pool", "db", "app", "pid"]
    assert (timing["pool"], timing["db"]) == (1.234, 3.456)
    assert 15 < timing["app"] < elapsed_ms
    assert start["headers"][0] == (b"a", b"b")
    assert START["headers"] == [(b"a", b"b")]  # the app's own list is left alone
    assert body is BODY


def test_tasks_and_threads_of_a_request_add_to_its_account() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def task() -> None:
            spend(db_ns=1_000_000)

        await asyncio.gather(task(), asyncio.to_thread(spend, 0, 2_000_000))
        await send(START)

    _, (start,) = request(app)
    assert server_timing(start)["db"] == 3.0
    assert current.get() is None


def test_application_time_is_never_negative() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        spend(db_ns=10**12)
        await send(START)

    assert server_timing(request(app)[1][0])["app"] == 0


@pytest.mark.parametrize(("more_body", "kind"), [(True, "stream"), (False, "background")])
def test_work_after_the_response_is_recorded(more_body: bool, kind: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        spend(pool_ns=5, db_ns=6)
        await send(START)
        await send({**BODY, "more_body": more_body})
        await asyncio.sleep(0.01)
        spend(pool_ns=1_000_000, db_ns=2_000_000)

    recorder, _ = request(app)
    (record,) = recorder.records()
    assert set(record) == {"arrival", "t_ns", "kind", "seconds", "pool_ms", "db_ms"}
    assert (record["arrival"], record["kind"], record["pool_ms"], record["db_ms"]) == ("2-7", kind, 1, 2)
    assert record["seconds"] >= 0.01
    assert 0 < record["t_ns"] <= time.monotonic_ns()


@pytest.mark.parametrize("arrival", [None, b'"}', b"\xff", b""])
def test_without_a_usable_arrival_nothing_is_recorded(arrival: bytes | None) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await asyncio.sleep(0.01)

    assert request(app, arrival=arrival)[0].records() == []


def test_a_plain_response_is_not_recorded_not_even_for_the_rollback_after_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)
        spend(db_ns=1)

    # Recorded only if something stopped the process for 5 ms just after the answer: not every time.
    assert not all(request(app)[0].completions for _ in range(5))


@pytest.mark.parametrize("responds", [True, False])
def test_an_exception_passes_through(responds: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if responds:
            await send(START)
        await asyncio.sleep(0.01)
        raise OSError("client went away")

    recorder = Recorder()
    with pytest.raises(OSError, match="went away"):
        request(app, probe=recorder)
    assert len(recorder.records()) == responds


def test_wrapping_twice_times_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)

    assert "app" in server_timing(request(TimedApp(app, Recorder()))[1][0])


def test_while_off_the_app_gets_the_servers_own_send() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert current.get() is None
        await send(START)

    recorder = Recorder()
    recorder.toggle(False)
    assert request(app, probe=recorder)[1][0] is START


def test_lifespan_and_websocket_pass_through_untouched() -> None:
    """A websocket has an account, so that it is known who holds its connections; it leaves nothing."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (current.get() is None) == (scope["type"] == "lifespan")
        seen.append(scope["type"])

    async def run() -> None:
        recorder = Recorder()
        for kind in ("lifespan", "websocket"):
            await TimedApp(app, recorder)({"type": kind}, None, None)  # type: ignore[arg-type]  # never called
        assert recorder.lag.loop is asyncio.get_running_loop()
        assert not recorder.completions
        recorder.stop()

    asyncio.run(run())
    assert seen == ["lifespan", "websocket"]
