"""By how much a late generator can have moved a launch's quantiles, against a queue worked out arrival by arrival.

The simulation knows when each arrival was due and what its service takes. Served on time, the queue gives the true
latencies; with arrivals handed over in bursts by a generator that stalls, it gives what would be measured.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lengths import length

from harness.analyse import analyse
from harness.analyse.arrays import Floats
from harness.analyse.compare import compare
from harness.analyse.estimate import quantile
from harness.analyse.lateness import lateness_bound_ns
from harness.analyse.launches import measure_launches
from harness.analyse.metrics import METRICS, compare_by
from harness.analyse.recommend import Candidate, recommend
from harness.domain.evidence import Context
from harness.domain.tables import GENERATOR_COLUMNS

NEVER_S = 1e9
BROKEN = Context(clock_uncertainty_ms=9.0)
"""An instrument that failed: nobody knows when anything was."""
SHARES = (0.5, 0.9, 0.95, 0.99)
MEASURE_S = 20.0


def bound_s(due_s: Floats, gone_s: Floats, late_s: Floats) -> Floats:
    """In seconds, to the nearest nanosecond."""
    due_ns, gone_ns, late_ns = (np.round(np.asarray(each) * 1e9).astype(np.int64) for each in (due_s, gone_s, late_s))
    return lateness_bound_ns(due_ns, gone_ns, late_ns) / 1e9


def departures_s(come_s: Floats, holds_s: Floats, permits: int) -> Floats:
    """When each leaves a queue that is served in the order of coming, `permits` at a time."""
    free_s = [0.0] * permits
    gone = []
    for come, hold in zip(come_s, holds_s, strict=True):
        begun = max(come, heapq.heappop(free_s))
        heapq.heappush(free_s, begun + hold)
        gone.append(begun + hold)
    return np.array(gone)


def handed_over_s(due_s: Floats, draws: np.random.Generator, *, stalls: int, stall_s: float) -> Floats:
    """A generator that stands still now and then, and is half a millisecond late otherwise."""
    handed = due_s + draws.uniform(0, 0.0005, size=len(due_s))
    for begun_s in draws.uniform(0, MEASURE_S, size=stalls):
        late = (handed >= begun_s) & (handed < begun_s + stall_s)
        handed[late] = begun_s + stall_s
    return np.maximum.accumulate(handed)


@pytest.mark.parametrize("permits", [1, 4])
@pytest.mark.parametrize("utilisation", [0.5, 0.8, 0.95])
def test_the_true_quantile_lies_within_the_bound_in_every_launch(permits: int, utilisation: float) -> None:
    outside, moved = 0, 0
    for launch in range(length(60, 15)):
        draws = np.random.default_rng(1000 * permits + launch)
        due_s = np.cumsum(draws.exponential(1 / 100, size=2000))
        due_s = due_s[due_s < MEASURE_S]
        holds_s = draws.exponential(permits * utilisation / 100, size=len(due_s))
        handed_s = handed_over_s(due_s, draws, stalls=20, stall_s=0.060)
        true_s = departures_s(due_s, holds_s, permits) - due_s
        gone_s = departures_s(handed_s, holds_s, permits)
        measured_s = gone_s - due_s
        least_s = np.maximum(measured_s - bound_s(due_s, gone_s, handed_s - due_s), 0.0)
        assert (true_s <= measured_s + 5e-9).all()
        assert (least_s <= true_s + 5e-9).all()
        for share in SHARES:
            low, true, high = (quantile(np.sort(each), share) for each in (least_s, true_s, measured_s))
            outside += not low - 5e-9 <= true <= high + 5e-9
            moved += high > 1.05 * true
    assert outside == 0
    assert moved > 0, "the stalls were felt, or nothing was tested"


@pytest.mark.parametrize("seed", range(5))
def test_one_stall_of_300_ms_in_20_s_is_no_reason_and_its_effect_lies_within_the_bound(
    build: ModuleType, seed: int
) -> None:
    """What was due meanwhile is sent at its end, and what was answered meanwhile is taken up then."""
    draws = np.random.default_rng(seed)
    due_s = np.sort(draws.uniform(0, MEASURE_S, size=2000))
    holds_s = draws.exponential(0.02, size=len(due_s))
    begun_s = draws.uniform(1, MEASURE_S - 1)

    def after_the_stall(at_s: Floats) -> Floats:
        return np.where((at_s >= begun_s) & (at_s < begun_s + 0.3), begun_s + 0.3, at_s)

    true_ms = np.sort(1000 * (departures_s(due_s, holds_s, 4) - due_s))
    handed_s = after_the_stall(due_s)
    answered_s = departures_s(handed_s, holds_s, 4)
    taken_s = after_the_stall(answered_s)

    def at_ns(at_s: Floats) -> Floats:
        return build.START_NS + np.round(at_s * 1e9).astype(np.int64)

    rows = build.rows(
        1000 * (taken_s - due_s),
        intended_ns=at_ns(due_s),
        handed_ns=at_ns(handed_s),
        started_ns=at_ns(handed_s),
        finished_ns=at_ns(taken_s),
        uptake_ns=at_ns(taken_s) - at_ns(answered_s),
    )
    seconds = range(round(MEASURE_S))
    generator = build.table(
        GENERATOR_COLUMNS,
        t_ns=[build.START_NS + build.SECOND * (second + 1) - 1 for second in seconds],
        cpu_share=0.3,
        stall_max_ms=[300.0 if second == int(begun_s) else 3.0 for second in seconds],
    )
    segments = [build.segment(0, duration_s=MEASURE_S)]
    evidence = replace(build.trial(build.cell(), 1, rows, segments=segments), generator=generator)
    (launch,) = measure_launches(build.run([evidence])).counted
    for share, least_ms, measured_ms in zip(SHARES, launch.all.least_ms, launch.all.quantiles_ms, strict=True):
        assert least_ms - 1e-5 <= quantile(true_ms, share) <= measured_ms + 1e-5
    assert launch.all.quantiles_ms[-1] > 1.2 * quantile(true_ms, 0.99), "the stall was felt, or nothing was tested"
    assert launch.all.quantiles_ms[-1] > 1.2 * launch.all.least_ms[-1]


def test_a_generator_that_is_on_time_has_moved_nothing() -> None:
    due_s = np.array([0.0, 1.0, 2.0])
    assert bound_s(due_s, np.array([0.5, 4.0, NEVER_S]), np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_lateness_counts_until_nothing_is_in_flight_and_not_before_it_happened() -> None:
    #                 alone   | pushes the next two   | everything is gone: alone
    due_s = np.array([0.0, 10.0, 10.5, 11.0, 20.0])
    gone_s = np.array([1.0, 12.0, 12.5, 13.0, 21.0])
    late_s = np.array([0.3, 0.0, 0.2, 0.1, 0.05])
    assert bound_s(due_s, gone_s, late_s).tolist() == pytest.approx([0.3, 0.0, 0.2, 0.2, 0.05])


def test_what_never_ended_keeps_the_launch_busy_for_good() -> None:
    found = bound_s(np.array([0.0, 100.0]), np.array([NEVER_S, 101.0]), np.array([0.4, 0.0]))
    assert found.tolist() == pytest.approx([0.4, 0.4])


def test_what_was_dropped_is_gone_at_once() -> None:
    found = bound_s(np.array([0.0, 1.0]), np.array([0.0, 1.5]), np.array([0.0, 0.1]))
    assert found.tolist() == pytest.approx([0.0, 0.1])


@given(
    st.lists(
        st.tuples(st.integers(0, 10), st.floats(0, 3), st.floats(0, 1)), max_size=10, unique_by=lambda own: own[0]
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_does_not_matter(arrivals: list[tuple[int, float, float]], random: object) -> None:
    shuffled = list(arrivals)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def bounds(some: list[tuple[int, float, float]]) -> dict[float, float]:
        due_s, there_s, late_s = np.array(some, dtype=float).reshape(-1, 3).T
        return dict(zip(due_s, bound_s(due_s, due_s + there_s, late_s), strict=True))

    one = bounds(arrivals)
    assert one == pytest.approx(bounds(shuffled), abs=1e-9)
    assert all(one[due] >= late - 1e-9 for due, _, late in arrivals)


def late_rows(build: ModuleType, late_ms: float, latency_ms: float = 20.0):  # type: ignore[no-untyped-def]
    """A launch whose every arrival was handed over that late; nothing queues."""
    rows = build.rows([latency_ms] * 200, every_ms=50.0)
    rows["handed_ns"] += round(late_ms * 1e6)
    return rows


def test_the_bound_of_a_launch_does_not_depend_on_which_others_are_kept(build: ModuleType) -> None:
    """A launch is left out for what its instrument did, never for the size of its interval."""
    late = [build.trial(build.cell(), block, late_rows(build, 4.0 * block), sitting=block) for block in range(3)]
    slow = build.trial(build.cell(), 3, late_rows(build, 3.0, 900.0), sitting=3)
    least_ms = [launch.all.least_ms for launch in measure_launches(build.run([*late, slow])).counted]
    assert [own[2] for own in least_ms] == pytest.approx([20.0, 16.0, 12.0, 897.0])
    invalid = build.trial(build.cell(), 3, late_rows(build, 3.0, 900.0), sitting=3, context=BROKEN)
    for kept in ([late[0], late[2]], [late[2], slow, late[0]], [*late, invalid]):
        for launch in measure_launches(build.run(kept)).counted:
            assert launch.all.least_ms == least_ms[launch.block]


def test_a_cell_shows_what_its_p95_is_at_least(build: ModuleType) -> None:
    trials = [build.trial(build.cell(), block, late_rows(build, 4.0), sitting=block) for block in range(3)]
    (cell,) = analyse(build.run(trials)).summary.cells
    assert cell.all.p95_ms.value == pytest.approx(20.0)
    assert cell.all.p95_bound_low_ms == pytest.approx(16.0)
    assert cell.late_p99_ms == pytest.approx(4.0)
    assert [endpoint.p95_bound_low_ms for endpoint in cell.endpoints] == pytest.approx([16.0])


LOGS = {
    "fast": {block: math.log(20.0) + noise for block, noise in enumerate((0.01, -0.01, 0.0))},
    "slow": {block: math.log(24.0) + noise for block, noise in enumerate((0.0, 0.01, -0.01))},
}


def test_the_instrument_widens_intervals_downwards_and_forbids_claims_within_it() -> None:
    exact, doubtful = compare(LOGS), compare(LOGS, instrument={"slow": math.log(24 / 18)})
    assert exact.pair("fast", "slow").told_apart
    pair = doubtful.pair("fast", "slow")
    assert not pair.told_apart, "the slow one's true figure may be 18"
    assert (exact.pair("fast", "slow").instrument, pair.instrument) == (False, True)
    assert doubtful.without_instrument().pair("fast", "slow") == exact.pair("fast", "slow")
    assert pair.ratio == exact.pair("fast", "slow").ratio
    assert pair.low == pytest.approx((exact.pair("fast", "slow").low or 0) * 18 / 24)
    assert pair.high == exact.pair("fast", "slow").high
    back = doubtful.pair("slow", "fast")
    assert back.high == pytest.approx((exact.pair("slow", "fast").high or 0) * 24 / 18)
    for bounds, was in (
        (doubtful.own("slow"), exact.own("slow")),
        (doubtful.one_sided("slow"), exact.one_sided("slow")),
    ):
        assert (bounds.value, bounds.high) == (was.value, was.high)
        assert bounds.low == pytest.approx((was.low or 0) * 18 / 24)
    assert doubtful.own("fast") == exact.own("fast")


def test_what_may_be_slower_may_be_so_by_the_others_bound_as_well() -> None:
    """The fast one's true figure may be lower than measured: the slow one is then slower by that much more."""
    exact, doubtful = compare(LOGS), compare(LOGS, instrument={"fast": math.log(20 / 16)})
    bound = exact.slowdown_at_most("slow", than="fast")
    assert bound is not None
    assert doubtful.slowdown_at_most("slow", than="fast") == pytest.approx((1 + bound) * 20 / 16 - 1)
    assert doubtful.slowdown_at_most("fast", than="slow") == exact.slowdown_at_most("fast", than="slow")


def test_what_the_launches_leave_open_is_not_the_instruments_doing() -> None:
    alike = {"one": LOGS["fast"], "other": {block: value + 0.001 for block, value in LOGS["fast"].items()}}
    pair = compare(alike, instrument={"other": math.log(2.0)}).pair("one", "other")
    assert (pair.told_apart, pair.instrument) == (False, False)


def test_a_recommendation_that_only_the_instrument_forbids_says_so() -> None:
    cells = [Candidate(cell_id="fast", size=5, eligible=True), Candidate(cell_id="slow", size=2, eligible=True)]
    assert recommend(cells, compare(LOGS), 0.3).recommended == "slow"
    doubt = {"fast": math.log(20 / 10), "slow": math.log(24 / 12)}
    found = recommend(cells, compare(LOGS, instrument=doubt), 0.3)
    assert (found.recommended, found.instrument) == (None, True)
    assert not recommend(cells, compare(LOGS), 0.3).instrument
    noisy = {cell: {block: value + (-1) ** block for block, value in logs.items()} for cell, logs in LOGS.items()}
    apart = {"fast": noisy["fast"], "slow": {block: -value for block, value in noisy["slow"].items()}}
    unclear = recommend(cells, compare(apart, instrument=doubt), 0.3)
    assert (unclear.recommended, unclear.instrument) == (None, False), "the launches show nothing either"


def test_an_slo_that_only_the_instrument_leaves_unclear_says_so(build: ModuleType) -> None:
    """Every launch took 60 ms where 50 are promised, of which the generator may have added 20."""

    def cell(late_ms: float):  # type: ignore[no-untyped-def]
        trials = [
            build.trial(build.cell(), block, late_rows(build, late_ms, 60.0), sitting=block) for block in range(3)
        ]
        (found,) = analyse(build.run(trials)).summary.cells
        return found

    assert (cell(20.0).slo, cell(20.0).slo_instrument) == ("unclear", True)
    assert (cell(0.0).slo, cell(0.0).slo_instrument) == ("not_met", False)


def test_launches_that_would_decide_are_none_where_the_instrument_leaves_it_open() -> None:
    noise = (0.1, -0.1, 0.0)
    noisy = {
        "fast": {block: math.log(20.0) + noise[block] for block in range(3)},
        "slow": {block: math.log(24.0) - noise[block] for block in range(3)},
    }
    assert compare(noisy).launches_until(["slow"], 0.3) is not None
    assert compare(noisy, instrument={"fast": math.log(1.2)}).launches_until(["slow"], 0.3) is None


def test_a_figure_that_may_be_the_generators_altogether_claims_nothing(build: ModuleType) -> None:
    one, two = build.cell(1), build.cell(2)
    trials = [build.trial(one, block, late_rows(build, 0.0, 20.0), sitting=block) for block in range(3)]
    trials += [build.trial(two, block, late_rows(build, 70.0, 60.0), sitting=10 + block) for block in range(3)]
    launches = measure_launches(build.run(trials)).counted
    pair = compare_by(METRICS["p95_ms"], launches).pair("c1", "c2")
    assert (pair.low, pair.told_apart) == (0.0, False)
    assert compare_by(METRICS["p95_ms"], launches).slowdown_at_most("c1", than="c2") is None, "by any amount"
    assert compare_by(METRICS["p95_ms"], launches).own("c2").low == 0.0
