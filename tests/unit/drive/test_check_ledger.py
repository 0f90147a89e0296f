"""The reader notices when counts and rows tell different stories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness import drive
from harness.domain.load import EndpointCount, Ledger, Segment, TaskCount
from harness.domain.rows import DROPPED, ERROR, OK, UNFINISHED
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
LEDGER = Ledger(
    tasks=(TaskCount(segment=0, task="read", offered=4, done=2, dropped=1, unfinished=1),),
    endpoints=(EndpointCount(segment=0, endpoint="GET /x", requests=3, ok=2, error=1, timeout=0),),
    turns=(),
)


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    """Two arrivals done, the second with two requests, one dropped, one unfinished."""
    with Recorder(tmp_path, "L") as recorder:
        for arrival, sequence, endpoint, outcome in (
            (0, 0, "GET /x", OK),
            (1, 0, "GET /x", OK),
            (1, 1, "GET /x", ERROR),
            (2, 0, "", DROPPED),
            (3, 0, "GET /x", UNFINISHED),
        ):
            recorder.write(
                segment=0,
                arrival=arrival,
                sequence=sequence,
                task="read",
                endpoint=endpoint,
                outcome=outcome,
                intended_ns=1,
            )
    return drive.read_rows(tmp_path, "L", [SEGMENT])


def test_they_agree(rows: pd.DataFrame) -> None:
    assert drive.check_ledger(LEDGER, rows) == ()


@pytest.mark.parametrize("missing", range(5))
def test_a_lost_row_is_noticed(rows: pd.DataFrame, missing: int) -> None:
    assert drive.check_ledger(LEDGER, rows.drop(index=missing)) != ()


def test_each_difference_is_named(rows: pd.DataFrame) -> None:
    task = replace(LEDGER.tasks[0], dropped=2, done=1)
    endpoint = replace(LEDGER.endpoints[0], ok=1, error=2)
    problems = drive.check_ledger(replace(LEDGER, tasks=(task,), endpoints=(endpoint,)), rows)
    assert problems == (
        "segment 0, GET /x: 2 requests counted as error, 1 in the rows",
        "segment 0, GET /x: 1 requests counted as ok, 2 in the rows",
        "segment 0, read: 1 arrivals counted as done, 2 in the rows",
        "segment 0, read: 2 arrivals counted as dropped, 1 in the rows",
    )


def test_a_ledger_that_does_not_balance_is_named(rows: pd.DataFrame) -> None:
    task = replace(LEDGER.tasks[0], offered=5)
    endpoint = replace(LEDGER.endpoints[0], requests=9)
    problems = drive.check_ledger(replace(LEDGER, tasks=(task,), endpoints=(endpoint,)), rows)
    assert problems == (
        "segment 0, task read: 5 offered, but 2 done + 1 dropped + 1 unfinished",
        "segment 0, GET /x: 9 requests, but 2 ok + 1 error + 0 timeout",
    )


def test_rows_of_a_segment_that_the_ledger_does_not_have_are_noticed(rows: pd.DataFrame) -> None:
    empty = Ledger(tasks=(), endpoints=(), turns=())
    assert len(drive.check_ledger(empty, rows)) == 5


def test_no_rows_and_no_counts_agree(rows: pd.DataFrame) -> None:
    assert drive.check_ledger(Ledger(tasks=(), endpoints=(), turns=()), rows.iloc[:0]) == ()
