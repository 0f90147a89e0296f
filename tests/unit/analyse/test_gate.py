"""Whether the head is worse, rule by rule; how often a gate is wrong, tests/simulation/test_gate_jobs.py says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from jobs import CELLS, figures, lognormal, outcome, run_job

from harness.analyse.gate import blocks_wanted, judge
from harness.analyse.judges import judges_of
from harness.analyse.statistical_rule import FIRST_BLOCKS
from harness.domain.experiment import Gate, Rule
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figures, GateVerdict, Histogram, RuleVerdict
from harness.domain.strategy import Outcome
from harness.errors import UsageError


def test_a_stage_grows_with_the_noise_and_ends_where_its_time_does() -> None:
    quiet, noisy = (run_job(lognormal(3, noise=noise))[0].blocks for noise in (0.01, 0.12))
    assert (quiet, noisy) == (FIRST_BLOCKS, 11)


def test_how_many_launches_a_stage_takes_knows_nothing_of_the_effect() -> None:
    for seed in range(20):
        same, slower = (
            [
                outcome(arm, block, draw(arm, block))
                for draw in [lognormal(seed, noise=0.05, effect=effect)]
                for block in range(1, 6)
                for arm in CELLS
            ]
            for effect in (0.0, 0.5)
        )
        wanted = [judge(Gate(), found, most=11).blocks for found in (same, slower)]
        needed = [blocks_wanted(Gate(primary="p95_ms"), found, 11) for found in (same, slower)]
        assert wanted == [5, 5]
        assert needed[1] in {needed[0], 2 * FIRST_BLOCKS if needed[0] == FIRST_BLOCKS else needed[0]}


def blocks(
    base: Sequence[Figures], again: Sequence[Figures], head: Sequence[Figures], *, first: int = 1
) -> list[Outcome]:
    sides = {BASE: base, BASE_AGAIN: again, HEAD: head}
    return [outcome(arm, block, own) for arm, side in sides.items() for block, own in enumerate(side, start=first)]


def of(verdict: GateVerdict, metric: str, endpoint: str = "*") -> RuleVerdict:
    (found,) = (own for own in verdict.rules if (own.metric, own.endpoint) == (metric, endpoint))
    return found


def steady(value: float, count: int = 5, **more: object) -> list[Figures]:
    """Launches of which each differs a little from the next."""
    return [figures(value * (1 + 0.001 * (number % 3)), **more) for number in range(count)]  # type: ignore[arg-type]


def test_an_alarm_needs_fresh_launches_to_confirm_it() -> None:
    alarm = blocks(steady(20), steady(20), steady(30))
    assert blocks_wanted(Gate(), alarm, 5) == 10
    unconfirmed = judge(Gate(), alarm, most=5)
    assert (unconfirmed.verdict, unconfirmed.primary.why, unconfirmed.alarm) == ("inconclusive", "unconfirmed", True)
    gone = judge(Gate(), [*alarm, *blocks(steady(20), steady(20), steady(20), first=6)], most=5)
    assert (gone.verdict, gone.fresh_blocks) == ("equivalent", 5)
    again = judge(Gate(), [*alarm, *blocks(steady(20), steady(20), steady(30), first=6)], most=5)
    assert (again.verdict, round(again.primary.effect, 2)) == ("regressed", 0.5)


def test_the_effect_that_is_told_is_that_of_the_fresh_launches() -> None:
    found = judge(
        Gate(),
        [*blocks(steady(20), steady(20), steady(40)), *blocks(steady(20), steady(20), steady(25), first=6)],
        most=5,
    )
    assert round(found.primary.effect, 2) == 0.25


def test_a_change_within_the_margin_is_none_however_surely_it_is_seen() -> None:
    found = judge(Gate(margin="10%"), blocks(steady(20), steady(20), steady(21)), most=5)
    assert (found.verdict, found.alarm) == ("equivalent", False)
    assert judge(Gate(margin="4%"), blocks(steady(20), steady(20), steady(21)), most=5).alarm


def test_what_the_instrument_may_have_added_decides_nothing() -> None:
    head = steady(22, raised=0.2)
    found = judge(Gate(margin="2%"), blocks(steady(20), steady(20), head), most=5)
    assert (found.verdict, found.primary.why) == ("inconclusive", "instrument")


def test_the_way_to_the_service_is_common_to_both_sides() -> None:
    sides = blocks(steady(20, leg=0.3), steady(20, leg=0.3), steady(30, leg=0.3))
    assert judge(Gate(), sides, most=5).alarm


def test_with_fewer_than_five_launches_no_clock_is_judged_and_every_count_is() -> None:
    same, more = {"GET /a 200": 2.0}, {"GET /a 200": 3.0}
    sides = blocks(steady(20, 2, statements=same), steady(20, 2, statements=same), steady(90, 2, statements=more))
    found = judge(Gate(), sides, most=2)
    assert (found.primary.verdict, found.primary.why) == ("inconclusive", "too_few_launches")
    assert of(found, "statements_per_request", "GET /a 200").verdict == "regressed"
    assert found.verdict == "regressed"


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        ([2.0] * 5, [2.0] * 5, "equivalent"),
        ([2.0] * 5, [3.0] * 5, "regressed"),
        ([2.0] * 5, [2.01] * 5, "regressed"),
        ([2.0] * 5, [2.0, 2.0, 3.0, 3.0, 3.0], "equivalent"),
        ([2.0] * 5, [1.0] * 5, "improved"),
        ([2.0, 2.1, 2.2, 2.0, 2.1], [2.1, 2.0, 2.2, 2.0, 2.1], "inconclusive"),
        ([2.0, 2.1, 2.2, 2.0, 2.1], [3.1, 3.0, 3.2, 3.0, 3.1], "inconclusive"),
    ],
)
def test_exact_counts(base: list[float], head: list[float], expected: str) -> None:
    counted = [[figures(20, statements={"GET /a 200": value}) for value in side] for side in (base, base, head)]
    found = of(judge(Gate(), blocks(*counted), most=5), "statements_per_request", "GET /a 200")
    assert found.verdict == expected


def test_counts_that_differ_from_launch_to_launch_need_fresh_launches_too() -> None:
    base = [figures(20, statements={"GET /a 200": value}) for value in (2.0, 2.1, 2.2, 2.0, 2.1)]
    head = [figures(20, statements={"GET /a 200": value}) for value in (3.0, 3.1, 3.2, 3.0, 3.1)]
    alarm = blocks(base, base, head)
    assert blocks_wanted(Gate(), alarm, 5) == 10
    for fresh, expected in ((head, "regressed"), (base, "inconclusive")):
        found = judge(Gate(), [*alarm, *blocks(base, base, fresh, first=6)], most=5)
        assert of(found, "statements_per_request", "GET /a 200").verdict == expected


def test_of_counts_that_differ_from_launch_to_launch_four_of_each_side_say_nothing() -> None:
    base = [figures(20, statements={"GET /a 200": value}) for value in (2.0, 2.1, 2.2, 2.0)]
    head = [figures(20, statements={"GET /a 200": value}) for value in (3.0, 3.1, 3.2, 3.0)]
    sides = blocks(base, base, head)
    assert blocks_wanted(Gate(), sides, 4) == 4
    found = of(judge(Gate(), sides, most=4), "statements_per_request", "GET /a 200")
    assert (found.verdict, found.why) == ("inconclusive", "too_few_launches")


def test_in_one_launch_a_rare_second_statement_is_not_told_from_chance() -> None:
    base, head = ([figures(20, statements={"GET /a 200": value})] for value in (1.0, 1.003))
    assert judge(Gate(), blocks(base, base, head), most=1).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("count", "base", "again", "head", "expected"),
    [
        (1, ((2, 30),), ((2, 30),), ((3, 30),), ("regressed", "", 1.0)),
        (1, ((2, 30),), ((2, 30),), ((2, 20), (3, 10)), ("regressed", "", 1 / 3)),
        (1, ((2, 30),), ((2, 30),), ((2, 29), (3, 1)), ("inconclusive", "too_few_launches", None)),
        (4, ((2, 30),), ((2, 30),), ((2, 29), (3, 1)), ("inconclusive", "too_few_launches", None)),
        (5, ((2, 30),), ((2, 30),), ((2, 29), (3, 1)), ("regressed", "", None)),
        (1, ((2, 3),), ((2, 3),), ((3, 3),), ("inconclusive", "too_few_launches", None)),
        (2, ((2, 3),), ((2, 3),), ((3, 3),), ("regressed", "", 1.0)),
        (1, ((2, 30),), ((2, 30),), ((2, 28),), ("equivalent", "", None)),
        (1, ((2, 30),), ((2, 30),), ((1, 30),), ("improved", "", None)),
        (1, ((2, 30),), ((2, 30),), ((1, 15), (3, 15)), ("regressed", "", 0.5)),
        (1, ((2, 60),), ((2, 60),), ((1, 2), (2, 56), (3, 2)), ("inconclusive", "too_few_launches", None)),
        (1, ((0, 60), (1, 40)), ((0, 55), (1, 45)), ((0, 50), (1, 50)), ("inconclusive", "too_few_launches", None)),
        (5, ((0, 60), (1, 40)), ((0, 55), (1, 45)), ((0, 50), (1, 50)), ("inconclusive", "unconfirmed", None)),
        (1, ((0, 60), (1, 40)), ((0, 55), (1, 45)), ((1, 60), (2, 40)), ("regressed", "", 0.975)),
    ],
)
def test_how_many_requests_take_how_many_says_it_at_once(
    count: int, base: Histogram, again: Histogram, head: Histogram, expected: tuple[str, str, float | None]
) -> None:
    counted = [[figures(20, took={"GET /a 200": side})] * count for side in (base, again, head)]
    found = of(judge(Gate(), blocks(*counted), most=count), "statements_per_request", "GET /a 200")
    assert (found.verdict, found.why, found.share) == (*expected[:2], expected[2] and pytest.approx(expected[2]))


def test_counts_that_follow_from_the_arrivals_are_equal_however_much_these_differ() -> None:
    """Each block has arrivals of its own, and requests that take one for each row."""
    taken = [{"GET /a 200": tuple((value + 7 * block, 1) for value in range(30))} for block in range(5)]
    more = [{"GET /a 200": tuple((value + 1, 1) for value, _ in own["GET /a 200"])} for own in taken]
    less = [{"GET /a 200": tuple((value - 1, 1) for value, _ in own["GET /a 200"])} for own in taken]
    for head, expected in ((taken, "equivalent"), (more, "regressed"), (less, "improved")):
        sides = [[figures(20, took=own) for own in side] for side in (taken, taken, head)]
        found = of(judge(Gate(), blocks(*sides), most=5), "statements_per_request", "GET /a 200")
        assert found.verdict == expected


def test_an_increase_that_is_sure_needs_no_fresh_launches_and_one_that_is_not_does() -> None:
    base = [figures(20, took={"GET /a 200": ((0, 60 - number), (1, 40 + number))}) for number in range(5)]
    again = [figures(20, took={"GET /a 200": ((0, 58 - number), (1, 42 + number))}) for number in range(5)]
    sure = [figures(20, took={"GET /a 200": ((1, 60), (2, 40))})] * 5
    doubtful = [figures(20, took={"GET /a 200": ((0, 50), (1, 50))})] * 5
    assert blocks_wanted(Gate(), blocks(base, again, sure), 5) == 5
    assert blocks_wanted(Gate(), blocks(base, again, doubtful), 5) == 10


@pytest.mark.parametrize("side", [0, 1, 2])
def test_where_one_launch_knows_only_the_mean_all_are_judged_by_it(side: int) -> None:
    known = [[figures(20, took={"GET /a 200": ((1, 90), (3, 10))})] * 3 for _ in range(3)]
    known[side][0] = figures(20, statements={"GET /a 200": 1.2})
    found = of(judge(Gate(), blocks(*known), most=3), "statements_per_request", "GET /a 200")
    assert (found.verdict, found.base, found.head) == ("equivalent", pytest.approx(1.2), pytest.approx(1.2))


def test_runs_measured_apart_are_held_against_each_other_as_a_whole() -> None:
    base = [figures(20, took={"GET /a 200": ((2, 30 + number),)}) for number in range(2)]
    head = [figures(20, took={"GET /a 200": ((3, 30),)})] * 3
    found = of(judge(Gate(), blocks(base, [], head), paired=False), "statements_per_request", "GET /a 200")
    assert (found.verdict, found.share) == ("regressed", 1.0)
    mixed = [figures(20, took={"GET /a 200": ((2, 30), (3, 30 * number))}) for number in (1, 2)]
    found = of(judge(Gate(), blocks(mixed, [], head), paired=False), "statements_per_request", "GET /a 200")
    assert found.verdict == "inconclusive"


def test_an_allowed_increase_is_none() -> None:
    base, head = ([figures(20, statements={"GET /a 200": value})] * 5 for value in (1.0, 2.0))
    gate = Gate(rule=(Rule(metric="statements_per_request", max_increase=1),))
    assert judge(gate, blocks(base, base, head), most=5).verdict == "equivalent"


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        ([0, 0, 0, 0, 1 / 3000], "equivalent"),
        ([0.02, 0.03, 0.02, 0.03, 0.02], "regressed"),
        ([0, 0, 0, 0.4, 0], "inconclusive"),
    ],
)
def test_failures_are_compared_as_shares_with_a_margin(failed: list[float], expected: str) -> None:
    head = [figures(20, error_rate=share) for share in failed]
    sides = [*blocks(steady(20), steady(20), head), *blocks(steady(20), steady(20), head, first=6)]
    assert of(judge(Gate(), sides, most=5), "error_rate").verdict == expected


def test_a_head_that_fails_has_regressed_and_is_not_invalid() -> None:
    head = [figures(math.inf, error_rate=0.6) for _ in range(5)]
    sides = [*blocks(steady(20), steady(20), head), *blocks(steady(20), steady(20), head, first=6)]
    found = judge(Gate(), sides, most=5)
    assert found.verdict == "regressed"
    assert math.isinf(found.primary.head)


def test_a_head_that_answers_hardly_anything_fails_at_once() -> None:
    for share, expected in ((0.6, "regressed"), (0.4, "inconclusive")):
        sides = blocks(steady(20, 1), steady(20, 1), [figures(math.inf, error_rate=share)])
        assert of(judge(Gate(), sides, most=1), "error_rate").verdict == expected
    many = blocks(steady(20), steady(20), [figures(math.inf, error_rate=0.9)] * 5)
    assert blocks_wanted(Gate(), many, 5) == 5
    both = [figures(math.inf, error_rate=0.9)] * 5
    assert judge(Gate(), blocks(both, both, both), most=5).verdict != "regressed"


@pytest.mark.parametrize(("limit", "expected"), [(100.0, "equivalent"), (10.0, "regressed"), (20.02, "inconclusive")])
def test_absolute_limits_are_the_heads_alone(limit: float, expected: str) -> None:
    gate = Gate(rule=(Rule(metric="p95_ms", max=limit),))
    found = judge(gate, blocks(steady(20), steady(20), steady(20)), most=5)
    (absolute,) = (own for own in found.rules if own.kind == "absolute")
    assert (absolute.verdict, absolute.limit) == (expected, limit)
    assert found.verdict == {"inconclusive": "inconclusive", "regressed": "regressed"}.get(expected, "equivalent")


def test_at_least_is_the_other_way_round() -> None:
    gate = Gate(rule=(Rule(metric="p95_ms", min=30.0),))
    assert judge(gate, blocks(steady(20), steady(20), steady(20)), most=5).verdict == "regressed"


def test_a_broken_instrument_leaves_its_launch_out_and_nothing_else() -> None:
    sides = blocks(steady(20), steady(20), [*steady(20, 4), figures(900)])
    spoilt = [*sides[:-1], replace(sides[-1], broken=("sampler_gap",))]
    found = judge(Gate(), spoilt, most=6)
    assert (found.blocks, found.primary.why) == (4, "too_few_launches")


def test_without_a_figure_on_one_side_nothing_is_judged() -> None:
    assert judge(Gate(), blocks(steady(20), steady(20), []), most=5).verdict == "invalid"


def test_two_sides_that_both_fail_are_not_alike() -> None:
    failing = [figures(math.inf, error_rate=0.3)] * 5
    found = judge(Gate(), blocks(failing, failing, failing), most=5)
    assert (found.verdict, found.primary.why) == ("invalid", "no_figure")
    side = [*failing[:2], *steady(20)]
    some = judge(Gate(), blocks(side, side, side))
    assert (some.primary.verdict, some.primary.why) == ("inconclusive", "both_failed")
    assert some.primary.base == pytest.approx(20, rel=0.01)
    worse = judge(Gate(), blocks(side, side, [*failing[:2], *steady(40)]))
    assert worse.verdict == "regressed", "what is left is enough for that: a failing base speaks for the head"


def test_fresh_launches_count_once_there_are_five_of_each_side() -> None:
    alarm = blocks(steady(20), steady(20), steady(30))
    found = judge(Gate(), [*alarm, *blocks(steady(20, 3), steady(20, 3), steady(20, 3), first=6)], most=5)
    assert (found.primary.why, round(found.primary.effect, 2)) == ("unconfirmed", 0.5)


def test_runs_measured_apart_are_judged_at_once_and_with_the_spread_of_each() -> None:
    sides = blocks(steady(20, 8), [], steady(30, 8))
    found = judge(Gate(), sides, paired=False)
    assert (found.verdict, found.fresh_blocks, found.noise) == ("regressed", 0, None)


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        (Gate(primary="p95"), "There is no metric 'p95'"),
        (Gate(rule=(Rule(metric="statement_per_request"),)), "There is no metric 'statement_per_request'"),
        (Gate(margin="ten"), 'The margin "ten" is no percentage'),
        (Gate(rule=(Rule(metric="p99_ms", max=5, min=1),)), "The rule for p99_ms has both max and min"),
        (Gate(rule=(Rule(metric="p99_ms", max_increase=1),)), "max_increase is of exact counts, and p99_ms is none"),
    ],
)
def test_rules_that_name_what_there_is_not(rule: Gate, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        judges_of(rule)


def test_all_statistical_rules_share_one_error_rate() -> None:
    draw = lognormal(1, noise=0.05)
    sides = [outcome(arm, block, draw(arm, block)) for block in range(1, 6) for arm in CELLS]
    one = judge(Gate(), sides, most=5).primary.smallest_visible
    rules = tuple(Rule(metric=name) for name in ("p50_ms", "p90_ms", "p99_ms"))
    several = judge(Gate(rule=rules), sides, most=5).primary.smallest_visible
    assert one is not None
    assert several is not None
    assert several > one
