"""Readings become tables with fixed columns, and files of the probe are read whatever state they are in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from harness.domain.deployed import RunningTarget
from harness.domain.tables import ACTIVITY_COLUMNS, PROBE_COLUMNS, PROCESS_COLUMNS
from harness.observe.frames import table
from harness.observe.probe import read_probe


def target(probe_dir: Path | None, launch_id: str = "b1-c1") -> RunningTarget:
    return RunningTarget(
        launch_id=launch_id, host="http://127.0.0.1:1", database=None, pids=(), probe_dir=probe_dir, log=None
    )


def probe_line(**values: object) -> dict[str, object]:
    return {name: 1 if "int" in dtype else 0.5 for name, dtype in PROBE_COLUMNS.items()} | values


@pytest.mark.parametrize("columns", [ACTIVITY_COLUMNS, PROBE_COLUMNS, PROCESS_COLUMNS])
def test_a_table_without_rows_has_its_columns_and_types(columns: Mapping[str, str]) -> None:
    frame = table([], columns)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {**columns, "launch_id": "category"}


def test_rows_take_the_columns_order_and_types() -> None:
    row = {
        "launch_id": "b1-c1",
        "oldest_transaction_s": math.nan,
        "connections": 3,
        "wait_event": "",
        "wait_event_type": "",
        "state": "idle",
        "t_ns": 2**62,
    }
    frame = table([row], ACTIVITY_COLUMNS)
    assert list(frame.columns) == [*ACTIVITY_COLUMNS, "launch_id"]
    assert frame.loc[0, "t_ns"] == 2**62
    assert frame.loc[0, "state"] == "idle"
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {**ACTIVITY_COLUMNS, "launch_id": "category"}


def test_a_row_that_lacks_a_number_is_not_made_up() -> None:
    with pytest.raises((ValueError, TypeError)):
        table([{"t_ns": 1, "launch_id": "", "role": "target"}], PROCESS_COLUMNS)


def test_every_workers_file_is_read(tmp_path: Path) -> None:
    for pid in (11, 12):
        lines = [json.dumps(probe_line(pid=pid, t_ns=t_ns)) for t_ns in (100, 200)]
        (tmp_path / f"probe-{pid}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "completions-11.jsonl").write_text("{}\n")
    rows, gaps = read_probe([target(tmp_path), target(None, "b1-c2")])
    assert gaps == []
    assert [(row["pid"], row["t_ns"], row["launch_id"]) for row in rows] == [
        (11, 100, "b1-c1"),
        (11, 200, "b1-c1"),
        (12, 100, "b1-c1"),
        (12, 200, "b1-c1"),
    ]


def test_a_cut_last_line_is_left_out_silently(tmp_path: Path) -> None:
    whole = json.dumps(probe_line(t_ns=7))
    (tmp_path / "probe-1.jsonl").write_text(f"{whole}\n{whole[:40]}")
    rows, gaps = read_probe([target(tmp_path)])
    assert [row["t_ns"] for row in rows] == [7]
    assert gaps == []


@pytest.mark.parametrize("broken", ["{not json", '{"t_ns": 1}', "[1]", "null"])
def test_a_broken_line_in_the_middle_is_reported(tmp_path: Path, broken: str) -> None:
    whole = json.dumps(probe_line(t_ns=7))
    (tmp_path / "probe-1.jsonl").write_text(f"{whole}\n{broken}\n{whole}\n")
    rows, gaps = read_probe([target(tmp_path)])
    assert [row["t_ns"] for row in rows] == [7, 7]
    (gap,) = gaps
    assert gap.sampler == "probe"
    assert gap.reason.startswith("probe-1.jsonl of b1-c1, line 2: ")


def test_a_probe_that_wrote_nothing_is_reported(tmp_path: Path) -> None:
    rows, gaps = read_probe([target(tmp_path / "never-made")])
    assert rows == []
    assert [gap.reason for gap in gaps] == ["the target of b1-c1 wrote no probe-*.jsonl"]


def test_what_the_probe_does_not_know_becomes_nan(tmp_path: Path) -> None:
    line = probe_line(loop_lag_max_ms=None, gc_pause_max_ms=math.nan)
    (tmp_path / "probe-1.jsonl").write_text(json.dumps(line) + "\n")
    frame = table(read_probe([target(tmp_path)])[0], PROBE_COLUMNS)
    assert pd.isna(frame.loc[0, "loop_lag_max_ms"])
    assert pd.isna(frame.loc[0, "gc_pause_max_ms"])
    assert str(frame["loop_lag_max_ms"].dtype) == "float32"
