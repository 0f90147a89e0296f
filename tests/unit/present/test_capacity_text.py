"""What is said of a search for a capacity, and the data that make each sentence true, and false."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from harness.domain.capacity import CellCapacity, Found, MeasuredStep
from harness.domain.experiment import Cell, Limits, Slo
from harness.present.capacity_text import capacity_dict, capacity_text, slo_text, step_rows
from harness.present.html import render_capacity
from harness.present.terminal import print_capacity

SLO = Slo(p95_ms=100.0)
STEP = MeasuredStep(
    launch_id="b1-c1",
    rate_rps=50.0,
    role="probe",
    times=1,
    result="pass",
    p50_ms=21.0,
    p95_ms=42.0,
    p99_ms=63.0,
    error_rate=0.0,
    carried_rps=49.5,
    connections_peak=4,
    connections={"active": 1.5, "idle": 2.0},
    cpu_share=0.31,
    pool_used_share=0.5,
    broken_promises=(),
)
FAILED = replace(
    STEP,
    launch_id="b2-c1",
    rate_rps=100.0,
    role="confirm",
    times=2,
    result="fail",
    p95_ms=math.inf,
    error_rate=0.2,
    cpu_share=math.nan,
    pool_used_share=math.nan,
    broken_promises=("p95_ms", "saturated"),
)
BRACKET = Found(highest_pass_rps=50.0, lowest_fail_rps=55.0, stop="bracketed")


@pytest.fixture
def cell(make_report) -> Cell:
    return make_report(drivers=1, sizes=1).info.cells[0]


def capacity(cell: Cell, found: Found | None, *steps: MeasuredStep) -> CellCapacity:
    return CellCapacity(cell=cell, steps=steps, found=found)


def said(cell: Cell, found: Found | None, confirmations: int = 3) -> str:
    return capacity_text(capacity(cell, found), SLO, confirmations)


def test_a_bracket_is_told_with_both_ends_and_what_shows_them(cell: Cell) -> None:
    told = said(cell, BRACKET)
    assert "carries 50.0/s within p95 \u2264 100 ms, and no longer 55.0/s, shown by 3 fresh launches at each." in told
    assert "by one fresh launch at each" in said(cell, BRACKET, confirmations=1)
    wider = "Fresh launches did not agree with the search at first, so the two lie further apart."
    assert wider in said(cell, replace(BRACKET, widened=True))
    assert wider not in told


def test_other_ends_give_no_number_that_was_not_shown(cell: Cell) -> None:
    ceiling = said(cell, Found(highest_pass_rps=2000.0, lowest_fail_rps=None, stop="ceiling"))
    assert "/s, beyond which nothing was tried: its capacity is not known; raise capacity.limit_rps." in ceiling
    assert "carries" not in ceiling
    none = said(cell, Found(highest_pass_rps=None, lowest_fail_rps=0.5, stop="nothing_meets"))
    assert "does not meet p95 \u2264 100 ms at any rate, down to 0.500/s." in none
    ended = Found(highest_pass_rps=None, lowest_fail_rps=None, stop="instrument")
    broken = capacity_text(replace(capacity(cell, ended), spoilt=("stall",)), SLO, 3)
    assert "the search ended because what measures failed twice running (stall; docs/certificates.md)." in broken
    assert said(cell, None).endswith(": the search is not over.")


def test_what_is_promised_in_short() -> None:
    promised = Slo(p95_ms=100.0, error_rate=0.01, endpoints={"GET /x": Limits(p99_ms=50.0, error_rate=0.0)})
    assert slo_text(promised) == (
        "p95 \u2264 100 ms and p99 of GET /x \u2264 50.0 ms and at most 1.00 % failing "
        "and at most 0 % of GET /x failing"
    )


def test_every_launch_is_a_row(cell: Cell) -> None:
    one, two = step_rows([capacity(cell, BRACKET, STEP, FAILED)])
    assert (one.kind, one.result, one.rate, one.pool, one.cpu, one.why) == (
        "search",
        "meets it",
        "50.0",
        "50.0",
        "31.0",
        "",
    )
    assert (two.kind, two.result, two.p95) == ("fresh, 2 times as long", "does not", "\u221e")
    assert (two.pool, two.cpu, two.why) == ("\u2013", "\u2013", "p95_ms, saturated")


def test_the_history_is_in_the_json(cell: Cell) -> None:
    (found,) = capacity_dict([capacity(cell, BRACKET, STEP, FAILED)])["cells"]
    assert (found["highest_pass_rps"], found["lowest_fail_rps"], found["stop"]) == (50.0, 55.0, "bracketed")
    assert [step["result"] for step in found["steps"]] == ["pass", "fail"]
    (open_,) = capacity_dict([capacity(cell, None)])["cells"]
    assert (open_["stop"], open_["steps"]) == (None, [])


def test_the_page_and_the_terminal_show_the_same(cell: Cell, make_report) -> None:
    info = replace(make_report(drivers=1, sizes=1).info)
    info = replace(info, experiment=replace(info.experiment, slo=SLO))
    cells = [capacity(cell, BRACKET, STEP, FAILED)]
    page = render_capacity(info, cells).decode()
    assert "carries 50.0/s within" in page
    assert page.count("<svg") == 1
    assert "p95_ms, saturated" in page
    assert "<svg" not in render_capacity(info, [capacity(cell, None)]).decode()
    console = Console(width=170, file=io.StringIO(), record=True)
    print_capacity(info, cells, console, {"report.html": "there"})
    shown = console.export_text()
    assert "carries 50.0/s within" in shown
    assert "report.html: there" in shown
    assert "saturated" in shown
