"""The time series as its thread writes it, on real clocks: lines, completions, a fork; pauses and lag."""

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

from harness.probe.counters import Counters
from harness.probe.line import Reading
from harness.probe.process import ProcessProbe
from harness.probe.runtime import IDLE_BEAT_S, GcPauses, LoopLag
from harness.probe.series import READINGS_A_WRITE, Series


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def until(condition: Callable[[], Any], limit_s: float = 10.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.01)
    return found


def test_lines_and_completions_are_written_and_off_stops_both(tmp_path: Path) -> None:
    probe = ProcessProbe(tmp_path)
    probe.start()
    lines, completions = (tmp_path / f"{name}-{os.getpid()}.jsonl" for name in ("probe", "completions"))
    try:
        until(lambda: lines.exists() and len(read(lines)) >= 3)
        assert probe.completions is not None
        probe.completions.append(([(b"x-poolbench-arrival", b"1-2")], 3, True, 4_000_000, 5_000_000, 6_000_000))
        until(completions.exists)
        probe.flush()
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

    series = Series(tmp_path, take=take, toggle=probe.toggle, note=lambda: None, counters=Counters())
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
        worst(lag)
        growing = []
        for _ in range(3):
            time.sleep(0.1)  # noqa: ASYNC251 -- the block
            growing.append(worst(lag))
        await asyncio.sleep(0.05)
        after = worst(lag)
        lag.stop()
        return growing, after, worst(lag, 10**9)

    def worst(lag: LoopLag, later_ns: int = 0) -> float:
        return lag.read(time.monotonic_ns() + later_ns)[0] / 1e6

    growing, after, stopped = asyncio.run(run())
    assert growing == sorted(growing)
    assert growing[2] >= 300 - 1000 * IDLE_BEAT_S - 5  # the block may begin a whole beat before one is due
    assert growing[2] - growing[1] >= 95
    assert after >= growing[2]  # the beat that was late says how late it came in the end
    assert stopped == 0
    assert lag.loop is None
    _, late_ns, beats = lag.read(time.monotonic_ns())
    assert 2 <= beats <= 5  # 0.05 s before the block and as long after it, in beats of 0.02 s at least
    assert late_ns >= 190e6
