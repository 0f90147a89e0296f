"""How launches fare while the load goes on, from what generator and probes have written until then."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from harness.domain.load import SETUP_SEGMENT
from harness.domain.rows import DROPPED, ERROR, OK, RECORD_FIELDS, rows_file
from harness.observe.live import LiveFigures


def records(latencies_ms: list[float], *, outcome: int = OK, segment: int = 0, sequence: int = 0) -> bytes:
    table = np.zeros(len(latencies_ms), dtype=np.dtype(list(RECORD_FIELDS)))
    table["outcome"], table["segment"], table["sequence"] = outcome, segment, sequence
    table["intended_ns"] = 1_000_000_000
    table["finished_ns"] = table["intended_ns"] + np.round(np.array(latencies_ms) * 1e6).astype(np.int64)
    return table.tobytes()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


@pytest.fixture
def figures(tmp_path: Path) -> LiveFigures:
    return LiveFigures(tmp_path, {"b1-c1": "pool_size 1", "b1-c2": "pool_size 4"})


def test_a_launch_that_was_sent_nothing_yet_is_not_shown(figures: LiveFigures, tmp_path: Path) -> None:
    assert figures.read() == ()
    write(tmp_path / rows_file("b1-c2"), records([5.0]))
    assert [tick.label for tick in figures.read()] == ["pool_size 4"]


def test_arrivals_are_counted_once_as_they_come(figures: LiveFigures, tmp_path: Path) -> None:
    path = tmp_path / rows_file("b1-c1")
    write(path, records([5.0] * 10) + records([1.0] * 3, outcome=ERROR) + records([0.0] * 2, outcome=DROPPED))
    for _ in range(2):
        (tick,) = figures.read()
        assert (tick.offered, tick.answered, tick.failed, tick.dropped) == (15, 10, 3, 2)
    half = records([5.0])[:40]
    write(path, half)
    assert figures.read()[0].offered == 15, "a record that is being written"
    write(path, records([5.0])[40:])
    assert figures.read()[0].offered == 16


def test_users_beginning_and_later_requests_of_a_task_are_no_arrivals(figures: LiveFigures, tmp_path: Path) -> None:
    path = tmp_path / rows_file("b1-c1")
    write(path, records([5.0]) + records([5.0], segment=SETUP_SEGMENT) + records([5.0] * 4, sequence=1))
    assert figures.read()[0].offered == 1


def test_several_generators_are_added_up(figures: LiveFigures, tmp_path: Path) -> None:
    for worker in ("worker-0", "worker-1"):
        write(tmp_path / worker / rows_file("b1-c1"), records([5.0] * 4))
    assert figures.read()[0].offered == 8


@pytest.mark.parametrize(("failed", "expected_ms"), [(0, 95.0), (5, 100.0), (6, math.inf)])
def test_the_p95_is_that_of_what_was_offered_within_5_percent(
    figures: LiveFigures, tmp_path: Path, failed: int, expected_ms: float
) -> None:
    served = [float(place) for place in range(1, 101)][failed:]
    write(tmp_path / rows_file("b1-c1"), records(served) + records([1.0] * failed, outcome=ERROR))
    p95_ms = figures.read()[0].p95_ms
    assert p95_ms == pytest.approx(expected_ms, rel=0.05)


def test_the_pool_is_what_the_probes_last_whole_line_says(figures: LiveFigures, tmp_path: Path) -> None:
    write(tmp_path / rows_file("b1-c1"), records([5.0]))
    assert (figures.read()[0].pool_used, figures.read()[0].pool_waiting) == (None, None)
    for pid, used in ((1, 3), (2, 4)):
        lines = [
            json.dumps({"connection_count_used": count, "connection_pending_requests": 10 * count})
            for count in (0, used)
        ]
        write(tmp_path / "probe-b1-c1" / f"probe-{pid}.jsonl", ("\n".join(lines) + '\n{"conn').encode())
    (tick,) = figures.read()
    assert (tick.pool_used, tick.pool_waiting) == (7, 70)
