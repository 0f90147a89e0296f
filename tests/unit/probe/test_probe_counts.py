"""What requests leave is summed by endpoint and status, and only what was seen whole is left."""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import os
import sys
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accounts import new_account
from fastapi import APIRouter, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router

from harness.probe.accounting import UNKNOWN, current
from harness.probe.counts import MOST_KINDS, Counts
from harness.probe.left import Endpoints, own_template, segment_of
from harness.probe.process import ProcessProbe
from harness.probe.request import TimedApp

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}
SUMS = ("requests", "statements", "transactions", "checkouts", "round_trips")


def arrival(text: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"x-poolbench-arrival", text)]


def left(
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    path: str = "/a",
    status: int = 200,
    trips: float = 3,
    first: int = 0,
    fresh: bool = False,
) -> Any:
    """What a request without a route leaves."""
    return (
        segment_of(arrival(b"2-7") if headers is None else headers),
        "GET",
        path,
        None,
        status,
        (1, 1, 1, trips, first, fresh),
        (),
    )


def lines(requests: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Counts().lines(Endpoints().keyed(requests))]


def test_requests_of_one_endpoint_segment_and_status_are_summed() -> None:
    found = lines([left(), left(), left(path="/b"), left(arrival(b"3-7")), left(status=404)])
    assert [(line["segment"], line["route"], line["status"], *(line[name] for name in SUMS)) for line in found] == [
        (2, "/a", 200, 2, 2, 2, 2, 6),
        (2, "/b", 200, 1, 1, 1, 1, 3),
        (3, "/a", 200, 1, 1, 1, 1, 3),
        (2, "/a", 404, 1, 1, 1, 1, 3),
    ]
    assert {line["method"] for line in found} == {"GET"}


def test_requests_that_took_something_else_have_a_line_of_their_own() -> None:
    several = [left(), left(trips=4), left(trips=4, first=1), left(trips=UNKNOWN), left(fresh=True), left(trips=4)]
    found = lines([*several, left(trips=math.nan)])
    names = ("requests", "round_trips", "first_round_trips", "fresh", "alike")
    assert [tuple(line[name] for name in names) for line in found] == [
        (1, 3, 0, False, True),
        (2, 8, 0, False, True),
        (1, 4, 1, False, True),
        (2, None, 0, False, True),
        (1, 3, 0, True, True),
    ]


def test_of_an_endpoint_whose_requests_take_ever_something_else_the_rest_is_summed() -> None:
    counts, requests = Counts(), Endpoints().keyed([left(trips=number) for number in range(MOST_KINDS + 2)])
    first, again = ([json.loads(line) for line in counts.lines(requests)] for _ in range(2))
    assert first == again
    assert len(first) == MOST_KINDS + 1
    rest = first[-1]
    assert (rest["alike"], rest["requests"], rest["round_trips"]) == (False, 2, 2 * MOST_KINDS + 1)
    assert sum(line["round_trips"] for line in first) == sum(range(MOST_KINDS + 2))


def test_what_is_unknown_of_one_is_unknown_of_the_rest() -> None:
    counts, keyed = Counts(), Endpoints().keyed
    list(counts.lines(keyed([left(trips=number) for number in range(MOST_KINDS)])))
    (line,) = map(json.loads, counts.lines(keyed([left(trips=UNKNOWN), left(trips=MOST_KINDS)])))
    assert (line["requests"], line["statements"], line["round_trips"]) == (2, 2, None)


@pytest.mark.parametrize("text", [b"", b"x", b"-1-3", b"12345678901-1", b"\xff-1", b'"}-1'])
def test_an_arrival_that_is_none_of_ours_has_no_segment(text: bytes) -> None:
    assert {line["segment"] for line in lines([left(arrival(text)), left([])])} == {-1}


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/heroes/4711", "/heroes/{id}"),
        ("/heroes/4711/", "/heroes/{id}/"),
        ("/v2/x1/7a", "/v2/x1/7a"),
        ("/f/0d3f5a1c-8e2b-4f3a-9c1d-2e4f6a8b0c1d", "/f/{id}"),
        ("/f/deadbeefdeadbeef0", "/f/{id}"),
        ("/f/abcdefabcdefabcdef", "/f/abcdefabcdefabcdef"),
    ],
)
def test_a_path_without_a_route_has_a_template_of_its_own(path: str, template: str) -> None:
    assert own_template(path) == template


def test_paths_tried_at_random_share_a_name_in_the_end() -> None:
    endpoints = Endpoints()
    names = {endpoints.name(f"/try-{chr(97 + number // 26)}{chr(97 + number % 26)}", None) for number in range(600)}
    assert "(other)" in names
    assert len(names) == 201
    assert endpoints.name("/try-aa", None) == "/try-aa"


def nested_app() -> Any:
    """Routes included under prefixes, mounted, mounted under a parameter, and with a path for a parameter."""
    app = FastAPI()
    items = APIRouter(prefix="/items")

    @items.get("/{item_id}")
    async def item(item_id: int) -> int:
        return item_id

    inner = APIRouter(prefix="/inner")
    inner.include_router(items)
    app.include_router(inner, prefix="/api")
    app.include_router(items)

    @app.get("/files/{path:path}")
    async def file(path: str) -> str:
        return path

    sub = FastAPI()
    sub.include_router(items)
    app.mount("/sub", sub)

    async def plain(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("x")

    app.mount(
        "/tenants/{tenant}", Router([Route("/things/{thing}", plain), Mount("/deep", Router([Route("/", plain)]))])
    )
    return app


class Recorder(ProcessProbe):
    """A probe that keeps what requests leave instead of writing it."""

    def __init__(self) -> None:
        super().__init__(None)
        self.left = deque()

    def lines(self) -> list[dict[str, Any]]:
        return lines(list(self.left or ()))


def call(app: Any, probe: Recorder, path: str = "/a", method: str = "GET") -> None:
    """One request through the app, in a loop of its own."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None: ...

    async def run() -> None:
        scope = {"type": "http", "method": method, "path": path, "headers": arrival(b"2-7"), "query_string": b""}
        scope |= {"root_path": "", "http_version": "1.1", "scheme": "http", "server": ("x", 80), "state": {}}
        await TimedApp(app, probe)(scope, receive, send)

    try:
        asyncio.run(run())
    finally:
        probe.lag.stop()


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/items/3", "/items/{item_id}"),
        ("/api/inner/items/3", "/api/inner/items/{item_id}"),
        ("/sub/items/3", "/sub/items/{item_id}"),
        ("/files/a/b/c", "/files/{path}"),
        ("/files/a", "/files/{path}"),
        ("/tenants/77/things/5", "/tenants/{id}/things/{thing}"),
        ("/tenants/77/deep/", "/tenants/{id}/deep/"),
        ("/sub/nowhere/3", "/sub/nowhere/{id}"),
    ],
)
def test_an_endpoint_is_named_by_its_whole_path(path: str, route: str) -> None:
    probe = Recorder()
    call(nested_app(), probe, path)
    assert [line["route"] for line in probe.lines()] == [route]


def spend(statements: int = 1) -> None:
    account = current.get()
    assert account is not None
    account.statements += statements


async def streaming(scope: Any, receive: Any, send: Any) -> None:
    spend()
    await send(START)
    for _ in range(3):
        await send({**BODY, "more_body": True})
        spend()
    await send(BODY)
    await asyncio.to_thread(spend, 10)  # work after the response is the request's too


def test_a_request_counts_what_it_does_until_all_its_work_is_done() -> None:
    probe = Recorder()
    call(streaming, probe)
    (line,) = probe.lines()
    assert (line["status"], line["requests"], line["statements"]) == (200, 1, 14)


def test_side_by_side_each_counts_its_own() -> None:
    probe = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(int(scope["path"][1:])):
            spend()
            await asyncio.sleep(0)
        await send(START)

    async def run() -> None:
        async def send(_message: Any) -> None: ...

        timed = TimedApp(app, probe)
        await asyncio.gather(
            *(
                timed({"type": "http", "method": "GET", "path": f"/{number}", "headers": arrival(b"1-1")}, None, send)  # type: ignore[arg-type]  # nobody receives
                for number in range(50)
            )
        )

    asyncio.run(run())
    probe.stop()
    assert sorted(took[0] for *_, took, _ in probe.left or ()) == list(range(50))


@pytest.mark.parametrize(("responds", "status"), [(True, 200), (False, 0)])
@pytest.mark.parametrize("error", [OSError, asyncio.CancelledError])
def test_a_request_that_fails_is_counted_too(error: type[BaseException], responds: bool, status: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        spend()
        if responds:
            await send(START)
        raise error

    probe = Recorder()
    with pytest.raises(error):
        call(app, probe)
    (line,) = probe.lines()
    assert (line["status"], line["requests"], line["statements"]) == (status, 1, 1)


def test_wrapping_twice_counts_once() -> None:
    probe = Recorder()
    call(TimedApp(streaming, probe), probe)
    assert len(probe.left or ()) == 1


@pytest.mark.parametrize("switches", [[False], [False, True], [True]])
def test_a_request_during_which_the_probe_was_switched_is_not_counted(switches: list[bool]) -> None:
    probe = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for active in switches:
            probe.toggle(active)
        await send(START)

    call(app, probe)
    assert len(probe.left or ()) == (switches == [True])  # it was on already
    probe.stop()


def test_counts_are_written_as_increments_and_none_is_lost(tmp_path: Path) -> None:
    probe = ProcessProbe(tmp_path)
    assert probe.left is not None
    probe.start()
    total = 30_000  # more than completions are kept
    for _ in range(3):
        probe.left.extend([left()] * (total // 3))
        probe.flush()
    probe.stop()
    written = [json.loads(line) for line in (tmp_path / f"counts-{os.getpid()}.jsonl").read_text().splitlines()]
    assert len(written) >= 3
    assert sum(line["requests"] for line in written) == total
    assert sum(line["round_trips"] for line in written) == 3 * total


def test_counts_are_on_disk_within_half_a_second(tmp_path: Path) -> None:
    probe = ProcessProbe(tmp_path)
    assert probe.left is not None
    probe.start()
    probe.left.append(left())
    deadline = time.monotonic() + 10
    while not (file := tmp_path / f"counts-{os.getpid()}.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert json.loads(file.read_text())["requests"] == 1
    probe.stop()


def test_a_driver_made_otherwise_leaves_round_trips_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("psycopg")  # which needs the module that is replaced now
    monkeypatch.setitem(sys.modules, "psycopg.generators", SimpleNamespace())
    probe = ProcessProbe(None)
    engine = create_engine("postgresql+psycopg://", poolclass=QueuePool)
    probe.watch(engine)
    assert "do_ping" in vars(engine.dialect)
    account = new_account()
    token = current.set(account)
    with pytest.raises(AttributeError):
        engine.dialect.do_commit(None)  # type: ignore[arg-type]  # no connection is needed to be asked
    current.reset(token)
    probe.stop()
    assert math.isnan(account.round_trips)
    assert math.isnan(account.transactions)


def test_statements_and_checkouts_are_counted_with_any_driver() -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=QueuePool)
    probe.watch(engine)
    account = new_account()
    token = current.set(account)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.execute(text("SELECT 1"), execution_options={"no_parameters": True})
        connection.execute(text("CREATE TABLE t (n int)"))
        connection.execute(text("INSERT INTO t VALUES (:n)"), [{"n": 1}, {"n": 2}])
    current.reset(token)
    probe.stop()
    assert (account.statements, account.checkouts, account.fresh) == (4, 1, True)
    assert math.isnan(account.round_trips)


def test_a_connection_is_fresh_to_the_first_request_that_has_it() -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=QueuePool)
    probe.watch(engine)
    engine.connect().close()  # dialled as the service starts, which is no request

    def fresh() -> bool:
        account = new_account()
        token = current.set(account)
        with engine.connect():
            pass
        current.reset(token)
        return bool(account.fresh)

    assert [fresh(), fresh()] == [True, False]
    engine.dispose()
    assert [fresh(), fresh()] == [True, False]
    probe.stop()
