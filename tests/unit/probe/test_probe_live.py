"""The gauge of requests in progress, as another process reads it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI

from harness.generator.gauges import Gauges
from harness.probe.live import LiveCount
from harness.probe.process import ProcessProbe
from harness.probe.request import TimedApp


def shown(folder: Path, pid: int | None = None) -> int:
    """What is in the file now, read as bytes."""
    return int.from_bytes((folder / f"live-{pid or os.getpid()}.bin").read_bytes(), "little")


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[ProcessProbe]:
    made = ProcessProbe(tmp_path)
    yield made
    made.stop()


async def call(app: TimedApp, path: str, sent: list[str]) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"x")],
        "scheme": "http",
        "server": ("x", 80),
        "client": ("y", 1),
        "root_path": "",
    }
    await app(scope, receive, send)


def test_a_request_counts_from_its_receipt_to_the_end_of_its_background_work_and_its_closing(
    probe: ProcessProbe, tmp_path: Path
) -> None:
    seen: dict[str, int] = {}
    app = FastAPI()

    async def session() -> AsyncIterator[None]:
        seen["opening"] = shown(tmp_path)
        yield
        seen["closing"] = shown(tmp_path)

    @app.get("/")
    async def read(tasks: BackgroundTasks, _: None = Depends(session)) -> None:
        seen["endpoint"] = shown(tmp_path)

        async def work() -> None:
            await asyncio.sleep(0)
            seen["background"] = shown(tmp_path)

        tasks.add_task(work)

    sent: list[str] = []
    assert shown(tmp_path) == 0
    asyncio.run(call(TimedApp(app, probe), "/", sent))
    assert sent[0] == "http.response.start"
    assert seen == dict.fromkeys(["opening", "endpoint", "background", "closing"], 1)
    assert shown(tmp_path) == 0


def test_requests_side_by_side_add_up_and_one_that_raises_or_is_cancelled_counts_down(
    probe: ProcessProbe, tmp_path: Path
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/raise":
            raise RuntimeError("as asked")
        await asyncio.sleep(3600)

    async def run() -> list[int]:
        timed, counts = TimedApp(app, probe), []
        tasks = [asyncio.create_task(call(timed, "/wait", [])) for _ in range(3)]
        await asyncio.sleep(0)
        counts.append(shown(tmp_path))
        with pytest.raises(RuntimeError, match="as asked"):
            await call(timed, "/raise", [])
        counts.append(shown(tmp_path))
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        counts.append(shown(tmp_path))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [*counts, shown(tmp_path)]

    assert asyncio.run(run()) == [3, 3, 2, 0]


def test_an_app_that_is_wrapped_twice_counts_once(probe: ProcessProbe, tmp_path: Path) -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(shown(tmp_path))

    asyncio.run(call(TimedApp(TimedApp(app, probe), probe), "/", []))  # type: ignore[arg-type]
    assert seen == [1]


def test_a_forked_child_begins_at_zero_and_leaves_its_parents_gauge_alone(tmp_path: Path) -> None:
    live = LiveCount(tmp_path)
    live.value[0] += 2
    child = os.fork()
    if not child:
        live.renew()
        live.value[0] += 5
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (shown(tmp_path), shown(tmp_path, child)) == (2, 5)
    gauges = Gauges(tmp_path)
    gauges.look_again()
    assert gauges.in_progress == 2, "the child is gone, and will not count down"


def test_without_a_folder_or_in_one_that_cannot_be_written_the_service_goes_on(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "missing"):
        live = LiveCount(folder)
        live.value[0] += 1
        assert live.value[0] == 1


def test_the_reader_finds_processes_as_they_come_and_forgets_those_that_went(tmp_path: Path) -> None:
    gauges = Gauges(tmp_path)
    gauges.look_again()
    assert gauges.at_most(0, now_ns=10**12), "nothing is known of any process"
    live = LiveCount(tmp_path)
    live.value[0] += 1
    assert gauges.at_most(0, now_ns=10**12)
    gauges.look_again()
    assert not gauges.at_most(0, now_ns=10**12)
    assert gauges.at_most(1, now_ns=10**12)
    child = os.fork()
    if not child:
        os._exit(0)
    live.value[0] -= 1
    (tmp_path / f"live-{child}.bin").write_bytes((3).to_bytes(8, "little"))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    gauges = Gauges(tmp_path)
    gauges.look_again()
    assert gauges.in_progress == 0, "it ended at work, although nobody has asked for its end yet"
    os.waitpid(child, 0)


def test_no_folder_is_nothing_known() -> None:
    gauges = Gauges(None)
    gauges.look_again()
    assert gauges.in_progress == 0
    assert gauges.at_most(0, now_ns=0)
