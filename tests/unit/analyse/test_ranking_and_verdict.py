from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from harness.analyse import analyse
from harness.domain.evidence import Certificate, Reason
from harness.domain.experiment import Load, Pool, Slo


def ranks(report: Any) -> dict[str, tuple[int, bool]]:
    return {own.cell.id: (own.rank, own.tied) for own in report.summary.cells}


def test_identical_cells_tie_and_the_smaller_pool_is_recommended(build: SimpleNamespace, around: Any) -> None:
    launches = [around(10.0, seed=seed) for seed in range(4)]
    report = analyse(build.blocked_run({2: launches, 1: launches}))
    assert ranks(report) == {"c1": (1, True), "c2": (1, True)}
    assert report.summary.verdict.startswith("Run with pool_size 5: p95 ")
    assert "4 launches do not tell it apart from pool_size 10" in report.summary.verdict
    assert "none of these gets by with fewer (at most 5 connections)" in report.summary.verdict


def test_a_cell_three_times_slower_is_told_apart(build: SimpleNamespace, around: Any) -> None:
    fast = [around(10.0, seed=seed) for seed in range(4)]
    slow = [around(30.0, seed=seed + 50) for seed in range(4)]
    report = analyse(build.blocked_run({1: slow, 2: fast}))
    assert ranks(report) == {"c2": (1, False), "c1": (2, False)}
    best, other = report.summary.cells
    assert best.versus_best is None
    assert other.versus_best is not None
    assert other.versus_best.low < 3 < other.versus_best.high
    assert other.versus_best.value == pytest.approx(3, rel=0.1)
    verdict = report.summary.verdict
    assert verdict.startswith("Run with pool_size 10: p95 16.")
    assert "over 4 launches) at 100 arrivals/s of mixed; next is pool_size 5 with" in verdict
    assert "It meets the SLO (p95 at most 50 ms, at most 1 % failed)." in verdict
    assert verdict.endswith("This holds for this machine and this load.")


def test_a_shared_drift_does_not_hide_a_paired_difference(build: SimpleNamespace) -> None:
    drift = (1.0, 2.0, 4.0)
    report = analyse(build.blocked_run({1: [[10 * d] * 50 for d in drift], 2: [[11.5 * d] * 50 for d in drift]}))
    assert ranks(report) == {"c1": (1, False), "c2": (2, False)}


def test_a_rank_is_shared_with_its_first_cell_only(build: SimpleNamespace) -> None:
    wobble = (0.9, 1.0, 1.1)
    by_cell = {
        1: [[10.0 * w] * 20 for w in wobble],
        2: [[11.0 / w] * 20 for w in wobble],
        3: [[40.0 * w] * 20 for w in wobble],
        4: [[41.0 / w] * 20 for w in wobble],
    }
    assert ranks(analyse(build.blocked_run(by_cell))) == {
        "c1": (1, True),
        "c2": (1, True),
        "c3": (3, True),
        "c4": (3, True),
    }


def test_one_launch_tells_no_difference_apart(build: SimpleNamespace) -> None:
    report = analyse(build.blocked_run({1: [[10.0] * 100], 2: [[90.0] * 100]}))
    assert ranks(report) == {"c1": (1, True), "c2": (1, True)}
    assert "one launch tells no difference apart" in report.summary.verdict
    assert not report.summary.verdict.startswith("Run with")


def test_failing_fast_never_ranks_first_nor_ties(build: SimpleNamespace) -> None:
    failing = [1.0] * 90 + [math.inf] * 10
    report = analyse(build.blocked_run({1: [failing] * 3, 2: [[40.0] * 100] * 3}))
    assert ranks(report) == {"c2": (1, False), "c1": (2, False)}
    assert "next is pool_size 5, where more than 5 % of what was offered failed" in report.summary.verdict


def test_failing_cells_are_ordered_by_their_error_rate(build: SimpleNamespace) -> None:
    def failing(*counts: int) -> list[list[float]]:
        return [[1.0] * (100 - count) + [math.inf] * count for count in counts]

    report = analyse(build.blocked_run({1: failing(50, 52, 51), 2: failing(20, 22, 21), 3: failing(20, 23, 21)}))
    assert ranks(report) == {"c2": (1, True), "c3": (1, True), "c1": (3, False)}
    assert report.summary.verdict.startswith("Nothing to run with: at 100 arrivals/s of mixed, more than 5 %")
    assert "21 %, fewest with pool_size 10" in report.summary.verdict


def test_saturated_cells_are_named(build: SimpleNamespace) -> None:
    dropped = build.rows([5.0] * 99 + [math.inf], outcome=["ok"] * 99 + ["dropped"])
    cells = [build.cell(1), build.cell(2)]
    trials = [build.trial(cells[0], block, dropped, sitting=block) for block in range(3)]
    trials += [build.trial(cells[1], block, build.rows([1.0] * 100), sitting=10 + block) for block in range(3)]
    assert "Saturated, so that arrivals had to be dropped: pool_size 5." in analyse(build.run(trials)).summary.verdict


def test_the_slo_that_nobody_meets(build: SimpleNamespace) -> None:
    run = build.blocked_run({1: [[80.0] * 20] * 3, 2: [[90.0] * 20] * 3})
    assert (
        "It does not meet the SLO (p95 at most 50 ms, at most 1 % failed); nor does any other."
        in analyse(run).summary.verdict
    )


def test_among_ties_one_that_meets_the_slo_is_preferred(build: SimpleNamespace) -> None:
    run = build.blocked_run({1: [[40.0] * 20, [62.0] * 20], 2: [[41.0] * 20, [59.0] * 20]}, slo=Slo(p95_ms=49.5))
    report = analyse(run)
    assert ranks(report) == {"c2": (1, True), "c1": (1, True)}
    assert report.summary.verdict.startswith("Run with pool_size 10")
    assert "the smallest that meets the SLO (at most 10 connections)" in report.summary.verdict


def test_a_pool_without_limit_is_never_the_smallest(build: SimpleNamespace) -> None:
    unlimited = build.cell(1, pool=Pool(pool_class="null"), factors=(("pool.pool_class", "null"),))
    limited = build.cell(2, factors=(("pool.pool_class", "queue"),))
    trials = [build.trial(unlimited, block, build.rows([10.0] * 20), sitting=block) for block in range(2)]
    trials += [build.trial(limited, block, build.rows([10.0] * 20), sitting=10 + block) for block in range(2)]
    assert analyse(build.run(trials)).summary.verdict.startswith("Run with pool_class queue")


def test_a_single_cell_has_nothing_to_compare_to(build: SimpleNamespace) -> None:
    verdict = analyse(build.blocked_run({1: [[10.0] * 20, [11.0] * 20]})).summary.verdict
    assert verdict.startswith("pool_size 5: p95 10.5 ms (95 % interval ")
    assert "with nothing to compare it to" in verdict


def test_an_invalid_measurement_concludes_nothing(build: SimpleNamespace) -> None:
    late = Certificate(
        valid=False, reasons=(Reason(kind="instrument", code="lag", message="late", value=9, threshold=5),)
    )
    trials = [build.trial(build.cell(1), block, build.rows([1.0]), certificate=late) for block in range(2)]
    verdict = analyse(build.run(trials)).summary.verdict
    assert verdict == "Nothing can be concluded: the measurement is invalid in all 2 launches (lag 2x)."


def test_the_closed_model_is_labelled(build: SimpleNamespace) -> None:
    closed = build.cell(1, load=Load(model="closed", users=8))
    report = analyse(build.run([build.trial(closed, 0, build.rows([1.0] * 9))]))
    assert "with 8 users of mixed (closed: latency from send)" in report.summary.verdict
    assert any(note.startswith("Closed model") for note in report.summary.notes)


def test_thin_evidence_is_noted(build: SimpleNamespace) -> None:
    notes = analyse(build.blocked_run({1: [[1.0] * 300] * 3})).summary.notes
    assert "3 launches give wide intervals; five or more narrow them markedly." in notes
    assert any("a launch has as few as 300 requests, so about 3 of them" in note for note in notes)
    plenty = analyse(build.blocked_run({1: [[1.0] * 1000] * 5})).summary.notes
    assert not any("launches give" in note or "p99 is thin" in note for note in plenty)


def test_a_single_launch_names_the_fastest_and_its_own_slo(build: SimpleNamespace) -> None:
    verdict = analyse(build.blocked_run({1: [[60.0] * 100], 2: [[9.0] * 100]})).summary.verdict
    assert verdict.startswith("pool_size 10 came out fastest, p95 9.00 ms (one launch, so no interval)")
    assert "It meets the SLO" in verdict


def test_a_launch_in_which_nothing_was_offered_is_invalid(build: SimpleNamespace) -> None:
    trials = [build.trial(build.cell(), block, build.rows([1.0] * (9 * block)), sitting=block) for block in range(2)]
    summary = analyse(build.run(trials)).summary
    assert summary.cells[0].findings == ("nothing_offered",)
    assert "1 of 2 launches are invalid and feed no figure: nothing_offered 1x." in summary.notes
