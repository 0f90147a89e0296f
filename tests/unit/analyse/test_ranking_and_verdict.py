"""From rows to what is recommended: whole runs of made-up latencies."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest

from harness.analyse import analyse
from harness.domain.experiment import Load, Pool, Slo
from harness.domain.verdict import Report
from harness.present.notes import notes
from harness.present.phrases import verdict_text


def ranks(report: Report) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Place and ties by cell."""
    return {own.cell.id: (own.rank, own.ties) for own in report.summary.cells}


def recommended(report: Report) -> str | None:
    recommendation = report.summary.verdict.recommendation
    return None if recommendation is None else recommendation.recommended


def test_identical_cells_tie_and_the_smaller_pool_is_recommended(build: ModuleType, around: Any) -> None:
    launches = [around(10.0, seed=seed) for seed in range(4)]
    report = analyse(build.blocked_run({2: launches, 1: launches}))
    assert {cell: ties for cell, (_, ties) in ranks(report).items()} == {"c1": ("c2",), "c2": ("c1",)}
    assert (report.summary.verdict.state, recommended(report)) == ("recommended", "c1")
    assert verdict_text(report).startswith("Run with pool_size 5: p95 ")
    assert "5 more connections (pool_size 10) lower p95 by at most " in verdict_text(report)


def test_a_cell_three_times_slower_is_told_apart(build: ModuleType, around: Any) -> None:
    fast = [around(10.0, seed=seed) for seed in range(4)]
    slow = [around(30.0, seed=seed + 50) for seed in range(4)]
    report = analyse(build.blocked_run({1: slow, 2: fast}))
    assert ranks(report) == {"c2": (1, ()), "c1": (2, ())}
    best, other = report.summary.cells
    assert best.versus_best is None
    assert other.versus_best is not None
    assert other.versus_best.low is not None
    assert other.versus_best.high is not None
    assert 1 < other.versus_best.low < 3 < other.versus_best.high
    assert other.versus_best.ratio == pytest.approx(3, rel=0.1)
    assert report.summary.pairs == (other.versus_best,)
    verdict = verdict_text(report)
    assert verdict.startswith("Run with pool_size 10: p95 16.")
    assert "over 4 launches) at 100 arrivals/s of mixed; " in verdict
    assert "It meets the SLO (p95 at most 50 ms)." in verdict
    assert "pool_size 5 is slower: its p95 is " in verdict
    assert verdict.endswith("This holds for this machine and this load.")


def test_a_shared_drift_does_not_hide_a_paired_difference(build: ModuleType) -> None:
    drift = (1.0, 2.0, 4.0)
    report = analyse(build.blocked_run({1: [[10 * d] * 50 for d in drift], 2: [[11.5 * d] * 50 for d in drift]}))
    assert ranks(report) == {"c1": (1, ()), "c2": (2, ())}


def test_ties_are_pairs_and_places_are_single(build: ModuleType) -> None:
    wobble = (0.9, 1.0, 1.1)
    by_cell = {
        1: [[10.0 * w] * 20 for w in wobble],
        2: [[11.0 / w] * 20 for w in wobble],
        3: [[40.0 * w] * 20 for w in wobble],
        4: [[41.0 / w] * 20 for w in wobble],
    }
    assert ranks(analyse(build.blocked_run(by_cell))) == {
        "c1": (1, ("c2",)),
        "c2": (2, ("c1",)),
        "c3": (3, ("c4",)),
        "c4": (4, ("c3",)),
    }


def test_a_tie_is_no_proof_of_being_good_enough(build: ModuleType) -> None:
    """Noisy enough that nothing is told apart: the smaller one is not recommended for that."""
    wobble = (0.5, 1.1, 1.8)
    report = analyse(build.blocked_run({1: [[16.0 / w] * 20 for w in wobble], 2: [[14.0 * w] * 20 for w in wobble]}))
    assert ranks(report)["c1"][1] == ("c2",)
    assert (report.summary.verdict.state, recommended(report)) == ("undecided", None)
    assert "No setting is recommended: 3 launches do not show any to be at most 25 %" in verdict_text(report)


def test_one_launch_tells_no_difference_apart(build: ModuleType) -> None:
    report = analyse(build.blocked_run({1: [[10.0] * 100], 2: [[90.0] * 100]}))
    assert ranks(report) == {"c1": (1, ("c2",)), "c2": (2, ("c1",))}
    assert report.summary.verdict.state == "one_launch"
    assert "one launch tells no difference apart" in verdict_text(report)
    assert "Run with" not in verdict_text(report)


def test_where_one_cell_lacks_launches_the_sentence_says_which(build: ModuleType) -> None:
    report = analyse(build.blocked_run({1: [[10.0] * 100] * 3, 2: [[9.0] * 100]}))
    assert report.summary.verdict.state == "one_launch"
    assert "only one launch of pool_size 10 counts" in verdict_text(report)


FAILING = [1.0] * 90 + [math.inf] * 10


@pytest.fixture(scope="module")
def one_fails(build: ModuleType) -> Report:
    """Of two cells the first fails in a tenth of its arrivals, at once; the second carries its load."""
    return analyse(build.blocked_run({1: [FAILING] * 3, 2: [[40.0] * 100] * 3}))


def test_failing_fast_never_ranks_first_nor_ties(one_fails: Report) -> None:
    assert ranks(one_fails) == {"c2": (1, ()), "c1": (2, ())}
    assert one_fails.summary.cells[1].all.p95_ms.value == math.inf
    assert "pool_size 5 fails in 10 % of the arrivals." in verdict_text(one_fails)


def test_the_only_cell_that_carries_the_load_is_recommended_without_a_comparison(
    build: ModuleType, one_fails: Report
) -> None:
    assert (one_fails.summary.verdict.state, recommended(one_fails)) == ("only_one", "c2")
    assert verdict_text(one_fails).startswith(
        "Run with pool_size 10, the only one of 2 that carries the load: p95 40.0 ms"
    )
    # not with one launch of it, nor where it breaks its SLO
    once = analyse(build.blocked_run({1: [FAILING] * 3, 2: [[40.0] * 100]}))
    assert recommended(once) is None
    broken = analyse(build.blocked_run({1: [FAILING] * 3, 2: [[60.0] * 100] * 3}))
    assert (broken.summary.verdict.cell_id, recommended(broken)) == (None, None)
    assert "of 2 cells 1 fails too often and 1 does not meet the SLO." in verdict_text(broken)


def test_failing_cells_are_ordered_by_what_they_answer_well(build: ModuleType) -> None:
    def failing(*counts: int) -> list[list[float]]:
        return [[1.0] * (100 - count) + [math.inf] * count for count in counts]

    report = analyse(build.blocked_run({1: failing(50, 52, 51), 2: failing(20, 22, 21), 3: failing(20, 23, 21)}))
    assert ranks(report) == {"c2": (1, ("c3",)), "c3": (2, ("c2",)), "c1": (3, ())}
    assert verdict_text(report).startswith(
        "No setting can be recommended at 100 arrivals/s of mixed: of 3 cells 3 fail too often."
    )
    assert "pool_size 10 fails in 21 % of the arrivals." in verdict_text(report)


def growing(build: ModuleType, number: int, hold_s: float, **changes: Any) -> list[Any]:
    """Three launches of a cell with one connection, 100 arrivals a second, each of which takes `hold_s`."""
    one = build.cell(number, pool=Pool(pool_size=1, max_overflow=0), factors=(("pool.pool_size", 1),), **changes)
    waits_ms = [1000 * max(hold_s, hold_s + place * (hold_s - 0.01)) for place in range(1000)]
    return [build.trial(one, block, build.rows(waits_ms), sitting=100 * number + block) for block in range(3)]


def test_a_saturated_cell_is_ranked_last_and_named_with_what_it_carried(build: ModuleType) -> None:
    saturated = growing(build, 1, 0.02)
    sound = [build.trial(build.cell(2), block, build.rows([12.0] * 1000), sitting=block) for block in range(3)]
    report = analyse(build.run([*saturated, *sound]))
    assert ranks(report) == {"c2": (1, ()), "c1": (2, ())}
    _, last = report.summary.cells
    assert (last.saturated, last.slo, last.findings[0]) == (True, "not_met", "saturated")
    assert last.all.carried_rps == pytest.approx(50, rel=0.02)
    assert "pool_size 1 saturates: it answers 50.0 of 100 a second well." in verdict_text(report)
    assert recommended(report) == "c2"


def test_a_saturated_cell_alone_is_not_recommended(build: ModuleType) -> None:
    report = analyse(build.run(growing(build, 1, 0.02), slo=Slo(p95_ms=1e6)))
    assert report.summary.verdict.cell_id is None
    assert verdict_text(report).startswith(
        "pool_size 1 cannot be recommended at 100 arrivals/s of mixed: it is saturated."
    )
    assert report.summary.cells[0].slo == "not_met", "whatever was measured, what follows is slower"


def test_the_slo_that_nobody_meets(build: ModuleType) -> None:
    report = analyse(build.blocked_run({1: [[80.0] * 20] * 3, 2: [[90.0] * 20] * 3}))
    assert [own.slo for own in report.summary.cells] == ["not_met", "not_met"]
    assert "of 2 cells 2 do not meet the SLO." in verdict_text(report)
    assert "The SLO (p95 at most 50 ms) is met by none." in verdict_text(report)


def test_a_cell_that_surely_breaks_its_slo_is_passed_over(build: ModuleType) -> None:
    run = build.blocked_run({1: [[52.0] * 20, [52.1] * 20, [52.2] * 20], 2: [[48.0] * 20, [48.1] * 20, [48.2] * 20]})
    report = analyse(run)
    assert [(own.cell.id, own.slo) for own in report.summary.cells] == [("c2", "met"), ("c1", "not_met")]
    assert recommended(report) == "c2"
    assert "pool_size 5 is passed over: it does not meet the SLO." in verdict_text(report)


def test_a_pool_without_limit_is_never_the_smallest(build: ModuleType) -> None:
    unlimited = build.cell(1, pool=Pool(pool_class="null"), factors=(("pool.pool_class", "null"),))
    limited = build.cell(2, factors=(("pool.pool_class", "queue"),))
    evenly = build.rows([10.0] * 20, every_ms=500.0)
    trials = [build.trial(unlimited, block, evenly, sitting=block) for block in range(2)]
    trials += [build.trial(limited, block, evenly, sitting=10 + block) for block in range(2)]
    verdict = verdict_text(analyse(build.run(trials)))
    assert verdict.startswith("Run with pool_class queue")
    assert "No limit on connections (pool_class null) " in verdict


def test_a_single_cell_has_nothing_to_compare_to(build: ModuleType) -> None:
    report = analyse(build.blocked_run({1: [[10.0] * 20, [11.0] * 20]}))
    assert (report.summary.verdict.state, report.summary.verdict.cell_id) == ("no_choice", "c1")
    assert verdict_text(report).startswith("pool_size 5: p95 10.5 ms (95 % interval ")
    assert "with nothing to compare it to" in verdict_text(report)


def test_cells_under_different_loads_are_not_judged_against_each_other(build: ModuleType) -> None:
    slow = build.cell(2, load=Load(rate_rps=50.0))
    trials = [build.trial(build.cell(1), block, build.rows([10.0] * 20), sitting=block) for block in range(3)]
    trials += [build.trial(slow, block, build.rows([10.0] * 20), sitting=10 + block) for block in range(3)]
    report = analyse(build.run(trials))
    assert (report.summary.verdict.state, recommended(report)) == ("different_loads", None)
    assert verdict_text(report).startswith("The cells carry different loads, so none is recommended")


def test_an_invalid_measurement_concludes_nothing(build: ModuleType) -> None:
    trials = [build.trial(build.cell(1), block, build.rows([1.0]), context=build.LOST_WORKER) for block in range(2)]
    report = analyse(build.run(trials))
    assert report.summary.verdict.state == "all_invalid"
    assert verdict_text(report) == (
        "Nothing can be concluded: the measurement is invalid in every launch; the certificates say why."
    )
    assert "2 of 2 launches are invalid and feed no figure: lost_worker 2x." in notes(report)


def test_the_closed_model_is_labelled(build: ModuleType) -> None:
    closed = build.cell(1, load=Load(model="closed", users=8))
    report = analyse(build.run([build.trial(closed, 0, build.rows([1.0] * 9))]))
    assert "with 8 users of mixed (closed: latency from send)" in verdict_text(report)
    assert any(note.startswith("Closed model") for note in notes(report))


def test_thin_evidence_is_noted(build: ModuleType) -> None:
    thin = notes(analyse(build.blocked_run({1: [[1.0] * 300] * 3})))
    assert not any("interval" in note for note in thin), "all three came out alike"
    assert "p99 is thin: a launch has as few as 300 arrivals, of which 3 lie beyond it." in thin
    plenty = notes(analyse(build.blocked_run({1: [[1.0] * 1000] * 5})))
    assert not any("interval" in note or "p99" in note for note in plenty)


def test_a_single_launch_names_the_fastest_and_whether_its_slo_is_known(build: ModuleType) -> None:
    verdict = verdict_text(analyse(build.blocked_run({1: [[60.0] * 100], 2: [[9.0] * 100]})))
    assert verdict.startswith("pool_size 10 came out fastest, p95 9.00 ms (one launch, so no interval)")
    assert "Whether it meets the SLO (p95 at most 50 ms) is unclear" in verdict


def test_a_launch_in_which_nothing_was_sent_is_invalid(build: ModuleType) -> None:
    nothing = [build.segment(0, duration_s=10.0, rate_rps=1e-6)]  # a rate at which none may well come
    trials = [
        build.trial(build.cell(), 0, build.rows([]), sitting=0, segments=nothing),
        build.trial(build.cell(), 1, build.rows([1.0] * 9), sitting=1),
    ]
    report = analyse(build.run(trials))
    assert report.summary.cells[0].findings == ("nothing_sent",)
    assert "1 of 2 launches is invalid and feeds no figure: nothing_sent 1x." in notes(report)


def test_an_empty_run_says_that_nothing_is_measured(build: ModuleType) -> None:
    report = analyse(build.run([], [build.cell(1)], launches=3))
    assert report.summary.verdict.state == "nothing_complete"
    assert verdict_text(report) == "Nothing is measured yet: no launch is complete."
    assert all(table.empty for table in report.series.values())
