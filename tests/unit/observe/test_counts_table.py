"""The increments that processes wrote become one row for each segment, endpoint and status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.domain.evidence import COUNT_COLUMNS, Observed, RunningTarget
from harness.observe.frames import table
from harness.observe.probe import read_counts


def target(probe_dir: Path | None, launch_id: str = "b1-c1") -> RunningTarget:
    return RunningTarget(
        launch_id=launch_id, host="http://127.0.0.1:1", database=None, pids=(), probe_dir=probe_dir, log=None
    )


def line(**values: Any) -> str:
    usual = {"segment": 2, "method": "GET", "route": "/a", "status": 200, "requests": 2, "statements": 4}
    return json.dumps(usual | {"transactions": 2, "checkouts": 2, "round_trips": 8} | values) + "\n"


def test_lines_of_all_processes_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "counts-1.jsonl").write_text(line() + line(status=404) + line(requests=3))
    (tmp_path / "counts-2.jsonl").write_text(line() + line(round_trips=None, status=404) + line(segment=-1))
    rows, gaps = read_counts([target(tmp_path), target(None, "b1-c2")])
    frame = table(rows, COUNT_COLUMNS)
    assert gaps == []
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {**COUNT_COLUMNS, "launch_id": "category"}
    found = {(row.segment, row.status): row for row in frame.itertuples()}
    assert set(found) == {(2, 200), (2, 404), (-1, 200)}
    whole = found[2, 200]
    assert (whole.requests, whole.statements, whole.transactions, whole.checkouts, whole.round_trips) == (
        7,
        12,
        6,
        6,
        24,
    )
    assert pd.isna(found[2, 404].round_trips)
    assert found[2, 404].transactions == 4
    assert set(frame["launch_id"]) == {"b1-c1"}


def test_a_cut_last_line_is_left_out_and_a_broken_one_reported(tmp_path: Path) -> None:
    (tmp_path / "counts-1.jsonl").write_text(line() + '{"segment": 2}\n' + line() + line()[:30])
    rows, gaps = read_counts([target(tmp_path)])
    assert [row["requests"] for row in rows] == [4]
    assert [gap.reason.partition(":")[0] for gap in gaps] == ["counts-1.jsonl of b1-c1, line 2"]


@pytest.mark.parametrize("directory", [None, "never-made"])
def test_without_files_there_are_no_rows_and_no_gap(tmp_path: Path, directory: str | None) -> None:
    rows, gaps = read_counts([target(tmp_path / directory if directory else None)])
    assert rows == gaps == []


def test_a_sitting_observed_without_counts_has_an_empty_table() -> None:
    empty = pd.DataFrame()
    counts = Observed(activity=empty, probe=empty, process=empty).counts
    assert list(counts.columns) == list(COUNT_COLUMNS)
    assert len(counts) == 0
