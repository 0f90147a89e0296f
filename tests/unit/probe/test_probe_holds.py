"""How a request held connections is divided exactly, and what is not given back is written down once."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import greenlet_spawn
from starlette.concurrency import run_in_threadpool

from harness.probe import dialect, pool, request
from harness.probe.holds import LONG_OUT_NS, Unreturned, hold_lines, site_lines
from harness.probe.left import Endpoints
from harness.probe.place import own_line
from harness.probe.process import ProcessProbe
from harness.probe.request import TimedApp

START = {"type": "http.response.start", "status": 200, "headers": []}
S = 10**9
Respond = Callable[[], None]
Work = Callable[["Service", Respond], None]


class Service:
    """Endpoints over a pool of SQLite connections, on a clock that only they move."""

    def __init__(self) -> None:
        self.now_ns = S
        self.probe = ProcessProbe(None)
        self.probe.left = deque()
        self.probe.counting_since_ns = 0
        self.probe.engines.counters.enabled_ns = 0
        self.engine: Engine = create_engine(
            "sqlite://", poolclass=QueuePool, pool_size=5, max_overflow=0, pool_timeout=0
        )
        event.listen(self.engine, "connect", self._give_function)
        self.probe.watch(self.engine)
        self.unreturned = Unreturned(Endpoints())
        self.kept: Any = None

    def _give_function(self, connection: Any, _record: object) -> None:
        connection.create_function("wait", 1, self.wait)

    def wait(self, seconds: int) -> int:
        self.now_ns += seconds * S
        return seconds

    def ask(self, connection: Connection, seconds: int) -> None:
        connection.execute(text(f"SELECT wait({seconds})"))

    def serve(self, work: Work, path: str = "/a") -> None:
        """One request, on the event loop."""

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await asyncio.sleep(0)
            work(self, lambda: send(START).close())

        self.serve_app(app, path)

    def serve_app(self, app: Any, path: str = "/a") -> None:
        async def send(_message: Any) -> None: ...

        scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"x-poolbench-arrival", b"2-7")]}
        asyncio.run(TimedApp(app, self.probe)(scope, None, send))  # type: ignore[arg-type]

    def lines(self) -> list[dict[str, Any]]:
        assert self.probe.left is not None
        found = [json.loads(line) for line in hold_lines(Endpoints().keyed(self.probe.left))]
        self.probe.left.clear()
        return found

    def found_out(self) -> list[dict[str, Any]]:
        out = self.probe.engines.counters.still_out()
        return [json.loads(line) for line in self.unreturned.lines(out, self.now_ns)]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    for module in (dialect, pool, request):
        monkeypatch.setattr(module, "monotonic_ns", lambda: made.now_ns)
    yield made
    made.probe.stop()
    made.engine.dispose()


def until_the_answer_is_sent(service: Service, respond: Respond) -> None:
    with service.engine.connect() as connection:
        service.wait(1)
        service.ask(connection, 5)
        service.wait(7)
        respond()
        service.wait(11)


def until_before_the_answer(service: Service, respond: Respond) -> None:
    with service.engine.connect() as connection:
        service.ask(connection, 5)
        connection.commit()
        service.wait(2)
    service.wait(20)
    respond()
    service.wait(11)


def after_the_answer(service: Service, respond: Respond) -> None:
    respond()
    with service.engine.connect() as connection:
        service.ask(connection, 5)


def one_within_another(service: Service, respond: Respond) -> None:
    with service.engine.connect() as outer:
        service.ask(outer, 1)
        with service.engine.connect() as inner:
            service.ask(inner, 10)
        service.ask(outer, 3)
    respond()


def one_after_the_other(service: Service, respond: Respond) -> None:
    for seconds in (1, 2):
        with service.engine.connect() as connection:
            service.ask(connection, seconds)
    respond()


FIGURES = ("connections", "holds", "statements", "hold_s", "query_s", "idle_transaction_s", "after_s")


@pytest.mark.parametrize(
    ("work", "figures"),
    [
        (until_the_answer_is_sent, (1, 1, 1, 13, 5, 7, 11)),
        (until_before_the_answer, (1, 1, 1, 7, 5, 0, 0)),
        (after_the_answer, (1, 1, 1, 0, 0, 0, 5)),
        (one_within_another, (2, 2, 3, 14 + 10, 14, 10, 0)),
        (one_after_the_other, (1, 2, 2, 3, 3, 0, 0)),
    ],
)
def test_a_hold_is_divided_by_what_was_done_meanwhile(service: Service, work: Work, figures: tuple[int, ...]) -> None:
    service.serve(work)
    service.serve(work)
    (line,) = service.lines()
    assert (line["segment"], line["method"], line["route"], line["status"]) == (2, "GET", "/a", 200)
    assert (line["requests"], line["left"], line["on_loop"]) == (2, 0, line["holds"])
    connections, *sums = figures
    assert tuple(line[name] for name in FIGURES) == (connections, *(2 * value for value in sums))


def test_a_request_without_a_connection_leaves_nothing(service: Service) -> None:
    service.serve(lambda _service, respond: respond())
    assert service.lines() == []


def test_requests_with_more_connections_at_once_have_lines_of_their_own(service: Service) -> None:
    service.serve(one_within_another)
    service.serve(one_after_the_other)
    assert [(line["connections"], line["requests"]) for line in service.lines()] == [(2, 1), (1, 1)]


def test_what_is_not_given_back_is_left_and_said_once_with_its_endpoint(service: Service) -> None:
    kept: list[Connection] = []
    service.serve(lambda own, _respond: kept.append(own.engine.connect()), path="/leak")
    (line,) = service.lines()
    assert (line["route"], line["left"], line["holds"], line["hold_s"]) == ("/leak", 1, 0, 0)
    taken_ns = service.now_ns
    assert service.found_out() == []
    service.now_ns += LONG_OUT_NS
    expected = {
        "taken_ns": taken_ns,
        "over_ns": taken_ns,
        "back_ns": None,
        "method": "GET",
        "route": "/leak",
        "site": "",
    }
    assert service.found_out() == [expected]
    service.now_ns += S
    assert service.found_out() == []
    kept.pop().close()
    back_ns = service.now_ns
    service.now_ns += S
    assert service.found_out() == [expected | {"back_ns": back_ns}]
    assert service.found_out() == service.lines() == []


def test_a_request_in_progress_holds_its_connection_as_long_as_it_likes(service: Service) -> None:
    def hold(own: Service, respond: Respond) -> None:
        with own.engine.connect():
            own.wait(100)
            assert own.found_out() == []
        respond()

    service.serve(hold)
    assert service.found_out() == []


def test_a_connection_that_no_request_took_is_out_for_nobody(service: Service) -> None:
    connection = service.engine.connect()
    service.now_ns += LONG_OUT_NS
    (line,) = service.found_out()
    assert (line["over_ns"], line["method"], line["route"]) == (line["taken_ns"], "", "")
    connection.close()
    assert service.lines() == []


def test_a_thread_needed_while_a_connection_is_held_is_counted(service: Service) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        await anyio.to_thread.run_sync(lambda: None)
        connection = service.engine.connect()
        await anyio.to_thread.run_sync(lambda: None)
        await run_in_threadpool(lambda: None)
        await anyio.to_thread.run_sync(lambda: None, limiter=anyio.CapacityLimiter(1))
        connection.close()
        await anyio.to_thread.run_sync(lambda: None)

    plain = anyio.to_thread.run_sync
    service.serve_app(app)
    (line,) = service.lines()
    assert line["threads"] == 2
    service.probe.stop()
    assert anyio.to_thread.run_sync is plain


def test_in_detail_the_line_that_took_each_connection_is_noted(service: Service) -> None:
    sites = service.probe.engines.counters.sites = deque()

    def take(own: Service, seconds: int) -> None:
        with own.engine.connect() as connection:
            own.ask(connection, seconds)

    line = f"tests/unit/probe/test_probe_holds.py:{take.__code__.co_firstlineno + 1}"
    for seconds in (1, 3):
        service.serve(lambda own, _respond, seconds=seconds: take(own, seconds), path="/slow")  # type: ignore[misc]
    (said,) = map(json.loads, site_lines(sites, Endpoints()))
    assert (said["segment"], said["method"], said["route"], said["site"]) == (2, "GET", "/slow", line)
    assert (said["holds"], said["held_s"], said["longest_s"]) == (2, 4.0, 3.0)
    kept = service.engine.connect()
    service.now_ns += LONG_OUT_NS
    (out,) = service.found_out()
    assert out["site"].startswith("tests/unit/probe/test_probe_holds.py:")
    kept.close()


def test_the_line_of_an_async_session_is_that_which_awaits_it() -> None:
    """SQLAlchemy does its work in a greenlet whose frames end where it began."""

    async def ask() -> str:
        return await greenlet_spawn(own_line)

    found = asyncio.run(ask())
    assert found == f"tests/unit/probe/test_probe_holds.py:{ask.__code__.co_firstlineno + 1}"


def test_a_connection_that_is_waited_for_in_vain_was_wanted(service: Service) -> None:
    def want(own: Service, _respond: Respond) -> None:
        with own.engine.connect(), pytest.raises(PoolTimeoutError):
            own.engine.connect()

    kept = [service.engine.connect() for _ in range(4)]
    service.serve(want)
    (line,) = service.lines()
    assert (line["connections"], line["holds"], line["left"]) == (2, 1, 0)
    for connection in kept:
        connection.close()


def test_a_websocket_holds_its_connection_as_long_as_it_lasts(service: Service) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        connection = service.engine.connect()
        service.wait(100)
        assert service.found_out() == []
        service.kept = connection

    async def nothing(*_: Any) -> None: ...

    async def serve() -> None:
        timed = TimedApp(app, service.probe)
        service.probe.enter_loop()
        await timed({"type": "websocket", "path": "/ws", "headers": []}, nothing, nothing)

    asyncio.run(serve())
    service.now_ns += LONG_OUT_NS
    (line,) = service.found_out()
    assert (line["method"], line["route"]) == ("", "/ws")
    service.kept.close()
    assert service.lines() == []
