from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analyse import analyse, summary_rows
from harness.domain.evidence import Context, Run, Version
from harness.domain.experiment import Limits, Pool, Slo
from harness.domain.verdict import CellSummary
from harness.present.notes import notes
from harness.present.phrases import verdict_text


def only(run: Run) -> CellSummary:
    (summary,) = analyse(run).summary.cells
    return summary


def test_percentiles_are_of_what_was_offered(build: SimpleNamespace) -> None:
    summary = only(build.blocked_run({1: [[*range(1, 95), *[math.inf] * 6]]}))
    assert summary.all.p50_ms.value == pytest.approx(50)
    assert summary.all.p90_ms.value == pytest.approx(90)
    assert summary.all.p95_ms.value == math.inf
    assert summary.all.served_p99_ms == pytest.approx(94)
    assert summary.all.error_rate == pytest.approx(0.06)
    assert summary.all.requests == 100


@pytest.fixture(scope="module")
def in_order(build: SimpleNamespace) -> str:
    """What comes of the rows below as they were written."""
    return repr(only(build.run([build.trial(build.cell(), 0, build.rows([*range(1, 51), *[math.inf] * 10]))])))


@settings(max_examples=8)  # a whole analysis each
@given(order=st.permutations(range(60)))
def test_the_order_of_rows_does_not_matter(build: SimpleNamespace, in_order: str, order: list[int]) -> None:
    rows = build.rows([*range(1, 51), *[math.inf] * 10])
    shuffled = build.trial(build.cell(), 0, rows.iloc[order].reset_index(drop=True))
    assert repr(only(build.run([shuffled]))) == in_order


def test_what_of_the_scenarios_does_not_apply_is_kept_once_for_all_trials(build: SimpleNamespace) -> None:
    said = [Context(scenario_notes=notes) for notes in (("one", "two"), ("two", "three"))]
    trials = [build.trial(build.cell(), block, build.rows([5.0] * 20), context=own) for block, own in enumerate(said)]
    assert analyse(build.run(trials)).summary.coverage.scenario_notes == ("one", "two", "three")


def test_each_version_that_was_started_is_kept_once(build: SimpleNamespace) -> None:
    one, other = Version(commit="1" * 40), Version(commit="1" * 40, changes="ab")
    trials = [
        build.trial(build.cell(), block, build.rows([5.0] * 20), context=Context(version=version))
        for block, version in enumerate((one, None, other, one))
    ]
    assert only(build.run(trials)).versions == (one, other)


def test_latency_counts_from_the_intended_time(build: SimpleNamespace) -> None:
    rows = build.rows([5.0] * 20)
    rows["started_ns"] += 3_000_000  # sent 3 ms late, and it still took until then
    assert only(build.run([build.trial(build.cell(), 0, rows)])).all.p50_ms.value == pytest.approx(5)


def test_a_dropped_arrival_counts_where_its_task_has_one_endpoint(build: SimpleNamespace) -> None:
    sent = build.rows([1.0] * 10, task="get", endpoint="GET /one")
    two_ways = pd.concat([build.rows([1.0] * 5, task="both", endpoint=f"GET /{name}") for name in ("two", "three")])
    dropped = [
        build.rows([math.inf], task=task, endpoint="", outcome="dropped", started_ns=-1, finished_ns=-1, status=0)
        for task in ("get", "both")
    ]
    rows = pd.concat([sent, two_ways, *dropped], ignore_index=True)
    summary = only(build.run([build.trial(build.cell(), 0, rows)]))
    by_name = {own.endpoint: own for own in summary.endpoints}
    assert (summary.all.requests, summary.all.dropped) == (22, 2)
    assert {name: (own.requests, own.dropped) for name, own in by_name.items()} == {
        "GET /one": (11, 1),
        "GET /two": (5, 0),
        "GET /three": (5, 0),
    }


def test_a_second_request_of_an_arrival_is_no_hint_at_its_tasks_endpoint(build: SimpleNamespace) -> None:
    first, second = build.rows([1.0] * 3, endpoint="POST /a"), build.rows([1.0] * 3, endpoint="GET /b", sequence=1)
    dropped = build.rows([math.inf], endpoint="", outcome="dropped")
    rows = pd.concat([first, second, dropped], ignore_index=True)
    by_name = {own.endpoint: own for own in only(build.run([build.trial(build.cell(), 0, rows)])).endpoints}
    assert by_name["POST /a"].dropped == 1
    assert by_name["GET /b"].dropped == 0


def test_only_the_measure_phase_counts(build: SimpleNamespace) -> None:
    setup, warmup = build.rows([900.0] * 5, segment=0xFFFFFFFF), build.rows([900.0] * 5, segment=0)
    rows = pd.concat([setup, warmup, build.rows([2.0] * 5, segment=1)], ignore_index=True)
    segments = [build.segment(0, phase="warmup"), build.segment(1)]
    summary = only(build.run([build.trial(build.cell(), 0, rows, segments=segments)]))
    assert summary.all.requests == 5
    assert summary.all.p99_ms.value == pytest.approx(2)


def test_rates_are_over_the_real_measured_time(build: SimpleNamespace) -> None:
    """A turn of two seconds, one of one second; five seconds of others' between them do not count."""
    segments = [build.segment(0, duration_s=4.0)]
    turns = [build.turn(0.0, 2.0), build.turn(2.0, 3.0, at_s=7.0)]
    rows = pd.concat(
        [
            build.rows([10.0] * 20),
            build.rows([80.0] * 10),
            build.rows([math.inf] * 6),
            build.rows([math.inf] * 4, outcome="timeout", status=0),
        ],
        ignore_index=True,
    )
    summary = only(build.run([build.trial(build.cell(), 0, rows, segments=segments, turns=turns)]))
    assert summary.all.achieved_rps == pytest.approx(36 / 3)  # a timeout is no answer, an error is one
    assert summary.all.carried_rps == pytest.approx(30 / 3)
    assert summary.all.goodput_rps == pytest.approx(20 / 3)  # 80 ms is beyond the SLO's 50


@pytest.mark.parametrize(
    ("slo", "promise"),
    [
        (Slo(), None),
        (Slo(p95_ms=10.1), "met"),
        (Slo(p95_ms=9.9), "not_met"),
        (Slo(p50_ms=9.9), "not_met"),
        (Slo(p99_ms=9.9), "not_met"),
        (Slo(error_rate=0.0), "not_met"),
        (Slo(error_rate=0.1), "met"),
        (Slo(p50_ms=10.1, p99_ms=9.9), "not_met"),
    ],
)
def test_the_slo_is_met_when_every_promise_is_kept(build: SimpleNamespace, slo: Slo, promise: str | None) -> None:
    run = build.blocked_run({1: [[10.0] * 199 + [math.inf]] * 3}, slo=slo)
    assert only(run).slo == promise
    once = only(replace(run, trials=run.trials[:1])).slo
    assert once == (None if promise is None else "unclear"), "one launch has no bounds"


def two_endpoints(build: SimpleNamespace, slow_ms: float, failed: int = 0) -> list[Any]:
    """Three launches, each of 900 requests of 10 ms to one endpoint and 100 of `slow_ms` to another."""
    quick, slow = [10.0] * 900, [slow_ms] * (100 - failed) + [math.inf] * failed
    rows = build.rows([*quick, *slow], endpoint=["GET /a"] * 900 + ["GET /b"] * 100)
    return [build.trial(build.cell(), block, rows, sitting=block) for block in range(3)]


@pytest.mark.parametrize(
    ("slo", "cell", "of_each"),
    [
        (Slo(p50_ms=20, endpoints={"GET /a": Limits(p95_ms=20)}), "met", ("met", "met", None)),
        (Slo(p50_ms=20, endpoints={"GET /b": Limits(p95_ms=20)}), "not_met", ("met", None, "not_met")),
        (Slo(p50_ms=5, endpoints={"GET /a": Limits(p95_ms=20)}), "not_met", ("not_met", "met", None)),
        (
            Slo(endpoints={"GET /a": Limits(error_rate=0.01), "GET /b": Limits(error_rate=0.2)}),
            "met",
            (None, "met", "met"),
        ),
        (Slo(endpoints={"GET /b": Limits(error_rate=0.01)}), "not_met", (None, None, "not_met")),
        (Slo(p50_ms=20, endpoints={"GET /c": Limits(p95_ms=20)}), "unclear", ("met", None, None)),
        (Slo(p50_ms=5, endpoints={"GET /c": Limits(p95_ms=20)}), "not_met", ("not_met", None, None)),
        (Slo(endpoints={"GET /c": Limits()}), None, (None, None, None)),
    ],
)
def test_an_slo_is_met_when_it_is_of_everything_and_of_each_endpoint(
    build: SimpleNamespace, slo: Slo, cell: str | None, of_each: tuple[str | None, ...]
) -> None:
    run = build.run(two_endpoints(build, 50.0, failed=4), slo=slo)
    report = analyse(run)
    (summary,) = report.summary.cells
    assert summary.slo == cell
    assert tuple(own.slo for own in (summary.all, *summary.endpoints)) == of_each
    words = {"met": True, "not_met": False, None: ""}
    column = summary_rows(run, report.summary)["slo_met"].astype(object).fillna("")
    assert column.tolist() == [words.get(own, own) for own in (cell, *of_each[1:])]


def test_a_good_answer_is_one_within_what_is_promised_of_its_endpoint(build: SimpleNamespace) -> None:
    slo = Slo(p95_ms=20, endpoints={"GET /b": Limits(p95_ms=60)})
    summary = only(build.run(two_endpoints(build, 50.0), slo=slo))
    assert [own.goodput_rps for own in summary.endpoints] == [own.carried_rps for own in summary.endpoints]
    strict = only(build.run(two_endpoints(build, 50.0), slo=Slo(p95_ms=20, endpoints={"GET /b": Limits(p95_ms=40)})))
    assert strict.endpoints[1].goodput_rps == 0
    unsaid = only(build.run(two_endpoints(build, 50.0), slo=Slo(p95_ms=20, endpoints={"GET /b": Limits(error_rate=1)})))
    assert unsaid.endpoints[1].goodput_rps == 0, "what is promised of everything holds of it"


def queued(build: SimpleNamespace, hold_ms: float, waits_ms: list[float], **changes: Any) -> CellSummary:
    """Three launches of one connection, each with these waits over and over."""
    cell = build.cell(1, pool=Pool(pool_size=1, max_overflow=0))
    latency = [hold_ms + waits_ms[place % len(waits_ms)] for place in range(1000)]
    trials = [build.trial(cell, block, build.rows(latency), sitting=block) for block in range(3)]
    return only(build.run(trials, **changes))


def test_what_was_measured_of_a_growing_queue_keeps_no_promise(build: SimpleNamespace) -> None:
    """100 arrivals a second that take 20 ms each, one after the other: the wait grows by 10 ms an arrival."""
    growing = queued(build, 20.0, [10.0 * place for place in range(1000)], slo=Slo(p95_ms=1e6))
    assert (growing.saturated, growing.slo) == (True, "not_met")
    lax = Limits(p95_ms=1e6)
    apart = queued(
        build, 20.0, [10.0 * place for place in range(1000)], slo=Slo(p95_ms=1e6, endpoints={"GET /heroes/{id}": lax})
    )
    assert (apart.all.slo, apart.endpoints[0].slo) == ("not_met", "unclear"), "which endpoints wait is not known"


def test_what_was_measured_before_a_queue_had_settled_is_no_proof_of_a_promise(build: SimpleNamespace) -> None:
    """An eighth of the time nobody waits, the rest somebody does, without a break."""
    waits = [12.0 if place >= 125 else 0.0 for place in range(1000)]
    unsettled = queued(build, 9.9, waits, slo=Slo(p95_ms=1e6))
    assert (unsettled.saturated, unsettled.from_empty) == (False, True)
    assert unsettled.slo == "unclear"
    broken = queued(build, 9.9, waits, slo=Slo(p95_ms=1.0))
    assert broken.slo == "not_met", "it is slower than that already"


def test_a_launch_whose_instrument_failed_feeds_nothing(build: SimpleNamespace) -> None:
    cell = build.cell()
    good = build.trial(cell, 0, build.rows([10.0] * 50))
    bad = build.trial(cell, 1, build.rows([500.0] * 50), context=build.LOST_WORKER)
    summary = only(build.run([good, bad]))
    assert (summary.all.p95_ms.value, summary.all.launches) == (pytest.approx(10), 1)
    assert (summary.valid, summary.invalid_launches, summary.findings) == (True, 1, ("lost_worker",))

    alone = only(build.run([bad]))
    assert (alone.valid, alone.slo, alone.all.requests) == (False, None, 0)
    assert math.isnan(alone.all.p95_ms.value)


def test_a_cell_without_a_launch_is_shown_as_not_measured(build: SimpleNamespace) -> None:
    cells = [build.cell(1), build.cell(2)]
    run = build.run([build.trial(cells[0], 0, build.rows([1.0] * 9))], cells, launches=1)
    report = analyse(run)
    assert [own.findings for own in report.summary.cells] == [(), ("not measured",)]
    assert not report.complete
    assert "Nothing is known of 1 of 2 cells, which has no valid launch." in verdict_text(report)
    assert notes(report)[0] == "Partial run: 1 of 2 launches."


def test_pool_figures_are_of_served_requests_that_the_probe_saw(build: SimpleNamespace) -> None:
    seen = build.rows([10.0] * 20, pool_ms=2.0, db_ms=3.0, app_ms=4.0)
    failed = build.rows([math.inf] * 5, pool_ms=500.0, db_ms=0.0, app_ms=0.0)
    rows = pd.concat([seen, failed, build.rows([10.0] * 20)], ignore_index=True)
    summary = only(build.run([build.trial(build.cell(), 0, rows)]))
    assert summary.all.pool_ms_p95 == pytest.approx(2)
    assert summary.all.pool_share == pytest.approx(0.2)
    assert summary.all.db_share == pytest.approx(0.3)


def test_without_a_probe_pool_figures_are_unknown_and_said_so(build: SimpleNamespace) -> None:
    report = analyse(build.blocked_run({1: [[10.0] * 50]}))
    (summary,) = report.summary.cells
    assert math.isnan(summary.all.pool_share)
    assert math.isnan(summary.all.pool_ms_p95)
    assert math.isnan(summary.pool_used_share)
    assert "Pool wait and database time are not known for pool_size 5: no answer carried the probe's figures." in notes(
        report
    )


@given(latencies=st.lists(st.floats(0.01, 1e4) | st.just(math.inf), min_size=1, max_size=80))
def test_percentiles_never_fall(build: SimpleNamespace, latencies: list[float]) -> None:
    figures = only(build.blocked_run({1: [latencies]})).all
    values = [own.value for own in (figures.p50_ms, figures.p90_ms, figures.p95_ms, figures.p99_ms)]
    assert values == sorted(values)
    assert 0 <= figures.error_rate <= 1


def test_categories_in_any_order_and_plain_text_read_alike(build: SimpleNamespace) -> None:
    rows = build.rows([1.0, 2.0, math.inf, 4.0])
    reordered, plain = rows.copy(), rows.copy()
    reordered["outcome"] = reordered["outcome"].cat.set_categories(["unfinished", "error", "timeout", "ok", "x"])
    for name in ("outcome", "task", "endpoint"):
        plain[name] = plain[name].astype(str)
    expected = repr(only(build.run([build.trial(build.cell(), 0, rows)])))  # repr: NaN equals NaN there
    for other in (reordered, plain):
        assert repr(only(build.run([build.trial(build.cell(), 0, other)]))) == expected


def test_many_rows_keep_their_exact_quantiles(build: SimpleNamespace, around: Any) -> None:
    latency = np.round(around(10.0, seed=1, count=10_000) * 1e6) / 1e6
    figures = only(build.blocked_run({1: [latency]})).all
    assert figures.p99_ms.value == pytest.approx(np.quantile(latency, 0.99, method="inverted_cdf"), abs=1e-6)
