"""A cell whose service or Postgres died or stood still is never recommended, and the verdict says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.domain.verdict import Report
from harness.present.phrases import verdict_text


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (1, "it broke down: its service or its Postgres died or stood still"),
        (2, "of 2 cells 2 broke down: a service or Postgres died or stood still"),
    ],
)
def test_why_none_is_recommended(make_report: Callable[..., Report], sizes: int, said: str) -> None:
    report = make_report(drivers=1, sizes=sizes)
    verdict = replace(report.summary.verdict, state="undecided", cell_id=None, recommendation=None)
    for broke_down in (True, False):
        cells = tuple(replace(cell, broke_down=broke_down) for cell in report.summary.cells)
        text = verdict_text(replace(report, summary=replace(report.summary, cells=cells, verdict=verdict)))
        assert (said in text) is broke_down
