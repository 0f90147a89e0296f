"""Why requests failed, counted by what came back."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pandas as pd
import pytest

from harness.analyse import analyse
from harness.analyse.failures import errors_logged

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
        ("Traceback (most recent call last):\n" + "x" * 300, {"x" * 200: 1}),
    ],
)
def test_what_a_service_logged_of_its_errors(text: str, found: dict[str, int]) -> None:
    assert errors_logged(text) == found


def test_the_log_is_told_of_a_cell_that_failed_and_of_no_other(build: ModuleType) -> None:
    for outcome, logged in (("error", {"ValueError": 4, "K: 1": 1}), ("ok", {})):
        rows = build.rows([10.0] * 50, outcome=[outcome] * 50)
        trials = [
            replace(build.trial(build.cell(), block, rows), target_log=2 * "Traceback \nValueError\n" + more)
            for block, more in ((1, ""), (2, "Traceback \nK: 1\n"))
        ]
        (summary,) = analyse(build.run(trials)).summary.cells
        assert summary.logged == logged
