"""Rows survive the way to disk and back; both accounts of a launch agree."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import drive
from harness.domain.load import SETUP_SEGMENT, Segment
from harness.domain.rows import (
    DROPPED,
    ERROR,
    OK,
    RECORD_BYTES,
    RECORD_FIELDS,
    RECORD_FORMAT,
    TIMEOUT,
    UNFINISHED,
    rows_file,
)
from harness.domain.tables import OUTCOMES, REQUEST_COLUMNS
from harness.generator.book import Book, Execution, Request, SegmentAccount
from harness.generator.recorder import NAMES_MAX, OTHER, SPILL_BYTES, Names, Recorder
from harness.generator.server_timing import ServerTiming
from harness.generator.tally import Tally

SEGMENTS = tuple(
    Segment(
        index=index,
        launch_id="L",
        phase=phase,  # type: ignore[arg-type]
        start_s=0.0,
        duration_s=1.0,
        model="open",
        rate_rps=1.0,
        users=None,
        arrivals="poisson",
        seed=1,
    )
    for index, phase in ((3, "warmup"), (4, "measure"))
)


def write(recorder: Recorder, **changes: object) -> None:
    row: dict[str, object] = {
        "segment": 4,
        "arrival": 1,
        "sequence": 0,
        "task": "read",
        "endpoint": "GET /x",
        "outcome": OK,
        "intended_ns": 10,
    }
    recorder.write(**(row | changes))  # type: ignore[arg-type]


def test_both_descriptions_of_a_record_agree() -> None:
    assert struct.calcsize(RECORD_FORMAT) == np.dtype(list(RECORD_FIELDS)).itemsize == RECORD_BYTES
    assert [OUTCOMES[code] for code in (OK, ERROR, TIMEOUT, DROPPED, UNFINISHED)] == list(OUTCOMES)
    assert {name for name, _ in RECORD_FIELDS} - {"padding"} == set(REQUEST_COLUMNS) - {"phase"}


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    with Recorder(tmp_path, "L") as recorder:
        answered = {"finished_ns": 2**62, "uptake_ns": 5, "status": 200, "response_bytes": 7, "pool_ms": 0.5, "pid": 42}
        write(recorder, segment=3, started_ns=11, **answered)
        write(recorder, outcome=ERROR, error="HTTP 500", endpoint="POST /y", task="write", sequence=2)
        write(recorder, segment=SETUP_SEGMENT, outcome=TIMEOUT)
    rows = drive.read_rows(tmp_path, "L", SEGMENTS)
    assert {name: str(kind) for name, kind in rows.dtypes.items()} == dict(REQUEST_COLUMNS)
    assert list(rows.columns) == list(REQUEST_COLUMNS)
    first, second, third = rows.to_dict("records")
    assert {name: first[name] for name in answered} == answered
    assert first["phase"] == "warmup"
    assert math.isnan(first["db_ms"])
    assert (second["task"], second["endpoint"], second["error"]) == ("write", "POST /y", "HTTP 500")
    assert (second["phase"], second["outcome"], second["started_ns"]) == ("measure", "error", -1)
    assert (third["phase"], third["outcome"]) == ("setup", "timeout")


def test_no_rows_are_an_empty_table(tmp_path: Path) -> None:
    with Recorder(tmp_path, "L"):
        pass
    rows = drive.read_rows(tmp_path, "L", SEGMENTS)
    assert rows.empty
    assert {name: str(kind) for name, kind in rows.dtypes.items()} == dict(REQUEST_COLUMNS)


def test_rows_spill_to_disk_as_they_come_and_a_cut_record_is_left_out(tmp_path: Path) -> None:
    with Recorder(tmp_path, "L") as recorder:
        for number in range(SPILL_BYTES // RECORD_BYTES + 5):
            write(recorder, arrival=number)
        path = tmp_path / rows_file("L")
        assert path.stat().st_size == SPILL_BYTES, "all but the last five are on disk already"
        assert len(drive.read_rows(tmp_path, "L", SEGMENTS)) == SPILL_BYTES // RECORD_BYTES
    with path.open("ab") as file:
        file.write(b"cut")
    rows = drive.read_rows(tmp_path, "L", SEGMENTS)
    assert rows.arrival.tolist() == list(range(SPILL_BYTES // RECORD_BYTES + 5))


def test_too_many_names_share_one() -> None:
    names = Names()
    codes = [names.code(f"GET /{number}") for number in range(NAMES_MAX + 10)]
    assert len(set(codes)) == NAMES_MAX + 1
    assert names.listed()[-1] == OTHER
    assert names.fold("GET /0") == "GET /0"
    assert names.fold("GET /new") == OTHER
    assert names.overflown


def test_extreme_figures_do_not_break_a_record(tmp_path: Path) -> None:
    with Recorder(tmp_path, "L") as recorder:
        write(recorder, sequence=10**6, response_bytes=10**12, uptake_ns=10**12, status=999, pid=2**40 + 1)
    (row,) = drive.read_rows(tmp_path, "L", SEGMENTS).to_dict("records")
    assert (row["sequence"], row["status"], row["pid"]) == (65535, 999, 1)
    assert (row["response_bytes"], row["uptake_ns"]) == (2**32 - 1, 2**32 - 1)


acts = st.lists(
    st.tuples(
        st.sampled_from(["done", "raised", "dropped", "abandoned"]),
        st.lists(st.sampled_from([OK, ERROR, TIMEOUT]), max_size=3),
        st.booleans(),
        st.sampled_from(["read", "write"]),
        st.sampled_from([3, 4]),
    ),
    max_size=30,
)


@given(acts=acts)
def test_whatever_happens_the_ledger_balances_and_agrees_with_the_rows(
    acts: list[tuple[str, list[int], bool, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, tally = tmp_path_factory.mktemp("rows"), Tally()
    accounts = {index: SegmentAccount(index) for index in (3, 4)}
    with Recorder(folder, "L") as recorder:
        book = Book(recorder, tally)
        for number, (end, requests, one_open, task, segment) in enumerate(acts):
            account = accounts[segment]
            book.offered(account, task)
            if end == "dropped":
                book.dropped(account, number, task, 5)
                continue
            execution = Execution(account, number, task, 5)
            for outcome in requests:
                request = Request(execution, f"GET /{task}")
                request.finished_ns = request.started_ns + 1
                book.answered(request, outcome, "" if outcome == OK else "failed")
            if one_open:
                Request(execution, "GET /open").timing = ServerTiming(pool_ms=1.0)
            if end == "abandoned":
                book.abandoned(execution)
            book.done(execution, "ValueError" if end == "raised" else "")
    ledger = tally.close(())
    assert sum(count.offered for count in ledger.tasks) == len(acts)
    assert sum(count.dropped for count in ledger.tasks) == sum(act[0] == "dropped" for act in acts)
    assert sum(count.unfinished for count in ledger.tasks) == sum(act[0] == "abandoned" for act in acts)
    rows = drive.read_rows(folder, "L", SEGMENTS)
    assert drive.check_ledger(ledger, rows) == ()


def test_an_unbalanced_tally_is_a_bug() -> None:
    tally = Tally()
    tally.offered(1, "read")
    with pytest.raises(AssertionError, match="unaccounted"):
        tally.close(())
