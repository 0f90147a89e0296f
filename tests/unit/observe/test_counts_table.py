"""The increments that processes wrote become one row for each segment, endpoint and status."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.domain.deployed import RunningTarget
from harness.domain.observed import Observed
from harness.domain.tables import COUNT_COLUMNS, HOLD_COLUMNS, UNRETURNED_COLUMNS
from harness.observe.frames import table
from harness.observe.probe import read_counts, read_holds, read_unreturned


def target(probe_dir: Path | None, launch_id: str = "b1-c1") -> RunningTarget:
    return RunningTarget(
        launch_id=launch_id, host="http://127.0.0.1:1", database=None, pids=(), probe_dir=probe_dir, log=None
    )


def line(**values: Any) -> str:
    usual = {"segment": 2, "method": "GET", "route": "/a", "status": 200, "requests": 2, "statements": 4}
    taken = {"transactions": 2, "checkouts": 2, "round_trips": 8, "first_round_trips": 0}
    return json.dumps(usual | taken | {"fresh": False, "alike": True} | values) + "\n"


def test_requests_that_took_the_same_stay_together_and_apart_from_others(tmp_path: Path) -> None:
    (tmp_path / "counts-1.jsonl").write_text(line() + line(fresh=True) + line(alike=False, requests=3))
    (tmp_path / "counts-2.jsonl").write_text(
        line(requests=1, statements=2, transactions=1, checkouts=1, round_trips=4)  # the same as two with twice as many
        + line(statements=6)
        + line(first_round_trips=2)
        + line(round_trips=None) * 2
        + line(alike=False)
    )
    rows, _ = read_counts([target(tmp_path)])
    frame = table(rows, COUNT_COLUMNS)
    found = frame[["requests", "statements", "first_round_trips", "fresh", "alike"]].to_numpy().tolist()
    assert found == [
        [3, 6, 0, False, True],
        [2, 4, 0, True, True],
        [5, 8, 0, False, False],
        [2, 6, 0, False, True],
        [2, 4, 2, False, True],
        [4, 8, 0, False, True],
    ]
    assert frame["round_trips"].isna().tolist() == [False] * 5 + [True]


def test_lines_of_all_processes_are_added_up(tmp_path: Path) -> None:
    unlike = partial(line, alike=False)
    (tmp_path / "counts-1.jsonl").write_text(unlike() + unlike(status=404) + unlike(requests=3))
    (tmp_path / "counts-2.jsonl").write_text(unlike() + unlike(round_trips=None, status=404) + unlike(segment=-1))
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


def test_holds_are_added_up_by_how_many_connections_a_request_had_at_once(tmp_path: Path) -> None:
    sums = [name for name in HOLD_COLUMNS if name not in {"segment", "method", "route", "status", "connections"}]

    def held(connections: int) -> str:
        key = {"segment": 2, "method": "GET", "route": "/a", "status": 200, "connections": connections}
        return json.dumps(key | dict.fromkeys(sums, 2)) + "\n"

    (tmp_path / "holds-1.jsonl").write_text(held(1) + held(2))
    (tmp_path / "holds-2.jsonl").write_text(held(1))
    rows, gaps = read_holds([target(tmp_path)])
    frame = table(rows, HOLD_COLUMNS)
    assert gaps == []
    assert {row["connections"]: {row[name] for name in sums} for row in frame.to_dict("records")} == {1: {4}, 2: {2}}


def test_the_last_line_of_a_connection_says_whether_it_came_back(tmp_path: Path) -> None:
    def out(taken_ns: int, back_ns: int | None = None) -> str:
        return (
            json.dumps(
                {"taken_ns": taken_ns, "over_ns": 9, "back_ns": back_ns, "method": "GET", "route": "/a", "site": ""}
            )
            + "\n"
        )

    (tmp_path / "unreturned-17.jsonl").write_text(out(1) + out(2) + out(1, 5))
    rows, gaps = read_unreturned([target(tmp_path)])
    frame = table(rows, UNRETURNED_COLUMNS)
    assert gaps == []
    assert frame[["pid", "taken_ns", "back_ns"]].to_numpy().tolist() == [[17, 1, 5], [17, 2, -1]]
