"""What is said of two sides is true of what was judged: each sentence with data that make it true, and that do not."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from gated import P95, STATEMENTS
from rich.console import Console

from harness.domain.experiment import Gate
from harness.domain.gate import GateVerdict, Part, PartName, RuleVerdict
from harness.present.gate_text import comparison_text, gate_text, part_rows, rule_rows
from harness.present.terminal import part_table, rule_table

ERRORS = replace(P95, metric="error_rate", scale="difference", base=0.0, head=0.02, effect=0.02, low=0.01, high=0.03)
LIMIT = replace(P95, kind="absolute", metric="p99_ms", head=612.0, effect=112.0, limit=500.0, verdict="regressed")


def verdict(*rules: RuleVerdict, **more: Any) -> GateVerdict:
    first = rules[0] if rules else P95
    return GateVerdict(
        verdict="inconclusive",
        primary=first,
        rules=rules or (first,),
        **{
            "blocks": 7,
            "fresh_blocks": 0,
            "planned_blocks": 7,
            "alarm": False,
            "noise": None,
            "paired": True,
            "identical": False,
            **more,
        },
    )


def said(*rules: RuleVerdict, **more: Any) -> str:
    return gate_text(verdict(*rules, **more), Gate())


def test_no_proof_either_way_says_down_to_what_would_have_been_seen() -> None:
    assert said() == (
        "No regression found, down to +11.0 %: p95_ms changes by +5.00 % (-2.00 % to +12.0 %; 21.0 against 20.0)."
    )
    assert "down to" not in said(replace(P95, smallest_visible=None))


def test_equivalent_names_the_margin_and_improved_does_not() -> None:
    assert "Equivalent: p95_ms changes by +5.00 %" in said(replace(P95, verdict="equivalent"))
    assert ", within the margin of 10%." in said(replace(P95, verdict="equivalent"))
    better = said(replace(P95, verdict="improved", effect=-0.2))
    assert "Improved: p95_ms changes by -20.0 %" in better
    assert "margin" not in better


def test_a_confirmed_regression_says_how_many_launches_confirm_it() -> None:
    worse = replace(P95, verdict="regressed")
    assert "7 launches of each side raised the alarm, 7 fresh ones confirm it" in said(worse, fresh_blocks=7)
    assert "fresh ones confirm it" not in said(worse)
    assert said(worse, blocks=1, fresh_blocks=1).count("one launch of each side raised the alarm") == 1


def test_exact_counts_are_named_with_both_sides() -> None:
    more = replace(STATEMENTS, metric="checkouts_per_request", base=1.0, head=2.004)
    assert (
        "Regressed: GET /teams 200 takes 4 statements (2), 2 connections (1) a request, in brackets the base."
    ) in said(P95, STATEMENTS, more)
    assert "takes" not in said(P95, replace(STATEMENTS, verdict="equivalent"))


@pytest.mark.parametrize(
    ("share", "told"),
    [(None, " a request, in"), (1.0, " a request, in"), (0.4, " a request, more in 40.0 % of its requests, in")],
)
def test_where_only_some_requests_take_more_their_share_is_told(share: float | None, told: str) -> None:
    some = replace(STATEMENTS, head=2.8, share=share)
    assert f"GET /teams 200 takes 2.8 statements (2){told} brackets the base." in said(P95, some)


def test_a_limit_is_named_with_its_side() -> None:
    assert "Regressed: p99_ms is 612, and at most 500 is allowed." in said(P95, LIMIT)
    below = replace(LIMIT, head=300.0, effect=-200.0)
    assert "and at least 500 is allowed" in said(P95, below)


def test_many_regressions_are_counted() -> None:
    rules = [replace(STATEMENTS, endpoint=f"GET /{number} 200") for number in range(7)]
    assert "2 more regressions are in the table." in said(P95, *rules)
    assert "more regressions" not in said(P95, *rules[:5])


@pytest.mark.parametrize(
    ("why", "sentence"),
    [
        (
            "too_few_launches",
            "3 launches of each side, and five are needed; raise gate.stage_limit_s, or lower load.measure_s.",
        ),
        ("unconfirmed", "and fresh launches are missing."),
        (
            "both_failed",
            "No proof: in some blocks both sides failed too often for p95_ms, and what the others say is not all",
        ),
        ("both_failed", "; lower the rate, or see why the base fails."),
        ("instrument", "the launches alone would decide, if the instrument were known to have added nothing."),
        ("no_figure", "Nothing can be judged: a side has no p95_ms; the certificates say why."),
    ],
)
def test_what_keeps_the_primary_from_a_verdict(why: Any, sentence: str) -> None:
    assert sentence in said(replace(P95, why=why), blocks=3)
    assert sentence not in said(P95, blocks=3)


def test_an_unconfirmed_alarm_names_the_figure() -> None:
    assert said(replace(P95, why="unconfirmed")).startswith("An alarm that nothing confirms: p95_ms changes by +5.00 %")
    assert said(replace(P95, why="too_few_launches")).startswith("Too little time to judge p95_ms: 7 launches")
    assert "Inconclusive (instrument): p95_ms changes by" in said(replace(P95, why="instrument"))


def test_doubts() -> None:
    other = "Another rule raised an alarm that fresh launches would have to confirm."
    assert other in said(P95, replace(ERRORS, why="unconfirmed"))
    assert other not in said(P95, ERRORS)
    uncounted = "What requests take of the database was not counted: the service runs without the probe."
    assert uncounted in said(P95, replace(STATEMENTS, verdict="inconclusive", why="not_counted"))
    assert uncounted not in said(P95, STATEMENTS)
    alike = "Both sides are configured alike, so this shows what nothing at all looks like."
    assert alike in said(identical=True)
    assert alike not in said()
    noise = "From one launch to the next the base differs from itself by 6.00 %."
    assert noise in said(noise=0.06)
    assert "differs from itself" not in said()
    apart = "The sides were measured at different times: what the machine did meanwhile is in every difference."
    assert apart in said(paired=False)
    assert apart not in said()


def test_shares_change_by_points_and_what_is_not_known_is_not_a_number() -> None:
    assert "error_rate changes by +2.00 points (+1.00 points to +3.00 points; 0.0200 against 0)" in said(ERRORS)
    assert "p95_ms is not known" in said(replace(P95, effect=math.nan))
    assert "(-" not in said(replace(P95, low=None, high=None))


def test_rows_show_what_differs_and_count_what_agrees() -> None:
    same = [replace(STATEMENTS, endpoint=f"GET /{n} 200", verdict="equivalent", head=2.0, effect=0.0) for n in range(3)]
    rows = rule_rows(verdict(P95, STATEMENTS, *same))
    assert [(row.metric, row.endpoint, row.verdict) for row in rows] == [
        ("p95_ms", "*", "no proof"),
        ("statements_per_request", "GET /teams 200", "REGRESSED"),
        ("statements_per_request", "3 endpoints", "equivalent"),
    ]
    assert [row.regressed for row in rows] == [False, True, False]
    assert rows[2].note == "the same to the last digit"
    (alone,) = rule_rows(verdict(P95, same[0]))[1:]
    assert (alone.endpoint, alone.base, alone.head) == ("GET /0 200", "2.00", "2.00")
    (allowed,) = rule_rows(verdict(P95, replace(same[0], head=3.0, effect=1.0)))[1:]
    assert (allowed.verdict, allowed.head, allowed.note) == ("equivalent", "3.00", ""), "not the same to the last digit"


@pytest.mark.parametrize(
    ("why", "note"),
    [
        ("instrument", "the instrument may have moved it that far"),
        ("unconfirmed", "an alarm; fresh launches would have to confirm it"),
        ("varies", "differs between equal launches too"),
        ("no_figure", "a side has no figure"),
        ("both_failed", "in some blocks both sides fail"),
        ("", ""),
    ],
)
def test_a_rows_note_says_why_it_decides_nothing(why: Any, note: str) -> None:
    assert rule_rows(verdict(replace(P95, why=why)))[0].note == note


def test_a_limit_stands_in_its_rows_note() -> None:
    assert rule_rows(verdict(P95, LIMIT))[1].note == "limit 500"


def test_parts_of_an_average_request() -> None:
    parts = (
        Part(name="queue", base_ms=1.0, head_ms=4.0, low_ms=2.5, high_ms=3.5),
        Part(name="elsewhere", base_ms=1.0, head_ms=1.0, low_ms=None, high_ms=None),
    )
    first, second = part_rows(verdict(parts=parts))
    assert (first.name, first.difference) == ("waiting for a connection of the pool", "2.50 to 3.50")
    assert (second.name, second.difference) == ("elsewhere (network, event loop, generator)", "\u2013")
    names: dict[PartName, str] = {
        "dial": "opening connections",
        "ping": "testing connections before use (pre-ping)",
        "threads": "of these, waiting for a thread",
        "gc": "of these, collecting garbage",
        "cpu": "of these, CPU of the service",
        "loop": "how late the event loop comes round, each time",
    }
    assert [part_rows(verdict(parts=(replace(parts[0], name=name),)))[0].name for name in names] == [*names.values()]


def test_tables_in_a_terminal() -> None:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(rule_table(verdict(P95, STATEMENTS)))
    console.print(part_table(verdict(parts=(Part(name="queue", base_ms=1.0, head_ms=4.0, low_ms=2.5, high_ms=3.5),))))
    shown = console.export_text()
    rows = [line.split()[:2] for line in shown.splitlines()]
    assert ["REGRESSED", "statements_per_request"] in rows
    assert "an average request, ms" in shown
    assert "2.50 to 3.50" in shown


def test_sides_that_cannot_carry_the_load_are_named() -> None:
    assert "More was offered than the base and the head can carry" in said(saturated=("base", "head"))
    one = said(saturated=("head",))
    assert "can carry: latency there says how long the load went on, so lower the rate." in one
    assert "More was offered" not in said()


def test_an_endpoint_that_nobody_asked_for_is_named_with_the_nearest() -> None:
    unknown = said(unknown_endpoints={"GET /heros": "GET /heroes"})
    assert "A rule names GET /heros, which nobody asked for; did you mean GET /heroes?" in unknown
    assert "which nobody asked for." in said(unknown_endpoints={"GET /x": ""})
    assert "A rule names" not in said()


def test_what_a_comparison_could_find_is_said_before_it_is_measured() -> None:
    found = comparison_text(9, 0.11, calibrated=True)
    assert found == (
        "A stage has time for at most 9 launches of each side: from 11.0 % on a regression is likely found, "
        "as calibration found this machine."
    )
    assert "at typical noise, as this machine is not calibrated." in comparison_text(9, 0.11, calibrated=False)
    few = comparison_text(1, None, calibrated=True)
    assert "one launch of each side: too few for anything but exact counts; raise gate.stage_limit_s." in few
