"""What a claim comes to: against figures whose answer is known, and intervals made in another way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.special import stdtrit

from harness.analyse.claims import agreed, check_claim, settle
from harness.domain.claims import ClaimCell, Point, Recording, expected_of
from harness.domain.experiment import Claim, Design, Experiment
from harness.errors import UsageError

Launches = Mapping[str, Sequence[float]]
"""arm -> its launches"""


def recording(
    expect: str,
    figures: Launches | Mapping[str, Launches],
    *,
    raised: float = 0.0,
    leg: float = 0.0,
    requests: int = 1000,
    not_applied: Sequence[str] = (),
) -> Recording:
    """A claim about one metric, with its launches by arm, or by context and arm."""
    first = next(iter(figures.values()))
    contexts: Mapping[str, Launches] = figures if isinstance(first, Mapping) else {"": figures}  # type: ignore[assignment]
    metric = expected_of(Claim(expect=expect))[0].left
    cells = [
        ClaimCell(id=f"{context}/{arm}", arm=arm, context=context) for context, of in contexts.items() for arm in of
    ]
    points = [
        Point(
            cell=cell.id,
            block=block,
            metric=metric.metric,
            endpoint=metric.endpoint,
            value=value,
            raised=raised,
            leg=leg,
            requests=requests,
        )
        for cell in cells
        for block, value in enumerate(contexts[cell.context][cell.arm])
    ]
    return Recording(
        claim=Claim(number=1, expect=expect),
        name="claim-1",
        run_id="r",
        measured_utc="2026-11-27T12:00:00Z",
        seconds=60.0,
        launches=max(len(of) for own in contexts.values() for of in own.values()),
        cells=tuple(cells),
        points=tuple(points),
        not_applied=tuple(not_applied),
    )


SLOW, QUICK = [20.0, 21.0, 19.0, 20.5, 19.5], [10.0, 10.4, 9.7, 10.1, 9.9]


@pytest.mark.parametrize(
    ("expect", "figures", "answer"),
    [
        ("p95_ms(a) > 1.5 * p95_ms(b)", {"a": SLOW, "b": QUICK}, "confirmed"),
        ("p95_ms(a) > 2.5 * p95_ms(b)", {"a": SLOW, "b": QUICK}, "refuted"),
        ("p95_ms(a) > 2 * p95_ms(b)", {"a": SLOW, "b": QUICK}, "inconclusive"),
        ("p95_ms(a) < 2.5 * p95_ms(b)", {"a": SLOW, "b": QUICK}, "confirmed"),
        ("2 * p95_ms(a) > 3 * p95_ms(b)", {"a": SLOW, "b": QUICK}, "confirmed"),
        ("p95_ms(a) > 12", {"a": SLOW, "b": QUICK}, "confirmed"),
        ("p95_ms(a) < 12 and p95_ms(b) < 12", {"a": SLOW, "b": QUICK}, "refuted"),
        ("p95_ms(a) > 12 and p95_ms(b) < 12", {"a": SLOW, "b": QUICK}, "confirmed"),
        # exact counts have no noise: the figure is its interval, and "at least" takes it while "more than" does not
        ("statements_per_request(a) >= 3 * statements_per_request(b)", {"a": [3.0] * 3, "b": [1.0] * 3}, "confirmed"),
        ("statements_per_request(a) > 3 * statements_per_request(b)", {"a": [3.0] * 3, "b": [1.0] * 3}, "refuted"),
        ("round_trips_per_request(a) - round_trips_per_request(b) <= 1", {"a": [5.0] * 3, "b": [4.0] * 3}, "confirmed"),
        ("round_trips_per_request(a) - round_trips_per_request(b) < 1", {"a": [5.0] * 3, "b": [4.0] * 3}, "refuted"),
        # figures that may be 0 are compared by their difference
        ("connects_per_s(a) > connects_per_s(b)", {"a": [9.0, 10.0, 11.0], "b": [0.0] * 3}, "confirmed"),
        ("connects_per_s(a) - connects_per_s(b) > 20", {"a": [9.0, 10.0, 11.0], "b": [0.0] * 3}, "refuted"),
        ("error_rate(a) < 0.01", {"a": [0.0] * 3, "b": [0.5, 0.51, 0.49]}, "confirmed"),
        ("error_rate(b) > 0.3", {"a": [0.0] * 3, "b": [0.5, 0.51, 0.49]}, "confirmed"),
        ("error_rate(b) > 5 * error_rate(a)", {"a": [0.05, 0.06, 0.05], "b": [0.5, 0.51, 0.49]}, "confirmed"),
        ("error_rate(b) > 12 * error_rate(a)", {"a": [0.05, 0.06, 0.05], "b": [0.5, 0.51, 0.49]}, "inconclusive"),
        # a rate that is 0 has no ratio, and a difference all the same
        ("goodput_rps(a) > 0.6 * goodput_rps(b)", {"a": [0.0] * 3, "b": [50.0, 52.0, 51.0]}, "refuted"),
        ("goodput_rps(a) < 1", {"a": [0.0] * 3, "b": [50.0, 52.0, 51.0]}, "confirmed"),
        # contexts: both alike, one open, one of each
        ("p95_ms(a) > p95_ms(b)", {"near": {"a": SLOW, "b": QUICK}, "far": {"a": SLOW, "b": QUICK}}, "confirmed"),
        ("p95_ms(a) > p95_ms(b)", {"near": {"a": SLOW, "b": QUICK}, "far": {"a": QUICK, "b": QUICK}}, "inconclusive"),
        ("p95_ms(a) > p95_ms(b)", {"near": {"a": SLOW, "b": QUICK}, "far": {"a": QUICK, "b": SLOW}}, "depends"),
    ],
)
def test_what_figures_come_to(expect: str, figures: Mapping[str, Launches], answer: str) -> None:
    assert settle(recording(expect, figures)).answer == answer


def test_a_claim_that_depends_names_two_contexts() -> None:
    figures = {"near": {"a": SLOW, "b": QUICK}, "far": {"a": QUICK, "b": SLOW}}
    assert settle(recording("p95_ms(a) > p95_ms(b)", figures)).opposite == ("near", "far")


@pytest.mark.parametrize("figures", [{"a": SLOW, "b": QUICK}, {"a": QUICK, "b": SLOW}, {"a": QUICK, "b": [10.1] * 5}])
def test_the_interval_of_a_ratio_is_that_of_a_paired_t_test(figures: Launches) -> None:
    """Of two cells that share their blocks the fit is a paired t test, as any textbook has it."""
    (own,) = settle(recording("p95_ms(a) > 1.5 * p95_ms(b)", figures)).contexts
    logs = np.log(figures["a"]) - np.log(figures["b"])
    half = stdtrit(len(logs) - 1, 0.995) * logs.std(ddof=1) / math.sqrt(len(logs))
    judged, mean = own.judged[0], logs.mean()
    assert (judged.low, judged.high) == pytest.approx((math.exp(mean - half), math.exp(mean + half)), rel=1e-6)


def test_comparisons_and_contexts_share_one_percent() -> None:
    """Two contexts and two comparisons: a quarter of it each, with the freedom of four cells that are pooled."""
    figures = {context: {"a": SLOW, "b": QUICK} for context in ("x", "y")}
    settled = settle(recording("p95_ms(a) > 1.5 * p95_ms(b) and p95_ms(a) < 9 * p95_ms(b)", figures))
    cells = np.log([SLOW, QUICK, SLOW, QUICK])
    residuals = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0) + cells.mean()
    freedom = 3 * 4
    sd = math.sqrt((residuals**2).sum() / freedom * 2 / 5)
    half = stdtrit(freedom, 1 - 0.01 / 4 / 2) * sd
    for judged in (own for context in settled.contexts for own in context.judged):
        assert math.log(judged.high / judged.low) / 2 == pytest.approx(half, rel=1e-3)


def test_the_instruments_bound_leaves_a_comparison_open_and_is_named() -> None:
    judged = settle(recording("p95_ms(a) > 1.5 * p95_ms(b)", {"a": SLOW, "b": QUICK}, raised=0.5)).contexts[0].judged[0]
    assert (judged.holds, judged.why) == ("open", "instrument")
    assert settle(recording("p95_ms(a) > 1.5 * p95_ms(b)", {"a": SLOW, "b": QUICK}, leg=0.5)).answer == "confirmed", (
        "the way to the service is as long for both"
    )


def test_noise_says_how_many_launches_would_decide() -> None:
    judged = settle(recording("p95_ms(a) > 1.95 * p95_ms(b)", {"a": SLOW, "b": QUICK})).contexts[0].judged[0]
    assert (judged.holds, judged.why) == ("open", "noise")
    assert judged.launches_needed is not None
    assert 5 < judged.launches_needed < 50
    exactly = settle(recording("p95_ms(a) > 2 * p95_ms(b)", {"a": [20.0, 22.0, 20.0], "b": [10.0, 10.0, 11.0]}))
    assert exactly.contexts[0].judged[0].launches_needed is None, "no number of launches tells 2 from 2"


@pytest.mark.parametrize(("gain", "bound"), [(4.0, 1.0), (2.5, 1.0), (1.4, 1.0), (0.5, 1.0)])
def test_so_many_launches_are_needed_as_the_paired_t_test_has_it(gain: float, bound: float) -> None:
    """Three pairs with differences of a known mean and deviation: the first number of pairs for which t is enough."""
    sd, more = 2.0, 100.0
    values = {"a": [more + gain - sd, more + gain, more + gain + sd], "b": [more] * 3}
    (judged,) = settle(recording(f"connections_peak(a) - connections_peak(b) > {bound}", values)).contexts[0].judged
    half = {n: stdtrit(n - 1, 0.995) * sd / math.sqrt(n) for n in range(3, 1001)}
    assert judged.high - judged.value == pytest.approx(half[3])
    assert judged.holds == "open"
    assert judged.launches_needed == min(n for n, own in half.items() if own <= abs(gain - bound))


def test_no_share_of_requests_is_less_than_nothing() -> None:
    (judged,) = settle(recording("error_rate(a) < 0.2", {"a": [0.0, 0.01, 0.0]})).contexts[0].judged
    assert judged.low == 0.0
    assert judged.high > 0.03


def test_no_failure_in_few_requests_is_no_proof() -> None:
    none = {"a": [0.0] * 3}
    assert settle(recording("error_rate(a) < 0.01", none, requests=50)).answer == "inconclusive"
    assert settle(recording("error_rate(a) < 0.01", none, requests=2000)).answer == "confirmed"


@pytest.mark.parametrize("expect", ["error_rate(a) < 0.01", "error_rate(a) - error_rate(b) < 0.02"])
def test_requests_that_never_fail_need_so_many_launches_as_count_enough_of_them(expect: str) -> None:
    """Of n requests without a failure the share is below ln(200) / n at 99 %, of each side; 50 a launch, bound 0.01."""
    (judged,) = settle(recording(expect, {"a": [0.0] * 3, "b": [0.0] * 3}, requests=50)).contexts[0].judged
    assert judged.launches_needed == math.ceil(math.log(200) / 0.01 / 50)


@pytest.mark.parametrize(
    ("slow", "answer"),
    [([math.inf] * 5, "confirmed"), ([math.inf] * 4, "inconclusive"), ([math.inf] * 4 + [20.0], "inconclusive")],
)
def test_what_fails_has_no_ratio_unless_all_launches_of_one_side_do(slow: Sequence[float], answer: str) -> None:
    """All five of one side and none of the other are one order of the launches in 252."""
    settled = settle(recording("p95_ms(a) > p95_ms(b)", {"a": slow, "b": QUICK[: len(slow)]}))
    assert settled.answer == answer
    assert settled.contexts[0].judged[0].why == ("" if answer == "confirmed" else "failed")


@pytest.mark.parametrize(
    ("figures", "options", "why"),
    [
        ({"a": SLOW[:2], "b": QUICK[:2]}, {}, "few_launches"),
        ({"a": [*SLOW[:4], math.nan], "b": QUICK}, {}, "unknown"),
        ({"a": SLOW, "b": QUICK}, {"not_applied": ["/a"]}, "not_applied"),
    ],
)
def test_what_cannot_be_judged_says_why(figures: Launches, options: Mapping[str, Sequence[str]], why: str) -> None:
    settled = settle(recording("p95_ms(a) > p95_ms(b)", figures, **options))
    assert (settled.answer, settled.contexts[0].judged[0].why) == ("inconclusive", why)


@pytest.mark.parametrize(
    ("expect", "cause"),
    [
        ("", "no comparison"),
        ("p95_ms(a)", "no comparison"),
        ("__import__('os')", "no comparison"),
        ("p95_ms(a) > p95_ms(b) or p95_ms(a) > 1", "no comparison"),
        ("p95_ms(a) > 1; p95_ms(b) > 1", "no comparison"),
        ("p95_ms(a) - p95_ms(b) > p95_ms(a)", "no comparison"),
        ("p96_ms(a) > 1", "no metric 'p96_ms'"),
        ("p95_ms(c) > 1", "an arm 'c'"),
        ("p95_ms(a) > p50_ms(b)", "compares p95_ms of . with p50_ms of"),
        ("p95_ms(a) - p95_ms(b) > 1", "subtracts p95_ms"),
        ('p95_ms(a, "GET /x") > p95_ms(b)', r"compares p95_ms of GET /x with p95_ms of \\*"),
    ],
)
def test_an_expectation_that_cannot_be_judged_is_refused(expect: str, cause: str) -> None:
    experiment = Experiment(
        schema_version=1, name="x", arms={"a": {}, "b": {"pool.pool_size": 1}}, claim=Claim(number=1, expect=expect)
    )
    with pytest.raises(UsageError, match=cause):
        check_claim(experiment)


def test_fewer_than_three_launches_are_refused() -> None:
    experiment = Experiment(
        schema_version=1, name="x", arms={"a": {}}, claim=Claim(expect="p95_ms(a) > 1"), design=Design(launches=2)
    )
    with pytest.raises(UsageError, match="needs 3 launches"):
        check_claim(experiment)


def test_endpoints_may_have_any_name() -> None:
    (own,) = expected_of(Claim(expect='p99_ms(a, "GET /x and > y") >= 2.5 * p99_ms(b, "GET /x and > y")'))
    assert (own.left.endpoint, own.right and own.right.endpoint) == ("GET /x and > y",) * 2
    assert (own.greater, own.or_equal, own.right and own.right.factor) == (True, True, 2.5)


def test_runs_have_to_agree() -> None:
    assert agreed(["refuted", "refuted"]) == "refuted"
    assert agreed(["confirmed", "refuted"]) == "inconclusive"
    assert agreed(["confirmed", "inconclusive"]) == "inconclusive"
