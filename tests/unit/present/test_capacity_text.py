"""What is said of a search for a capacity, and the data that make each sentence true, and false."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from harness.domain.capacity import CellCapacity, Found, MeasuredStep
from harness.domain.cell import Cell
from harness.domain.certificate import Certificate, Reason
from harness.domain.experiment import Capacity, Experiment, Limits, ProbeUser, Slo
from harness.present.capacity_text import capacity_dict, capacity_text, left_out_text, step_rows
from harness.present.html import render_capacity
from harness.present.terminal import print_capacity

EXPERIMENT = Experiment(schema_version=1, name="x", slo=Slo(p95_ms=100.0))
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
STALL = Reason(kind="instrument", code="stall", message="it stood still", value=0.3, threshold=0.05)
BRACKET = Found(highest_pass_rps=50.0, lowest_fail_rps=55.0, stop="bracketed")


@pytest.fixture
def cell(make_report) -> Cell:
    return make_report(drivers=1, sizes=1).info.cells[0]


def capacity(cell: Cell, found: Found | None, *steps: MeasuredStep) -> CellCapacity:
    return CellCapacity(cell=cell, steps=steps, found=found)


def said(cell: Cell, found: Found | None, confirmations: int = 3) -> str:
    asked = replace(EXPERIMENT, capacity=Capacity(confirmations=confirmations))
    return capacity_text(capacity(cell, found), asked)


def test_a_bracket_is_told_with_both_ends_and_what_shows_them(cell: Cell) -> None:
    told = said(cell, BRACKET)
    assert (
        "carries 50.0/s within its SLO (p95 at most 100 ms), and no longer 55.0/s, shown by 3 fresh launches at each."
        in told
    )
    assert "by one fresh launch at each" in said(cell, BRACKET, confirmations=1)
    wider = "Fresh launches did not agree with the search at first, so the two lie further apart."
    assert wider in said(cell, replace(BRACKET, widened=True))
    assert wider not in told


def test_other_ends_give_no_number_that_was_not_shown(cell: Cell) -> None:
    ceiling = said(cell, Found(highest_pass_rps=2000.0, lowest_fail_rps=None, stop="ceiling"))
    assert "/s, beyond which nothing was tried: its capacity is not known; raise capacity.limit_rps." in ceiling
    generator = said(cell, Found(highest_pass_rps=2250.0, lowest_fail_rps=None, stop="generator"))
    assert (
        "meets its SLO (p95 at most 100 ms) up to 2\u202f250/s, the generator's ceiling: no more may be asked of it "
        "here than 90 % of what calibration found it to send, so the capacity is not known. Several generators send "
        "more: load.processes, or load.workers elsewhere."
    ) in generator
    assert "carries" not in ceiling + generator
    none = said(cell, Found(highest_pass_rps=None, lowest_fail_rps=0.5, stop="nothing_meets"))
    assert "does not meet its SLO (p95 at most 100 ms) at any rate, down to 0.500/s." in none
    assert said(cell, None).endswith(": the search is not over.")


def test_what_is_promised_of_a_probe_user_is_part_of_the_slo(cell: Cell) -> None:
    asked = replace(EXPERIMENT, probe_user=ProbeUser(request="GET /ready", slo=Limits(p95_ms=1000.0)))
    told = capacity_text(capacity(cell, BRACKET), asked)
    assert "within its SLO (p95 at most 100 ms; probe user GET /ready: p95 at most 1000 ms), and" in told


def broken(*reasons: tuple[str, str]) -> Certificate:
    return Certificate(
        valid=False,
        reasons=tuple(
            Reason(kind="instrument", code=code, message=message, value=1.0, threshold=0.0) for code, message in reasons
        ),
    )


@pytest.mark.parametrize(
    ("certificates", "told"),
    [
        pytest.param(
            [broken(("sampler_gap", "the probe sampler lacks readings")), broken(("stall", "it stood still"))],
            "the probe sampler lacks readings; it stood still. Search again where nothing else uses the machine; "
            "docs/certificates.md says what each reason means.",
            id="something that a quiet machine may mend",
        ),
        pytest.param(
            [broken(("ceiling", "more than it sends")), broken(("ceiling", "more than it sends"))],
            "more than it sends. Give the load generator more processes (load.processes) or a machine of its own, or "
            "search below that rate (capacity.limit_rps).",
            id="the generator alone, twice the same",
        ),
        pytest.param(
            [Certificate(valid=True), Certificate(valid=True)],
            "no arrival was sent. Search again where nothing else uses the machine",
            id="nothing was sent",
        ),
    ],
)
def test_a_search_that_the_instrument_ended_says_what_failed_and_what_to_do(
    cell: Cell, certificates: list[Certificate], told: str
) -> None:
    """The launch before the last two is left out as well, but did not end it."""
    ended = Found(highest_pass_rps=None, lowest_fail_rps=None, stop="instrument")
    earlier = broken(("relay_died", "the relay ended"))
    of_launch = dict(zip(("b1-c1", "b3-c1", "b4-c1"), [earlier, *certificates], strict=True))
    own = replace(capacity(cell, ended), spoilt=tuple(of_launch), certificates=of_launch)
    text = capacity_text(own, EXPERIMENT)
    assert f": the search ended because what measures failed in two launches running: {told}" in text
    assert "relay" not in text
    left_out = left_out_text([own])
    assert left_out.startswith("b1-c1 (relay_died), b3-c1 (")
    assert left_out.endswith("): no steps of the search, since what measures failed.")
    assert left_out_text([capacity(cell, BRACKET)]) == ""


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
    info = replace(info, experiment=replace(info.experiment, slo=EXPERIMENT.slo))
    sound = Certificate(valid=True, reasons=(replace(STALL, kind="finding", code="gc_pause", message="it paused"),))
    cells = [replace(capacity(cell, BRACKET, STEP, FAILED), certificates={"b1-c1": sound, "b2-c1": sound})]
    page = render_capacity(info, cells).decode()
    assert "carries 50.0/s within" in page
    assert "The instrument worked in every launch: 2 of 2 are valid." in page
    assert page.count("it paused") == 2
    spoilt = [replace(cells[0], spoilt=("b3-c1",), certificates={"b3-c1": Certificate(valid=False, reasons=(STALL,))})]
    left_out = render_capacity(info, spoilt).decode()
    assert "b3-c1 (stall): no steps of the search, since what measures failed." in left_out
    assert "it stood still" in left_out
    assert "The instrument worked" not in left_out
    assert page.count("<svg") == 1
    assert "p95_ms, saturated" in page
    assert "<svg" not in render_capacity(info, [capacity(cell, None)]).decode()
    console = Console(width=170, file=io.StringIO(), record=True)
    print_capacity(info, cells, console, {"report.html": "there"})
    shown = console.export_text()
    assert "carries 50.0/s within" in shown
    assert "report.html: there" in shown
    assert "saturated" in shown
