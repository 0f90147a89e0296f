"""Rows of several workers become one table, on the coordinator's clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.collect import read_generator_log, read_rows
from harness.domain.load import Segment
from harness.domain.rows import DROPPED, OK
from harness.generator.recorder import Recorder

SEGMENT = Segment(
    index=0,
    launch_id="L",
    phase="measure",
    start_s=0.0,
    duration_s=1.0,
    model="open",
    rate_rps=1.0,
    users=None,
    arrivals="poisson",
    seed=1,
)


def a_worker(folder: Path, rows: list[tuple[int, str, int]], **description: object) -> dict[str, object]:
    """A worker's folder with rows (arrival, task, intended time on its clock), each served in 5 ns or dropped."""
    folder.mkdir()
    with Recorder(folder, "L") as recorder:
        for arrival, task, intended_ns in rows:
            served = task != "dropped"
            recorder.write(
                segment=0,
                arrival=arrival,
                sequence=0,
                task=task,
                endpoint=f"GET /{task}",
                outcome=OK if served else DROPPED,
                intended_ns=intended_ns,
                handed_ns=intended_ns + 1 if served else -1,
                started_ns=intended_ns + 2 if served else -1,
                finished_ns=intended_ns + 5 if served else -1,
            )
    offsets = description.get("offsets", [{"offset_ns": 0, "uncertainty_ns": 0, "at_ns": 0}])
    reading = {"t_ns": rows[-1][2], "cpu_share": 0.1, "stall_max_ms": 1.0, "in_flight": 1, "lag_max_ms": 0.1}
    (folder / "generator.jsonl").write_text(json.dumps(reading) + "\n")
    return {"name": folder.name, "folder": folder.name, "lost": bool(description.get("lost")), "offsets": offsets}


def test_parts_are_put_in_order_of_their_end_with_names_of_both(tmp_path: Path) -> None:
    workers = [
        a_worker(tmp_path / "worker-0", [(0, "read", 100), (2, "write", 300)]),
        a_worker(tmp_path / "worker-1", [(1, "write", 200), (3, "delete", 400)]),
    ]
    (tmp_path / "workers.json").write_text(json.dumps(workers))
    rows = read_rows(tmp_path, "L", [SEGMENT])
    assert rows.arrival.tolist() == [0, 1, 2, 3]
    assert rows.task.tolist() == ["read", "write", "write", "delete"]
    assert rows.endpoint.tolist() == ["GET /read", "GET /write", "GET /write", "GET /delete"]
    assert read_generator_log(tmp_path).t_ns.tolist() == [300, 400]


def test_a_lost_workers_rows_are_left_out(tmp_path: Path) -> None:
    workers = [
        a_worker(tmp_path / "worker-0", [(0, "read", 100)]),
        a_worker(tmp_path / "worker-1", [(1, "read", 200)], lost=True),
    ]
    (tmp_path / "workers.json").write_text(json.dumps(workers))
    assert read_rows(tmp_path, "L", [SEGMENT]).arrival.tolist() == [0]
    assert len(read_generator_log(tmp_path)) == 1


def test_another_clock_is_translated_and_its_drift_divided_evenly(tmp_path: Path) -> None:
    """Ahead by 1000 at the start and by 1010 at the end: by 1005 in the middle."""
    offsets = [
        {"offset_ns": 1000, "uncertainty_ns": 3, "at_ns": 2000},
        {"offset_ns": 1010, "uncertainty_ns": 3, "at_ns": 4000},
    ]
    rows = [(0, "read", 2000), (1, "read", 3000), (2, "dropped", 4000)]
    (tmp_path / "workers.json").write_text(json.dumps([a_worker(tmp_path / "worker-0", rows, offsets=offsets)]))
    read = read_rows(tmp_path, "L", [SEGMENT])
    assert read.intended_ns.tolist() == [1000, 1995, 2990]
    assert read.handed_ns.tolist() == [1001, 1996, -1], "what never happened has no time on any clock"
    assert read.started_ns.tolist() == [1002, 1997, -1]
    assert (read.finished_ns - read.started_ns).tolist()[:2] == pytest.approx([3, 3])
