"""What is said of a tune, and the data that make each sentence true, and false."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from reports import build_info
from rich.console import Console

from harness.domain.certificate import Certificate, Reason
from harness.domain.experiment import Experiment, Slo
from harness.domain.tune import SizeFigures, TunedLadder, Tuning, WhyNotSize
from harness.plan import expand, parse_experiment
from harness.present import print_tune, render_tune, tune_dict
from harness.present.tune_text import paste_line, tune_lines, tune_text, tuned_rows

TEXT = """
schema_version = 1
name = "x"
[matrix]
pool.pool_size = [2, 4, 8]
[pool]
max_overflow = 0
[load]
rate_rps = 50
"""
EXPERIMENT = parse_experiment(TEXT, source="x.toml")
CELLS = expand(EXPERIMENT)
INFO = replace(build_info(CELLS, launches=1), experiment=EXPERIMENT, strategy="tune")
PROMISING = replace(EXPERIMENT, slo=Slo(p95_ms=100.0))


def size(place: int, why_not: WhyNotSize, **figures: Any) -> SizeFigures:
    known = {
        "launches": 9,
        "fresh": 6,
        "p95_ms": 10.0,
        "carried_rps": 50.0,
        "connections_peak": 3,
        "connections_mean": 1.5,
    }
    return SizeFigures(cell=CELLS[place], value=(2, 4, 8)[place], why_not=why_not, **{**known, **figures})


SLOWER = size(0, "slower", slowdown=0.5, low=0.4, high=0.61)
ANSWER = size(1, "", slowdown=0.05, low=-0.01, high=0.12)
BEST = size(2, "not_needed", slowdown=0.0)
FRESH = "slower than 8 (p95), by 6 fresh launches."
SCATTER = (
    "the launches scatter too much. Longer ones scatter less (load.measure_s), more of them say more (tune.blocks)."
)
ADDED = (
    "by the launches one is, but what measures may have added as much to so short a latency. A margin that leaves room "
    "for it (tune.margin) can be shown."
)
RACED = "shown to be at most 15 % slower than any that was raced beside it (p95), by 6 fresh launches."
NOT_ALL = "not all of its fresh launches did."
ALL_MEET = "all of 6 fresh launches meet its SLO (p95 at most 100 ms)"
LADDER = TunedLadder(
    key="pool.pool_size", stop="shown", answer=4, reference=8, instrument=False, sizes=(SLOWER, ANSWER, BEST)
)
TUNING = Tuning(
    ladders=(LADDER,), recommended=CELLS[1], by_slo=False, margin=0.15, launches=20, grid=3, grid_launches=27
)


def with_ladder(tuning: Tuning = TUNING, **changes: Any) -> Tuning:
    ladder = replace(LADDER, **changes)
    recommended = None if ladder.answer is None else tuning.recommended
    return replace(tuning, ladders=(ladder,), recommended=recommended, grid_launches=recommended and 27)


@pytest.mark.parametrize(
    ("tuning", "experiment", "said"),
    [
        (
            TUNING,
            EXPERIMENT,
            f"Run with pool.pool_size = 4: the smallest shown to be good enough, at most 12 % {FRESH}",
        ),
        (
            with_ladder(answer=8),
            EXPERIMENT,
            f"Run with pool.pool_size = 8: {RACED}",
        ),
        (
            with_ladder(answer=8, sizes=(replace(SLOWER, fresh=0), replace(ANSWER, fresh=0), BEST)),
            EXPERIMENT,
            "Run with pool.pool_size = 8: the only one that carries the load, by 6 fresh launches.",
        ),
        (
            with_ladder(replace(TUNING, by_slo=True), reference=None),
            PROMISING,
            f"Run with pool.pool_size = 4: the smallest of which {ALL_MEET}.",
        ),
        (with_ladder(answer=None, stop=None), EXPERIMENT, "The search is not over."),
        (
            with_ladder(answer=None, stop="nothing_carries"),
            EXPERIMENT,
            "No value of pool.pool_size that was tried carries the load: 2, 4, 8.",
        ),
        (
            with_ladder(answer=None, stop="instrument"),
            EXPERIMENT,
            "pool.pool_size: the search ended because what measures failed in two looks running.",
        ),
        (
            with_ladder(answer=None, stop="not_shown"),
            EXPERIMENT,
            "No value of pool.pool_size was shown to be within 15 % of the best: " + SCATTER,
        ),
        (
            with_ladder(answer=None, stop="not_shown", instrument=True),
            EXPERIMENT,
            f"No value of pool.pool_size was shown to be within 15 % of the best: {ADDED}",
        ),
        (
            with_ladder(replace(TUNING, by_slo=True), answer=None, stop="not_shown", reference=None),
            PROMISING,
            "No value of pool.pool_size was shown to meet its SLO (p95 at most 100 ms): " + NOT_ALL,
        ),
    ],
)
def test_the_answer(tuning: Tuning, experiment: Experiment, said: str) -> None:
    assert tune_text(tuning, experiment) == said


@pytest.mark.parametrize(
    ("smaller", "said"),
    [
        (SLOWER, "2 is at least 40 % slower than 8."),
        (replace(SLOWER, low=0.1), "2 was 50 % slower than 8 in the search."),
        (
            replace(SLOWER, slowdown=math.nan, low=None, high=None, launches=0),
            "2 was not tried, since a larger one is too slow already.",
        ),
        (
            replace(SLOWER, slowdown=math.nan, low=None, high=None, failed=4),
            "2 did not carry the load in 4 of 9 launches.",
        ),
        (size(0, "fails"), "2 did not carry the load: it failed, was saturated, or its queue did not settle."),
        (size(0, "floor"), "2 has fewer connections than were in use at once, on average, with more of them."),
        (
            size(0, "not_shown", slowdown=0.1, low=-0.1, high=0.3),
            "2 may be good enough, and was not shown to be: up to 30 % slower than 8.",
        ),
        (size(0, "not_shown"), "2 was not shown to be good enough."),
    ],
)
def test_why_not_smaller(smaller: SizeFigures, said: str) -> None:
    why, *_ = tune_lines(with_ladder(sizes=(smaller, ANSWER, BEST)))
    assert why == f"Why not smaller: {said}"


def test_by_an_slo_why_not_smaller_and_not_larger() -> None:
    ladder = replace(LADDER, reference=None, sizes=(size(0, "fails", launches=1), ANSWER, BEST))
    smaller, larger, _ = tune_lines(replace(TUNING, by_slo=True, ladders=(ladder,)))
    assert smaller == "Why not smaller: 2 did not meet the SLO in one launch."
    assert larger == "Why not larger: 4 meets the SLO already."


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        (TUNING, "with 8 the p95 falls to 89 % of that at best."),
        (with_ladder(answer=8), "8 is the largest that was given; what is better still may lie beyond."),
        (
            with_ladder(sizes=(SLOWER, ANSWER, replace(BEST, why_not="budget"))),
            "8 does not fit the budget: production's Postgres would have to take more connections.",
        ),
        (with_ladder(answer=4, reference=4), "none of the larger ones that were tried was quicker."),
        (
            with_ladder(answer=4, reference=4, sizes=(SLOWER, ANSWER, replace(BEST, slowdown=-0.03, launches=2))),
            "8 was 3 % quicker in the search, by 2 launches, and was not raced.",
        ),
        (
            with_ladder(answer=4, reference=4, sizes=(SLOWER, ANSWER, replace(BEST, slowdown=math.nan, launches=0))),
            "no larger one was tried.",
        ),
    ],
)
def test_why_not_larger(tuning: Tuning, said: str) -> None:
    assert list(tune_lines(tuning))[1] == f"Why not larger: {said}"


def test_the_smallest_that_was_given_and_the_cost() -> None:
    lines = list(tune_lines(with_ladder(answer=2)))
    assert lines[0] == "Why not smaller: 2 is the smallest that was given."
    assert lines[2] == "Cost: 20 launches; all 3 configurations, each as often as this one, would have taken 27."
    assert list(tune_lines(with_ladder(answer=None, stop="not_shown"))) == ["Cost: 20 launches."]


def test_the_line_to_paste_is_what_the_cell_was_measured_with() -> None:
    assert paste_line(CELLS[1]) == "create_async_engine(url, pool_size=4, max_overflow=0)"
    threads = parse_experiment(
        TEXT.replace("pool.pool_size = [2, 4, 8]", 'target.threadpool_tokens = [5]\ntarget.driver = ["psycopg_sync"]'),
        source="x.toml",
    )
    assert paste_line(expand(threads)[0]) == (
        "create_engine(url, pool_size=5, max_overflow=0); "
        "anyio.to_thread.current_default_thread_limiter().total_tokens = 5"
    )


def test_the_line_says_in_how_many_workers() -> None:
    workers = parse_experiment(TEXT.replace("[pool]", "[target]\nworkers = 3\n[pool]", 1), source="x.toml")
    assert "workers" not in paste_line(expand(workers)[0])
    tuned = parse_experiment(TEXT.replace("pool.pool_size = [2, 4, 8]", "target.workers = [1, 3]"), source="x.toml")
    assert paste_line(expand(tuned)[1]).endswith("max_overflow=0)  # in each of 3 workers")


def test_rows_and_json_have_every_size_with_why_it_is_not_the_answer() -> None:
    assert [(row.value, row.slower, row.why, row.is_answer) for row in tuned_rows(TUNING)] == [
        ("2", "50 (40 to 61)", "too slow", False),
        ("4", "5 (-1 to 12)", "recommended", True),
        ("8", "0", "not needed", False),
    ]
    shown = tune_dict(TUNING, EXPERIMENT)
    assert shown["recommended"] == {"pool.pool_size": 4}
    assert tuned_rows(with_ladder(sizes=(replace(SLOWER, failed=2),)))[0].launches == "9, 2 failed"
    assert (shown["stop"], shown["launches"], shown["grid_launches"]) == ("shown", 20, 27)
    assert [own["why_not"] for own in shown["sizes"]] == ["slower", "", "not_needed"]


@pytest.mark.parametrize(
    ("why_not", "said", "by_slo"),
    [
        ("budget", "does not fit the budget", "does not fit the budget"),
        ("floor", "fewer connections than are in use", "fewer connections than are in use"),
        ("fails", "does not carry the load", "does not meet the SLO"),
        ("slower", "too slow", "a larger one does not meet it"),
        ("not_shown", "not shown to be good enough", "not shown to be good enough"),
        ("not_reached", "not reached", "not reached"),
    ],
)
def test_each_size_says_why_it_is_not_the_answer(why_not: WhyNotSize, said: str, by_slo: str) -> None:
    tuning = with_ladder(sizes=(size(0, why_not), ANSWER))
    assert [tuned_rows(each)[0].why for each in (tuning, replace(tuning, by_slo=True))] == [said, by_slo]


def test_launches_whose_instrument_failed_are_named() -> None:
    broken = Certificate(
        valid=False, reasons=(Reason(kind="instrument", code="stall", message="it stood still", value=1, threshold=0),)
    )
    page = render_tune(INFO, replace(TUNING, certificates={"b1-c1": broken})).decode()
    assert "Blocks with these launches were no looks, since what measures failed." in page
    assert "it stood still" in page


def test_page_and_terminal_say_the_same() -> None:
    page = render_tune(INFO, TUNING).decode()
    assert "Blocks with these launches" not in page
    assert render_tune(INFO, TUNING).decode() == page
    written = io.StringIO()
    print_tune(INFO, TUNING, Console(file=written, width=200), {"report.html": "x/report.html"})
    for text in (tune_text(TUNING, EXPERIMENT), *tune_lines(TUNING), paste_line(CELLS[1])):
        assert text in page
        assert text in " ".join(written.getvalue().split())
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_sizes_that_failed_and_such_as_nobody_launched_are_drawn_as_that() -> None:
    failed = size(0, "fails", p95_ms=math.inf)
    unseen = size(2, "not_needed", launches=0, fresh=0, p95_ms=math.nan, carried_rps=math.nan, connections_peak=0)
    page = render_tune(INFO, with_ladder(sizes=(failed, ANSWER, unseen))).decode()
    assert "did not carry the load" in page
    assert "∞" in page
