"""The time series: its keys, its thread, its files; the interpreter's gauges; the public functions."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool, SingletonThreadPool, StaticPool

from harness.domain.evidence import PROBE_COLUMNS
from harness.probe import asgi, watch
from harness.probe.line import Reading
from harness.probe.process import ProcessProbe, process_probe
from harness.probe.request import TimedApp
from harness.probe.runtime import IDLE_BEAT_S, GcPauses, LoopLag
from harness.probe.series import READINGS_A_WRITE, Series
from harness.probe.serve import is_factory


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def until(condition: Callable[[], Any], limit_s: float = 10.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.01)
    return found


def test_a_line_has_exactly_the_columns_agreed_on() -> None:
    line = ProcessProbe(None).read()
    assert list(line) == list(PROBE_COLUMNS)
    for name, kind in PROBE_COLUMNS.items():
        assert isinstance(line[name], float if kind.startswith("float") else int), name


def test_lines_and_completions_are_written_and_off_stops_both(tmp_path: Path) -> None:
    probe = ProcessProbe(tmp_path)
    probe.start()
    lines, completions = (tmp_path / f"{name}-{os.getpid()}.jsonl" for name in ("probe", "completions"))
    try:
        until(lambda: lines.exists() and len(read(lines)) >= 3)
        assert probe.completions is not None
        probe.completions.append(([(b"x-poolbench-arrival", b"1-2")], 3, True, 4_000_000, 5_000_000, 6_000_000))
        until(completions.exists)
        assert not probe.flush()
        (tmp_path / "off").touch()
        until(lambda: not probe.active)
        written = len(read(lines))
        probe.flush()
        time.sleep(0.25)
        assert len(read(lines)) == written
        (tmp_path / "off").unlink()
        until(lambda: probe.active and len(read(lines)) > written)
    finally:
        probe.stop()
    assert read(completions) == [
        {"arrival": "1-2", "t_ns": 3, "kind": "stream", "seconds": 0.004, "pool_ms": 5.0, "db_ms": 6.0}
    ]
    times = [line["t_ns"] for line in read(lines)]
    assert times == sorted(times)
    assert {line["pid"] for line in read(lines)} == {os.getpid()}


def test_every_reading_is_written_in_its_turn(tmp_path: Path) -> None:
    probe = ProcessProbe(tmp_path)
    taken: list[int] = []

    def take() -> Reading:
        taken.append(time.monotonic_ns())
        return (taken[-1], *ProcessProbe.take(probe)[1:])

    series = Series(tmp_path, take=take, toggle=probe.toggle, note=lambda: None)
    series.start()
    until(lambda: len(taken) > READINGS_A_WRITE + 2)  # a whole write, and the next not due yet
    series.stop()
    assert [line["t_ns"] for line in read(tmp_path / f"probe-{os.getpid()}.jsonl")] == taken


def test_turned_off_by_whoever_it_writes_where_it_stands_and_then_nothing_until_turned_on(tmp_path: Path) -> None:
    probe = ProcessProbe(tmp_path)
    probe.start()
    lines = tmp_path / f"probe-{os.getpid()}.jsonl"
    try:
        until(lambda: lines.exists() and read(lines))
        probe.engines.counters.checkouts = 7
        probe.toggle(False)
        written = len(read(lines))
        assert read(lines)[-1]["connection_checkouts"] == 7
        time.sleep(0.25)
        assert len(read(lines)) == written
        probe.toggle(True)
        until(lambda: len(read(lines)) > written)
    finally:
        probe.stop()


def test_a_folder_that_cannot_be_written_turns_the_probe_off_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probe = ProcessProbe(tmp_path / "missing")
    probe.start()
    until(lambda: not probe.active)
    probe.stop()
    assert "cannot write" in caplog.text


def test_a_forked_child_writes_its_own_file_and_counts_from_zero(tmp_path: Path) -> None:
    probe = ProcessProbe(tmp_path)
    probe.start()
    probe.engines.counters.checkouts = probe.engines.counters.used = 1
    child = os.fork()
    if not child:
        try:
            probe.after_fork()
            mine = tmp_path / f"probe-{os.getpid()}.jsonl"
            until(lambda: mine.exists() and read(mine))
        except BaseException:  # noqa: BLE001 -- nothing may escape into a second copy of the test session
            os._exit(1)
        os._exit(0)
    try:
        assert os.waitpid(child, 0)[1] == 0
        line = read(tmp_path / f"probe-{child}.jsonl")[0]
        assert (line["pid"], line["connection_checkouts"], line["connection_count_used"]) == (child, 0, 0)
        assert probe.read()["connection_checkouts"] == 1
    finally:
        probe.stop()


def test_a_collection_is_a_pause() -> None:
    pauses = GcPauses()
    began = time.monotonic()
    pauses.start()
    pauses.start()
    try:
        gc.collect()
    finally:
        pauses.stop()
    elapsed_s = time.monotonic() - began
    count, pause_ns, worst_ns = pauses.read()
    gc.collect()
    assert count >= 1
    assert 0 < worst_ns <= pause_ns <= elapsed_s * 1e9
    assert pauses.read() == (count, pause_ns, 0)  # the maximum is over the time since the last reading


def test_lag_grows_while_the_loop_is_blocked_and_is_told_once() -> None:
    lag = LoopLag()

    async def run() -> tuple[list[float], float, float]:
        lag.start(asyncio.get_running_loop())
        await asyncio.sleep(0.05)
        lag.read(time.monotonic_ns())
        growing = []
        for _ in range(3):
            time.sleep(0.1)  # noqa: ASYNC251 -- the block
            growing.append(lag.read(time.monotonic_ns()) / 1e6)
        await asyncio.sleep(0.05)
        after = lag.read(time.monotonic_ns()) / 1e6
        lag.stop()
        return growing, after, lag.read(time.monotonic_ns() + 10**9) / 1e6

    growing, after, stopped = asyncio.run(run())
    assert growing == sorted(growing)
    assert growing[2] >= 300 - 1000 * IDLE_BEAT_S - 5  # the block may begin a whole beat before one is due
    assert growing[2] - growing[1] >= 95
    assert after >= growing[2]  # the beat that was late says how late it came in the end
    assert stopped == 0
    assert lag.loop is None


@pytest.mark.parametrize("poolclass", [QueuePool, StaticPool, SingletonThreadPool])
def test_other_pools_count_too(poolclass: Any) -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=poolclass)
    probe.watch(engine)
    for _ in range(2):
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
    line = probe.read()
    assert (line["connection_checkouts"], line["connection_connects"], line["connection_count_used"]) == (2, 1, 0)
    assert line["transaction_time_s"] > 0
    plain = type(engine.pool).__base__
    probe.stop()
    assert type(engine.pool) is plain
    engine.dispose()


def test_a_disposed_pool_is_measured_by_the_same_class() -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=QueuePool)
    probe.watch(engine)
    measuring = type(engine.pool)
    engine.dispose()
    assert type(engine.pool) is measuring
    probe.watch(engine)
    with engine.connect() as connection:
        connection.invalidate()
    assert probe.read()["connection_invalidations"] == 1
    probe.stop()


def test_an_engine_is_not_kept_alive_by_being_watched() -> None:
    probe = ProcessProbe(None)
    engine = create_engine("sqlite://", poolclass=QueuePool)
    probe.watch(engine)
    assert probe.read()["connection_max"] == 15
    del engine
    gc.collect()
    assert probe.read()["connection_max"] == 0


def test_watch_takes_engines_only() -> None:
    with pytest.raises(TypeError, match="not str"):
        watch("sqlite://")  # type: ignore[arg-type]


def test_the_public_functions_share_the_processs_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    monkeypatch.delenv("POOLBENCH_PROBE_DIR", raising=False)
    process_probe.cache_clear()
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=3, max_overflow=0)
    try:
        watch(engine)
        watch(engine)
        assert process_probe().read()["connection_max"] == 3
        wrapped = asgi(app)
        assert isinstance(wrapped, TimedApp)
        assert wrapped.app is app
    finally:
        process_probe().stop()
        process_probe.cache_clear()
        engine.dispose()


class App:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


async def function_app(scope: Any, receive: Any, send: Any) -> None: ...


async def decorated_app(*args: Any, **kwargs: Any) -> None: ...


def factory() -> App:
    return App()


def factory_with_defaults(settings: object = None) -> App:
    return App()


def old_style_app(scope: Any) -> Any: ...


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (App(), False),
        (function_app, False),
        (decorated_app, False),
        (old_style_app, False),
        (factory, True),
        (factory_with_defaults, True),
        (App, True),
        (None, False),
    ],
)
def test_a_factory_is_told_from_an_app(target: Any, expected: bool) -> None:
    assert is_factory(target) is expected
