"""Why requests failed, counted by what came back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from harness.analyse import analyse
from harness.analyse.failures import errors_logged
from harness.deploy.processes import shorten
from harness.domain.evidence import Context
from harness.domain.tables import LOG_COLUMNS

TRACEBACK = """\
INFO:     ready
ERROR:    Exception in ASGI application
Traceback (most recent call last):
  File "app.py", line 3, in read
    raise ValueError("no such hero")
    ^^^^^^^^^^
psycopg.errors.UndefinedTable: relation "hero" does not exist

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  + Exception Group Traceback (most recent call last):
  |   File "app.py", line 3
  +------------------------------------
ValueError
"""


def test_failures_are_named_most_frequent_first_and_of_the_measurement_alone(build: ModuleType) -> None:
    warmup = build.segment(0, phase="warmup")
    measured = build.segment(1)
    early = build.rows([10.0] * 20, segment=0, outcome=["error"] * 20).assign(error=pd.Categorical(["HTTP 500"] * 20))
    kinds = ["ok"] * 50 + ["error"] * 30 + ["timeout"] * 15 + ["dropped"] * 5
    late = build.rows([10.0] * 100, segment=1, outcome=kinds, start_ns=build.START_NS + 1_000_000_000)
    messages = [""] * 50 + ["HTTP 503"] * 30 + ["timeout"] * 15 + [""] * 5
    late = late.assign(error=pd.Categorical(messages))
    rows = pd.concat([early, late], ignore_index=True).astype({"error": "category"})
    trials = [build.trial(build.cell(), block, rows, segments=[warmup, measured]) for block in (1, 2)]
    (summary,) = analyse(build.run(trials)).summary.cells
    found = [(own.outcome, own.message, own.count) for own in summary.failures]
    assert found == [("error", "HTTP 503", 60), ("timeout", "timeout", 30), ("dropped", "", 10)]


def test_a_service_without_failures_has_none(build: ModuleType) -> None:
    (summary,) = analyse(build.run([build.trial(build.cell(), 1, build.rows([10.0] * 50))])).summary.cells
    assert summary.failures == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("INFO: GET /heroes 200\nValueError is spelt so\n", {}),
        (2 * TRACEBACK, {'psycopg.errors.UndefinedTable: relation "hero" does not exist': 2, "ValueError": 2}),
        ("12:03 ERROR shop: no stock\n12:04 ERRORS none\n", {"12:03 ERROR shop: no stock": 1}),
        (
            "ERROR:shop: no stock\nTraceback (most\n  File\nKeyError: 'id'\n",
            {"ERROR:shop: no stock: KeyError: 'id'": 1},
        ),
        ("ERROR shop: no stock\nINFO\nTraceback (most\nKeyError\n", {"ERROR shop: no stock": 1, "KeyError": 1}),
        ("Traceback (most recent call last):\n" + "x" * 300, {"x" * 200: 1}),
    ],
)
def test_what_a_service_logged_of_its_errors(text: str, found: dict[str, int]) -> None:
    assert errors_logged(text.splitlines()) == found


def lengths(build: ModuleType, log: bytes, *readings: tuple[float, str]) -> pd.DataFrame:
    """At a time, in seconds of the load, the log was found to end with these words; a tenth before it did not."""
    times_ns = [build.START_NS + round(at_s * build.SECOND) for at_s, _ in readings]
    ends = [log.index(last.encode()) + len(last) + 1 if last else 0 for _, last in readings]
    return build.table(LOG_COLUMNS, since_ns=[at - build.SECOND // 10 for at in times_ns], t_ns=times_ns, bytes=ends)


def failing_from(build: ModuleType, first_s: float, last_s: float) -> pd.DataFrame:
    """Ten seconds at 10/s, of which those between these times fail."""
    due_s = np.arange(100) / 10
    fails = (due_s >= first_s) & (due_s <= last_s)
    return build.rows(np.where(fails, np.inf, 10.0), every_ms=100.0)


ERRORS = b"""\
ERROR cold: cache is empty
ERROR before: 1 of 9 tries left
ERROR during: order 17 is lost
ERROR during: order 18 is lost
ERROR after: stock \xff\xc3\xa9 is wrong
ERROR late: goodbye
"""


def test_a_line_counts_for_a_failure_within_a_second_of_it(build: ModuleType) -> None:
    readings = (
        *((0.1, ""), (2.5, "empty"), (4.1, "tries left"), (5.2, "17 is lost"), (5.3, "18 is lost")),
        *((7.1, "is wrong"), (7.6, "goodbye")),
    )
    evidence = replace(
        build.trial(build.cell(), 1, failing_from(build, 5.0, 6.0)),
        target_log=ERRORS,
        log=lengths(build, ERRORS, *readings),
    )
    (summary,) = analyse(build.run([evidence])).summary.cells
    assert summary.logged == {
        "ERROR during: order 17 is lost": 2,
        "ERROR before: 1 of 9 tries left": 1,
        "ERROR after: stock \ufffd\u00e9 is wrong": 1,
    }


@pytest.mark.parametrize(
    ("readings", "shown"),
    [
        ((), {}),  # nobody read how long it was
        (((5.0, "goodbye"),), {}),  # all was there at the first reading
        (((0.1, ""), (5.0, "empty")), {"ERROR cold: cache is empty": 1}),  # what came after the last reading
        (((0.1, ""), (8.0, "goodbye")), {}),
    ],
)
def test_a_line_of_which_nobody_knows_when_it_was_written_is_not_shown(
    build: ModuleType, readings: tuple[tuple[float, str], ...], shown: dict[str, int]
) -> None:
    rows = failing_from(build, 5.0, 6.0)
    evidence = replace(build.trial(build.cell(), 1, rows), target_log=ERRORS, log=lengths(build, ERRORS, *readings))
    (summary,) = analyse(build.run([evidence])).summary.cells
    assert summary.logged == shown


def test_a_log_that_was_cut_in_the_middle_is_read_by_its_lines_own_time(build: ModuleType, tmp_path: Path) -> None:
    """A million bytes of chatter went between the two errors; the second one is told, by where it stood before."""
    chatter = b"INFO all is well\n" * 60_000
    whole = b"ERROR first: cold\n" + chatter + b"ERROR second: lost\n"
    (tmp_path / "target.log").write_bytes(whole)
    shorten(tmp_path / "target.log", 2000)
    cut = (tmp_path / "target.log").read_bytes()
    assert len(cut) < 2100
    readings = ((0.1, ""), (0.2, "cold"), (3.0, "cold"), (5.2, "second: lost"))
    marks = lengths(build, whole, *readings).assign(bytes=[0, 18, len(whole) // 2, len(whole)])
    rows = failing_from(build, 5.0, 6.0)
    evidence = replace(build.trial(build.cell(), 1, rows), target_log=cut, log=marks)
    (summary,) = analyse(build.run([evidence])).summary.cells
    assert summary.logged == {"ERROR second: lost": 1}


def test_what_a_service_says_is_told_where_it_says_nothing_of_errors(build: ModuleType) -> None:
    log = b'INFO 10.0.0.1:5012 - "GET /heroes/7" 503\nINFO 10.0.0.1:5013 - "GET /heroes/8" 503\n\n'
    evidence = replace(
        build.trial(build.cell(), 1, failing_from(build, 5.0, 6.0)),
        target_log=log,
        log=lengths(build, log, (0.1, ""), (5.0, "503\n")).assign(bytes=[0, len(log)]),
    )
    (summary,) = analyse(build.run([evidence])).summary.cells
    assert summary.logged == {'INFO 10.0.0.1:5012 - "GET /heroes/7" 503': 2}


def test_the_log_is_told_of_a_cell_that_failed_and_of_no_other(build: ModuleType) -> None:
    for outcome, logged in (("error", {"ValueError": 4, "K: 1": 1}), ("ok", {})):
        rows = build.rows([10.0] * 50, outcome=[outcome] * 50)
        trials = [
            replace(
                build.trial(build.cell(), block, rows),
                target_log=log,
                log=lengths(build, log, (0.0, ""), (0.3, log.decode().splitlines()[-1])).assign(bytes=[0, len(log)]),
            )
            for block, log in ((1, RAISED), (2, RAISED + b"Traceback \nK: 1\n"))
        ]
        (summary,) = analyse(build.run(trials)).summary.cells
        assert summary.logged == logged


RAISED = 2 * b"Traceback \nValueError\n"


def test_failures_of_launches_that_do_not_count_are_told_where_none_counts(build: ModuleType) -> None:
    rows = build.rows([10.0] * 50, outcome=["error"] * 50)
    marks = build.table(LOG_COLUMNS, since_ns=[build.START_NS] * 2, t_ns=[build.START_NS] * 2, bytes=[0, len(RAISED)])
    lost, sound = (
        replace(build.trial(build.cell(), block, rows, context=context), target_log=RAISED, log=marks)
        for block, context in ((1, build.LOST_WORKER), (2, Context(clock_uncertainty_ms=0.001)))
    )
    (invalid,) = analyse(build.run([lost])).summary.cells
    assert not invalid.valid
    assert [(own.message, own.count) for own in invalid.failures] == [("500", 50)]
    assert invalid.logged == {"ValueError": 2}
    (both,) = analyse(build.run([lost, sound])).summary.cells
    assert both.valid
    assert [own.count for own in both.failures] == [50]
