"""Every sentence of the verdict: said of data that make it true, not said of data that make it false."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.domain.experiment import Experiment, Limits, Load, Pool, ProbeUser, Slo, Target
from harness.domain.verdict import (
    Bounds,
    CellSummary,
    EndpointSummary,
    Failure,
    Pair,
    Recommendation,
    Report,
    State,
    Verdict,
    WhyNot,
)
from harness.present.phrases import (
    failures_text,
    launches_text,
    listed,
    load_text,
    logged_text,
    p95_text,
    percent_text,
    promise_text,
    settings_text,
    slo_text,
    verdict_text,
)

MakeReport = Callable[..., Report]
Make = Callable[..., Report]
SIZES = (1, 4, 20)


def changed(cell: CellSummary, **changes: Any) -> CellSummary:
    """A cell summary with fields replaced, those of its "*" row too."""
    of_all = {
        name: changes.pop(name)
        for name in list(changes)
        if name in EndpointSummary.__dataclass_fields__ and name != "slo"
    }
    return replace(cell, all=replace(cell.all, **of_all), **changes)


@pytest.fixture
def three(make_report: MakeReport) -> Make:
    """A run of the pool sizes 1, 4 and 20 with one verdict.

    `cells` maps a size to what is different about its summary; `verdict` and `recommendation` likewise.
    """

    def make(
        state: State = "recommended",
        pick: int | None = 4,
        *,
        cells: dict[int, dict[str, Any]] | None = None,
        slo: Slo | None = None,
        load: Load | None = None,
        pairs: tuple[Pair, ...] = (),
        sizes: tuple[int, ...] = SIZES,
        smallest_visible: float | None = None,
        **recommendation: Any,
    ) -> Report:
        report = make_report(drivers=1, sizes=3)
        summaries = []
        for template, size in zip(report.summary.cells, SIZES, strict=True):
            cell = replace(
                template.cell,
                id=f"c{size}",
                factors=(("pool.pool_size", size),),
                pool=Pool(pool_size=size, max_overflow=0),
                load=load or Load(rate_rps=110.0),
            )
            changes: dict[str, Any] = {"slo": None} | (cells or {}).get(size, {})
            summaries.append(changed(replace(template, cell=cell, ties=()), **changes))
        kept = tuple(own for own in summaries if own.cell.pool.pool_size in sizes)
        found = _recommendation(pick, recommendation) if recommendation or state == "recommended" else None
        verdict = Verdict(
            state=state,
            cell_id=None if pick is None else f"c{pick}",
            recommendation=found,
            smallest_visible=smallest_visible,
        )
        summary = replace(report.summary, cells=kept, pairs=pairs, verdict=verdict)
        info = replace(
            report.info,
            cells=tuple(own.cell for own in kept),
            experiment=replace(report.info.experiment, slo=slo or Slo()),
        )
        return replace(report, info=info, summary=summary)

    return make


def _recommendation(pick: int | None, changes: dict[str, Any]) -> Recommendation:
    values: dict[str, Any] = {
        "margin": 0.25,
        "recommended": f"c{pick}",
        "best": f"c{pick}",
        "slowdown_at_most": 0.0812,
        "larger": (),
        "not_larger": (),
        "launches_to_decide": None,
    }
    return Recommendation(**(values | changes))


def other(size: float, **changes: Any) -> WhyNot:
    values: dict[str, Any] = {
        "cell_id": f"c{size:.0f}",
        "size": float(size),
        "eligible": True,
        "slowdown_at_most": 0.5,
        "against": "c20",
        "gain_at_most": 0.1,
        "told_apart": False,
    }
    return WhyNot(**(values | changes))


def pair(first: str, second: str, low: float | None, high: float | None) -> Pair:
    ratio = 1.0 if low is None or high is None else math.sqrt(low * high)
    apart = low is not None and high is not None and not low <= 1 <= high
    return Pair(first=first, second=second, ratio=ratio, low=low, high=high, told_apart=apart)


def test_every_verdict_ends_with_what_it_holds_for(three: Make) -> None:
    assert verdict_text(three()).endswith(" This holds for this machine and this load.")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("nothing_complete", "Nothing is measured yet: no launch is complete."),
        (
            "all_invalid",
            "Nothing can be concluded: the measurement is invalid in every launch; the certificates say why.",
        ),
    ],
)
def test_without_a_valid_launch_nothing_else_is_said(three: Make, state: State, said: str) -> None:
    assert verdict_text(three(state, None)) == said


def test_what_to_run_with_and_what_it_was_measured_as(three: Make) -> None:
    bounds = Bounds(value=21.34, low=19.96, high=23.04)
    said = verdict_text(three(cells={4: {"p95_ms": bounds, "launches": 3}}))
    assert said.startswith(
        "Run with pool_size 4: p95 21.3 ms (95 % interval 20.0\u201323.0 ms over 3 launches) "
        "at 110 arrivals/s of mixed; "
    )


@pytest.mark.parametrize(
    ("recommendation", "said", "not_said"),
    [
        (
            {"larger": (other(20),)},
            "it is shown to be at most 8.2 % slower than any other, and no smaller one is shown to be within 25 %.",
            "may be run with",
        ),
        ({"not_larger": (other(4, cell_id="c1"),)}, "at most 8.2 % slower than any other (25 % would do).", "smaller"),
        ({"margin": 0.5, "slowdown_at_most": 0.121, "larger": (other(20),)}, "at most 13 % slower", "12 %"),
        ({"slowdown_at_most": -0.03, "larger": (other(20),)}, "it is shown to be faster than any other.", "slower"),
        (
            {"not_larger": (other(1, eligible=False, slowdown_at_most=0.2),)},
            "no smaller one that may be run with is shown to be within 25 %",
            "no smaller one is",
        ),
        (
            {"not_larger": (other(1, eligible=False, slowdown_at_most=0.3),), "larger": (other(20),)},
            "no smaller one is shown to be within 25 %",
            "that may be run with",
        ),
    ],
)
def test_why_it_was_chosen(three: Make, recommendation: dict[str, Any], said: str, not_said: str) -> None:
    if not recommendation.get("larger") and not any(o.eligible for o in recommendation.get("not_larger", ())):
        recommendation = {**recommendation, "larger": (other(20),)}
    headline = verdict_text(three(cells={1: {"from_empty": True}}, **recommendation)).split(" Waiting for")[0]
    assert said in headline
    assert not_said not in headline


def test_nothing_is_called_smaller_where_the_pools_are_the_services_own(three: Make) -> None:
    """As when the variable that its driver's pool reads is swept: how many connections each may open is not known."""
    others = tuple(other(math.inf, cell_id=f"c{size}") for size in (1, 20))
    report = three(not_larger=others)
    own = [
        replace(summary, cell=replace(summary.cell, target=Target(app="shop:app"))) for summary in report.summary.cells
    ]
    said = verdict_text(replace(report, summary=replace(report.summary, cells=tuple(own))))
    assert "at most 8.2 % slower than any other (25 % would do)." in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"pool_share": 0.372, "pool_used_share": 0.9},
            "Waiting for the pool takes 37 % of its latency; on average 90 % of it is in use.",
        ),
        ({"pool_share": 0.0512, "pool_used_share": math.nan}, "Waiting for the pool takes 5.12 % of its latency."),
        ({"pool_share": 0.0, "pool_used_share": 0.0}, "takes 0 % of its latency; on average 0 % of it is in use."),
        ({"pool_share": math.nan, "pool_used_share": 0.9}, ""),
    ],
)
def test_the_cause_stands_beside_the_symptom(three: Make, changes: dict[str, Any], said: str) -> None:
    text = verdict_text(three(cells={4: changes}))
    assert said in text
    assert ("Waiting for" in text) == bool(said)
    assert ("in use" in text) == ("in use" in said)


@pytest.mark.parametrize(
    ("larger", "said"),
    [
        ((other(20, gain_at_most=0.08),), "16 more connections (pool_size 20) lower p95 by at most 7.5 %."),
        ((other(5, cell_id="c20", gain_at_most=0.25),), "1 more connection (pool_size 20) lowers p95 by at most 20 %."),
        ((other(20, gain_at_most=0.0),), "16 more connections (pool_size 20) do not lower p95."),
        ((other(20, gain_at_most=-0.2),), "16 more connections (pool_size 20) do not lower p95."),
        ((other(20, gain_at_most=None),), ""),
        ((other(math.inf, cell_id="c20"),), "No limit on connections (pool_size 20) lowers p95 by at most 9.1 %."),
        (
            (other(math.inf, cell_id="c20", gain_at_most=0.0),),
            "No limit on connections (pool_size 20) does not lower p95.",
        ),
        ((), ""),
    ],
)
def test_what_more_connections_buy(three: Make, larger: tuple[WhyNot, ...], said: str) -> None:
    text = verdict_text(three(larger=larger))
    assert said in text
    assert ("p95." in text or "p95 by" in text) == bool(said)


def test_a_cell_that_differs_in_more_than_its_pool_is_not_credited_with_its_connections(three: Make) -> None:
    report = three(larger=(other(20),))
    cells = list(report.summary.cells)
    driver = replace(cells[2].cell, factors=(("target.driver", "psycopg"), ("pool.pool_size", 20)))
    cells[2] = replace(cells[2], cell=driver)
    text = verdict_text(replace(report, summary=replace(report.summary, cells=tuple(cells))))
    assert "driver psycopg, pool_size 20, with 16 more connections, lowers p95 by at most 9.1 %." in text
    assert "connections (" not in text
    endless = three(larger=(other(math.inf, cell_id="c20", gain_at_most=0.0),))
    text = verdict_text(replace(endless, summary=replace(endless.summary, cells=tuple(cells))))
    assert "driver psycopg, pool_size 20, with no limit on connections, does not lower p95." in text


@pytest.mark.parametrize(
    ("smaller", "pairs", "said"),
    [
        (other(1), (pair("c4", "c1", 2.0, 3.5),), "pool_size 1 is slower: its p95 is 2.00\u20133.50 times as high."),
        (other(1), (pair("c1", "c4", 0.25, 0.5),), "pool_size 1 is slower: its p95 is 2.00\u20134.00 times as high."),
        (
            other(1, slowdown_at_most=0.412),
            (pair("c4", "c1", 0.9, 1.3),),
            (
                "pool_size 1 is not shown to be good enough: it may be up to 42 % slower than pool_size 20, "
                "and 25 % is the limit."
            ),
        ),
        # told apart because it is faster, and yet not shown to be good enough against a third
        (other(1, told_apart=True), (pair("c4", "c1", 0.5, 0.9),), "pool_size 1 is not shown to be good enough"),
        (other(1, slowdown_at_most=None), (), "Of pool_size 1 it is not known how much slower it may be."),
        (other(1, eligible=False), (pair("c4", "c1", 2.0, 3.5),), ""),
    ],
)
def test_why_not_a_smaller_one(three: Make, smaller: WhyNot, pairs: tuple[Pair, ...], said: str) -> None:
    text = verdict_text(three(not_larger=(smaller,), pairs=pairs, cells={1: {"saturated": not smaller.eligible}}))
    assert said in text
    assert ("times as high" in text) == ("times as high" in said)
    assert ("good enough" in text) == ("good enough" in said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"from_empty": True},
            ("pool_size 1 is passed over: it had a growing queue, which makes it slower in the long run."),
        ),
        ({"slo": "not_met"}, "pool_size 1 is passed over: it does not meet the SLO."),
        ({"saturated": True}, ""),
        ({"failing": True}, ""),
    ],
)
def test_why_a_smaller_one_is_passed_over(three: Make, changes: dict[str, Any], said: str) -> None:
    text = verdict_text(three(not_larger=(other(1, eligible=False),), cells={1: changes}))
    assert said in text
    assert ("passed over" in text) == bool(said)


@pytest.mark.parametrize(
    ("load", "target", "loads"),
    [
        (None, None, "this machine and this load"),
        ("different_loads", None, "this machine and these loads"),
        (None, Target(url="http://shop"), "the service as it was set up and this load"),
    ],
)
def test_what_the_verdict_holds_for(three: Make, load: State | None, target: Target | None, loads: str) -> None:
    report = three(load or "recommended")
    if target is not None:
        cells = tuple(replace(own, cell=replace(own.cell, target=target)) for own in report.summary.cells)
        report = replace(report, summary=replace(report.summary, cells=cells))
    assert verdict_text(report).endswith(f" This holds for {loads}.")


def test_launches_that_sent_nothing_are_not_called_invalid(three: Make) -> None:
    report = three("all_invalid", None)
    for excluded, said in (
        ({"nothing_sent": 9}, "Nothing can be concluded: no launch sent a request."),
        ({"nothing_sent": 8, "stall": 1}, "the measurement is invalid in every launch"),
    ):
        coverage = replace(report.summary.coverage, excluded=excluded)
        assert said in verdict_text(replace(report, summary=replace(report.summary, coverage=coverage)))


SATURATED, FAILING = {"saturated": True}, {"failing": True}


@pytest.mark.parametrize(
    ("cells", "sizes", "said"),
    [
        (
            {1: SATURATED, 4: SATURATED, 20: {"failing": True}},
            SIZES,
            "No setting can be recommended at 110 arrivals/s of mixed: of 3 cells 2 are saturated and 1 fails too ",
        ),
        (
            {1: SATURATED, 4: {"from_empty": True}, 20: {"slo": "not_met"}},
            SIZES,
            (
                "of 3 cells 1 is saturated and 1 had a growing queue, which makes it slower in the "
                "long run and 1 does not meet the SLO."
            ),
        ),
        ({1: FAILING, 4: FAILING, 20: FAILING}, SIZES, "of 3 cells 3 fail too often."),
        (
            {1: {"from_empty": True}, 4: {"from_empty": True}, 20: {}},
            SIZES,
            (
                "of 3 cells 2 had growing queues, which make them slower in the long run and 1 has no latency to "
                "judge by."
            ),
        ),
        ({}, SIZES, "of 3 cells 3 have no latency to judge by."),
        ({20: SATURATED}, (20,), "pool_size 20 cannot be recommended at 110 arrivals/s of mixed: it is saturated."),
        ({20: {"slo": "not_met"}}, (20,), "it does not meet the SLO."),
        ({20: {"saturated": True, "from_empty": True, "slo": "not_met"}}, (20,), "it is saturated."),
    ],
)
def test_why_none_can_be_recommended(
    three: Make, cells: dict[int, dict[str, Any]], sizes: tuple[int, ...], said: str
) -> None:
    state: State = "undecided" if len(sizes) > 1 else "no_choice"
    text = verdict_text(three(state, None, cells=cells, sizes=sizes))
    assert said in text
    assert "Run with" not in text
    assert "recommended" in text


def test_the_only_cell_that_carries_its_load_is_named(three: Make) -> None:
    cells = {1: SATURATED, 4: FAILING}
    text = verdict_text(three("only_one", 20, cells=cells, slowdown_at_most=None, not_larger=(other(4), other(1))))
    assert text.startswith("Run with pool_size 20, the only one of 3 that carries the load: p95 ")


@pytest.mark.parametrize(
    ("launches", "said"),
    [
        (9, "about 9 launches of each would decide (design.launches = 9)."),
        (None, "more launches alone would hardly decide it."),
    ],
)
def test_nothing_shown_names_the_best_and_what_would_decide(three: Make, launches: int | None, said: str) -> None:
    report = three("undecided", 20, recommended=None, slowdown_at_most=None, launches_to_decide=launches)
    best = replace(report, summary=replace(report.summary, cells=tuple(reversed(report.summary.cells))))
    text = verdict_text(best)
    assert text.startswith(
        "No setting is recommended: 3 launches do not show any to be at most 25 % slower than every other one. "
        "pool_size 20 came out fastest, p95 "
    )
    assert said in text
    assert "Run with" not in text
    # pool_size 1 stands above it, and may not be run with
    passed = three(
        "undecided", 20, recommended=None, slowdown_at_most=None, launches_to_decide=launches, cells={1: FAILING}
    )
    assert "pool_size 20 came out fastest of those that may be run with, p95 " in verdict_text(passed)


def test_what_the_instrument_alone_leaves_open_is_named(three: Make) -> None:
    report = three("undecided", 20, recommended=None, slowdown_at_most=None, instrument=True)
    text = verdict_text(report)
    assert text.startswith(
        "No setting is recommended (instrument): 3 launches would show one to be at most 25 % slower than every other "
        "one, if the instrument were known to have added nothing. pool_size 20 came out fastest"
    )
    assert "longer requests, or a machine that does nothing else, would decide." in text
    slo, cell = Slo(p95_ms=300.0), {"slo": "unclear", "slo_instrument": True}
    by_instrument = verdict_text(three("recommended", 20, slo=slo, cells={20: cell}))
    assert "is unclear: the instrument may have made the difference." in by_instrument
    by_launches = verdict_text(three("recommended", 20, slo=slo, cells={20: cell | {"slo_instrument": False}}))
    assert "is unclear: more launches may tell." in by_launches


def test_one_launch_tells_no_difference_apart(three: Make) -> None:
    once = {"launches": 1, "p95_ms": Bounds(value=9.0, low=None, high=None)}
    text = verdict_text(three("one_launch", 1, cells=dict.fromkeys(SIZES, once)))
    assert text.startswith(
        "pool_size 1 came out fastest, p95 9.00 ms (one launch, so no interval) at 110 arrivals/s of mixed, "
        "but one launch tells no difference apart: run at least three of each."
    )
    assert "Run with" not in text


def test_of_which_cell_only_one_launch_counts(three: Make) -> None:
    text = verdict_text(three("one_launch", 1, cells={20: {"launches": 1}}))
    assert "but only one launch of pool_size 20 counts, and one launch tells no difference apart" in text
    assert "over 3 launches)" in text


def test_one_cell_has_nothing_to_be_compared_to(three: Make) -> None:
    text = verdict_text(three("no_choice", 4, sizes=(4,)))
    assert text.startswith("pool_size 4: p95 ")
    assert "at 110 arrivals/s of mixed, with nothing to compare it to." in text


def test_different_loads_are_not_judged_as_settings(three: Make) -> None:
    text = verdict_text(three("different_loads", 4, slo=Slo(p95_ms=50), cells={4: {"slo": "met"}}))
    assert text.startswith(
        "The cells carry different loads, so none is recommended: what differs is not their settings alone."
    )
    assert "It meets" not in text
    assert "The SLO (p95 at most 50 ms) is met by pool_size 4." in text


def test_cells_that_cannot_carry_the_load_are_named_with_what_they_carried(three: Make) -> None:
    text = verdict_text(three(cells={1: SATURATED | {"carried_rps": 64.04}, 20: FAILING | {"error_rate": 0.2312}}))
    assert "pool_size 1 saturates: it answers 64.0 of 110 a second well." in text
    assert "pool_size 20 fails in 23 % of the arrivals." in text
    sound = verdict_text(three())
    assert "saturates" not in sound
    assert "fails" not in sound
    closed = three(cells={1: SATURATED | {"carried_rps": 64.04}}, load=Load(model="closed", users=1))
    assert "it answers 64.0 a second well" in verdict_text(closed)


@pytest.mark.parametrize(
    ("kind", "said"), [("saturated", "So do 3 more."), ("failing", "3 more cells fail too often.")]
)
def test_of_many_the_first_three_are_named(make_report: MakeReport, kind: str, said: str) -> None:
    report = make_report()
    cells = tuple(changed(cell, **{kind: True}) for cell in report.summary.cells)
    verdict = Verdict(state="undecided", cell_id=None, recommendation=None, smallest_visible=None)
    summary = replace(report.summary, cells=cells, verdict=verdict)
    text = verdict_text(replace(report, summary=summary))
    assert text.count("saturates" if kind == "saturated" else "fails in") == 3
    assert said in text
    fewer = verdict_text(replace(report, summary=replace(summary, cells=cells[:4])))
    assert ("So does 1 more." if kind == "saturated" else "1 more cell fails too often.") in fewer


PROMISED = Slo(p95_ms=50, error_rate=0.001)


@pytest.mark.parametrize(
    ("pick", "promises", "said"),
    [
        (4, {4: "met"}, "It meets the SLO (p95 at most 50 ms, at most 0.1 % failed)."),
        (
            4,
            {4: "unclear"},
            "Whether it meets the SLO (p95 at most 50 ms, at most 0.1 % failed) is unclear: more launches may tell.",
        ),
        (
            None,
            {1: "not_met", 4: "unclear", 20: "not_met"},
            "Whether the SLO (p95 at most 50 ms, at most 0.1 % failed) is met is unclear.",
        ),
        (None, {1: "not_met", 4: None, 20: "not_met"}, "at most 0.1 % failed) is met is unclear."),
        (None, {1: "not_met", 4: "not_met", 20: "not_met"}, "at most 0.1 % failed) is met by none."),
        (None, {1: "not_met", 4: "not_met", 20: "met"}, "at most 0.1 % failed) is met by pool_size 20."),
    ],
)
def test_the_slo_is_met_not_met_or_unclear(
    three: Make, pick: int | None, promises: dict[int, str | None], said: str
) -> None:
    state: State = "recommended" if pick else "undecided"
    cells = {size: {"slo": promise} for size, promise in promises.items()}
    assert said in verdict_text(three(state, pick, slo=PROMISED, cells=cells))


def test_more_launches_do_not_tell_of_an_endpoint_that_is_not_sent(three: Make) -> None:
    slo = Slo(p95_ms=50, endpoints={"GET /heros": Limits(p99_ms=20)})
    said = verdict_text(three(pick=4, slo=slo, cells={4: {"slo": "unclear"}}))
    assert (
        "Whether it meets the SLO (p95 at most 50 ms; GET /heros: p99 at most 20 ms) is unclear: "
        "no launch sent GET /heros." in said
    )


def test_what_was_not_promised_is_not_judged(three: Make) -> None:
    assert "SLO" not in verdict_text(three())
    alone = three("no_choice", None, sizes=(20,), slo=PROMISED, cells={20: {"slo": "not_met", "failing": True}})
    assert "The SLO (p95 at most 50 ms, at most 0.1 % failed) is not met." in verdict_text(alone)


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.2449, "from about 24 % on"), (0.035, "from about 4 % on"), (9.1, ""), (0.004, ""), (None, "")],
)
def test_what_could_have_been_seen(three: Make, share: float | None, said: str) -> None:
    text = verdict_text(three(smallest_visible=share))
    assert said in text
    assert ("typically told apart" in text) == bool(said)
    assert "With 3 launches, differences in p95 from about 20 % on are" in verdict_text(three(smallest_visible=0.2))
    assert "even a tenfold difference in p95 may be missed" in verdict_text(three(smallest_visible=9.1))


def test_cells_of_which_nothing_is_known_are_counted(three: Make) -> None:
    assert "Nothing is known" not in verdict_text(three())
    one = verdict_text(three(cells={1: {"valid": False}}))
    assert "Nothing is known of 1 of 3 cells, which has no valid launch." in one
    two = verdict_text(three(cells={1: {"valid": False}, 20: {"valid": False}}))
    assert "Nothing is known of 2 of 3 cells, which have no valid launch." in two


def test_the_load_is_that_of_all_cells(three: Make) -> None:
    info = three().info
    assert load_text(info.cells) == "at 110 arrivals/s of mixed"
    for rate_rps, said in ((64.5, "64.5"), (None, "an unknown number of")):
        shared = [replace(cell, load=Load(rate="60%", rate_rps=rate_rps)) for cell in info.cells]
        assert load_text(shared) == f"at {said} arrivals/s of mixed"
    for users, said in ((1, "1 user"), (8, "8 users")):
        closed = [replace(info.cells[0], load=Load(model="closed", users=users))]
        assert load_text(closed) == f"with {said} of mixed (closed: latency from send)"
    assert load_text([*info.cells, *closed]) == "under its own load"


def test_a_p95_says_why_it_has_no_interval(three: Make) -> None:
    figures = three().summary.cells[0].all
    open_ended = replace(figures, p95_ms=Bounds(value=437.0, low=None, high=None))
    assert p95_text(replace(open_ended, launches=1)) == "p95 437 ms (one launch, so no interval)"
    assert p95_text(replace(open_ended, launches=2)) == "p95 437 ms (2 launches leave its interval open)"


def test_settings_are_named_by_their_last_word(three: Make) -> None:
    cell = three().summary.cells[0].cell
    assert settings_text(cell) == "pool_size 1"
    named = replace(cell, factors=(("pool.pool_pre_ping", True), ("target.driver", "asyncpg")))
    assert settings_text(named) == "pool_pre_ping true, driver asyncpg"
    assert settings_text(replace(cell, factors=(), label="the one")) == "the one"


def test_how_many_launches_there_are(three: Make) -> None:
    cells = three().summary.cells
    assert launches_text(cells) == "3 launches"
    assert launches_text([changed(cell, launches=1) for cell in cells]) == "1 launch"
    assert launches_text([changed(cells[0], launches=2), *cells[1:]]) == "2 to 3 launches"


@pytest.mark.parametrize(
    ("slo", "text"),
    [
        (Slo(), ""),
        (Slo(p50_ms=5.5, p99_ms=100), "p50 at most 5.5 ms, p99 at most 100 ms"),
        (Slo(error_rate=0.0), "at most 0 % failed"),
    ],
)
def test_a_promise_in_words(slo: Slo, text: str) -> None:
    assert promise_text(slo) == text


def test_an_slo_in_words_names_its_endpoints() -> None:
    endpoints = {"GET /a": Limits(p95_ms=5, error_rate=0), "GET /b": Limits(), "GET /c": Limits(p50_ms=1)}
    of_endpoints = "GET /a: p95 at most 5 ms, at most 0 % failed; GET /c: p50 at most 1 ms"
    experiment = Experiment(schema_version=1, name="x", slo=Slo(endpoints=endpoints))
    assert slo_text(experiment) == of_endpoints
    asked = ProbeUser(request="GET /ready", slo=Limits(p95_ms=1000))
    everything = replace(experiment, slo=Slo(p99_ms=9, endpoints=endpoints), probe_user=asked)
    said = f"p99 at most 9 ms; {of_endpoints}; probe user GET /ready: p95 at most 1000 ms"
    assert slo_text(everything) == said


def test_more_answers_to_a_probe_user_may_tell(three: Make) -> None:
    report = three(pick=4, slo=Slo(p95_ms=50), cells={4: {"slo": "unclear"}})
    asked = ProbeUser(request="GET /ready", slo=Limits(p95_ms=1000))
    info = replace(report.info, experiment=replace(report.info.experiment, probe_user=asked))
    (met,) = (own.all for own in report.summary.cells if own.cell.id == "c4")
    for kept, why in (("unclear", "more answers to the probe user GET /ready may tell"), ("met", "more launches may")):
        cells = tuple(replace(own, probe_user=replace(met, slo=kept)) for own in report.summary.cells)
        assert why in verdict_text(replace(report, info=info, summary=replace(report.summary, cells=cells)))


def test_a_setting_that_the_service_does_not_have_concludes_nothing(three: Make) -> None:
    cells = {size: {"not_applied": {"pool.pool_size": (5,)}} for size in SIZES}
    assert verdict_text(three("not_applied", None, cells=cells)) == (
        "Nothing can be concluded: pool.pool_size did not take effect: 1, 20, 4 were asked for, the service has 5. "
        "Let the service take the setting from its environment (docs/formats.md names the variables), and run again."
    )


def test_a_pool_that_keeps_nothing_can_be_replaced_by_one_that_does(three: Make) -> None:
    cells = {size: {"not_applied": {"pool.pool_size": ("none (NullPool)",)}} for size in SIZES}
    said = verdict_text(three("not_applied", None, cells=cells))
    assert "1, 20, 4 were asked for, the service has none (NullPool)." in said
    assert said.endswith(' pool.pool_class = "queue" gives it a pool that keeps connections.')


def test_failures_are_told_with_their_cause(three: Make) -> None:
    cell = three().summary.cells[0]
    assert failures_text(cell) == ""
    failures = (
        Failure(endpoint="GET /heroes", outcome="error", status=503, message="HTTP 503", count=12),
        Failure(endpoint="", outcome="dropped", status=0, message="", count=3),
        Failure(endpoint="GET /heroes", outcome="timeout", status=0, message="", count=1),
        Failure(endpoint="", outcome="error", status=0, message="KeyError: 'id'", count=1),
    )
    assert failures_text(replace(cell, failures=failures)) == (
        "12 GET /heroes: HTTP 503; 3 arrivals: dropped, as many were in flight as may be; "
        "1 GET /heroes: timeout, without a message; 1 arrival: KeyError: 'id'"
    )


def test_failures_of_launches_that_do_not_count_are_said_to_be_so(three: Make) -> None:
    cell = three().summary.cells[0]
    failed = replace(cell, failures=(Failure(endpoint="GET /a", outcome="error", status=503, message="503", count=2),))
    assert failures_text(failed) == "2 GET /a: 503"
    assert failures_text(replace(failed, valid=False)) == "2 GET /a: 503 (in launches that do not count)"
    assert failures_text(replace(cell, valid=False)) == ""


def test_what_the_service_logged_of_its_failures(three: Make) -> None:
    cell = three().summary.cells[0]
    assert logged_text(cell) == ""
    assert logged_text(replace(cell, logged={"KeyError: 'id'": 12, "OSError": 1})) == "12x KeyError: 'id'; 1x OSError"


def test_many_names_are_cut_short() -> None:
    assert listed(["a", "b"]) == "a; b"
    assert listed(list("abcdef")) == "a; b; c; d and 2 more"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.05, "5 %"),
        (0.0123, "1.23 %"),
        (0.1, "10 %"),
        (0.09996, "10 %"),
        (0.372, "37 %"),
        (12.4, "1240 %"),
    ],
)
def test_a_share_in_per_cent(share: float, text: str) -> None:
    assert percent_text(share) == text
