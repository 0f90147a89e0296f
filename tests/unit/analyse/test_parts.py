"""Where the time of an average request went: probe counters and headers made up so that every part is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import MEASURE_S, SECOND, START_NS, cell, rows, run, table, trial

from harness.analyse.launches import measure_launches
from harness.analyse.parts import parts_of
from harness.domain.evidence import TrialEvidence
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Part
from harness.domain.tables import PROBE_COLUMNS

REQUESTS = 1000
COUNTERS = ("connection_wait_time_s", "connection_create_time_s", "connection_ping_time_s", "gc_pause_s", "loop_lag_s")


def probe_lines(waiting: float = 0.0, beats: float = 500.0, **grown: float) -> pd.DataFrame:
    """Two processes whose counters grow evenly, by half of `grown` each, over the measurement."""
    t_ns = START_NS + np.linspace(0, MEASURE_S * SECOND, 101).astype(np.int64)
    share = np.linspace(0, 1, 101) / 2
    columns: dict[str, Any] = {name: grown.get(name, 0.0) * share + 7 for name in COUNTERS}
    columns |= {"loop_beats": beats * share, "threadpool_tasks_waiting": waiting / 2}
    lines = [table(PROBE_COLUMNS, pid=pid, t_ns=t_ns.tolist(), **columns) for pid in (1, 2)]
    return pd.concat(lines, ignore_index=True)


def launch(arm: str, block: int, probe: pd.DataFrame, **parts_ms: float) -> TrialEvidence:
    """Requests of 20 ms, of which the service's header tells `parts_ms`."""
    own = replace(cell((BASE, BASE_AGAIN, HEAD).index(arm) + 1), arm=arm)
    return trial(own, block, rows([20.0] * REQUESTS, **parts_ms), probe=probe, sitting=block)


def parts(head_probe: pd.DataFrame, **head_ms: float) -> dict[str, Part]:
    usual = {"pool_ms": 2.0, "db_ms": 5.0, "app_ms": 3.0}
    quiet = probe_lines(connection_wait_time_s=1.0, connection_create_time_s=0.5, connection_ping_time_s=0.5)
    sides = [
        launch(arm, block, head_probe if arm == HEAD else quiet, **(usual | (head_ms if arm == HEAD else {})))
        for block in (1, 2)
        for arm in (BASE, BASE_AGAIN, HEAD)
    ]
    return {own.name: own for own in parts_of(measure_launches(run(sides)).counted)}


def test_the_way_to_a_connection_is_divided_as_the_pools_counters_are() -> None:
    found = parts(probe_lines(connection_wait_time_s=3.0, connection_create_time_s=1.0), pool_ms=8.0)
    assert {name: (found[name].base_ms, found[name].head_ms) for name in ("queue", "dial", "ping")} == {
        "queue": (pytest.approx(1.0), pytest.approx(6.0)),
        "dial": (pytest.approx(0.5), pytest.approx(2.0)),
        "ping": (pytest.approx(0.5), pytest.approx(0.0)),
    }
    assert (found["queue"].low_ms, found["queue"].high_ms) == (pytest.approx(5.0), pytest.approx(5.0))


def test_the_first_six_parts_add_up_to_the_latency() -> None:
    found = parts(probe_lines(connection_wait_time_s=3.0, gc_pause_s=2.0), pool_ms=4.0, db_ms=6.0, app_ms=1.0)
    six = ("queue", "dial", "ping", "database", "application", "elsewhere")
    for side in ("base_ms", "head_ms"):
        assert sum(getattr(found[name], side) for name in six) == pytest.approx(20.0)


def test_what_lies_within_the_parts_is_by_request() -> None:
    found = parts(probe_lines(waiting=3.0, gc_pause_s=2.0, loop_lag_s=1.0))
    # 3 tasks wait at any time over 10 s, of 1000 requests: 30 ms each; 2 s of pauses: 2 ms each
    assert found["threads"].head_ms == pytest.approx(30.0, rel=0.01)
    assert found["gc"].head_ms == pytest.approx(2.0, rel=0.01)
    assert found["loop"].head_ms == pytest.approx(2.0)  # 1 s over 500 beats
    assert found["threads"].base_ms == found["gc"].base_ms == found["loop"].base_ms == 0.0


def test_a_part_that_neither_side_has_is_left_out() -> None:
    assert not {"threads", "gc", "loop"} & parts(probe_lines(connection_wait_time_s=1.0)).keys()


def test_what_was_not_recorded_is_no_part() -> None:
    before = probe_lines(gc_pause_s=1.0).assign(loop_lag_s=np.nan, loop_beats=np.nan, threadpool_tasks_waiting=np.nan)
    found = parts(before)
    assert "gc" in found
    assert not {"threads", "loop"} & found.keys()


def test_without_a_probe_the_parts_of_a_connection_are_not_told() -> None:
    found = parts(probe_lines().iloc[:0], pool_ms=np.nan, db_ms=np.nan, app_ms=np.nan)
    assert not {"queue", "dial", "ping", "threads", "gc", "loop"} & found.keys()
