"""What other pools would come to, in words and rows."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, get_args

import pytest
from rich.console import Console

from harness.domain.prediction import Curve, Point, Prediction, Setting, Slowed, WhyDeclined
from harness.domain.strict_json import strict_json
from harness.present.numbers import UNKNOWN
from harness.present.prediction_text import (
    curve_texts,
    curve_title,
    parted_text,
    predict_dict,
    predict_page,
    size_rows,
)

SETTING = Setting(pool_size=4, max_overflow=0, pool_timeout_s=30.0, rate_rps=60.0, rtt_ms=0.0, workers=1)
TOLD = Prediction(
    setting=SETTING,
    wait_ms_p95=12.0,
    latency_ms_p95=40.0,
    failed=0.02,
    in_use=1.2,
    hold_ms={"database": 15.0, "distance": 0.0, "loop": 5.0},
    outside_ms=2.0,
    cpu=0.2,
    erlang_wait_ms_p95=17.0,
)
POINT = Point(
    cell_id="c1",
    label="pool_size 4",
    predicted=TOLD,
    is_source=False,
    wait_ms_p95=14.0,
    latency_ms_p95=66.0,
    failed=0.0,
    slowed="loop",
    by_ms=3.0,
)


def curve(**changes: Any) -> Curve:
    values: dict[str, Any] = {
        "setting": SETTING,
        "factors": (),
        "source": "pool_size 10",
        "declined": None,
        "predicted": (TOLD,),
        "points": (POINT,),
    }
    return Curve(**(values | changes))


def test_a_title_is_the_load_and_what_else_its_cells_have_in_common() -> None:
    assert curve_title(curve()) == "60/s"
    far = replace(SETTING, rate_rps=1234.5, rtt_ms=2.5, workers=3)
    assert curve_title(curve(setting=far, factors=(("target.driver", "psycopg"),))) == (
        "1234.5/s, driver psycopg, 3 workers, 2.5 ms away"
    )


def test_a_curve_says_what_it_rests_on_and_where_it_parted_from_what_was_measured() -> None:
    rests, parted = curve_texts(curve())
    assert rests == (
        "From the requests of pool_size 10: a hold takes 20 ms (15 ms database + 5 ms the service itself). By Little's "
        "law 1.20 connections are out on average, so that it takes a pool of more than 1.20."
    )
    assert parted == (
        "pool_size 4 has a p95 of 66.0 ms where 40.0 was predicted: in the service itself (its own work, its event "
        "loop, its CPU) its holds were 3 ms longer."
    )
    two = replace(TOLD, setting=replace(SETTING, workers=2), hold_ms={"database": 15.0, "distance": 6.0, "loop": 5.0})
    (text,) = curve_texts(curve(predicted=(two,), points=(), setting=two.setting))
    assert "(15 ms database + 6 ms distance + 5 ms the service itself)" in text
    assert text.endswith("so that it takes a pool of more than 0.600 in each worker.")


@pytest.mark.parametrize(
    ("slowed", "by_ms", "why"),
    [
        (None, math.nan, ""),
        ("database", -2.0, "in the database its holds were 2 ms shorter."),
        ("outside", 9.5, "what its requests take beside wait and hold was 9.5 ms longer."),
        ("spread", math.nan, "its holds were as long on average, but others were the long ones."),
        ("cpu", math.nan, "a worker used more than 70 % of its core, so that its requests waited for the CPU."),
        (
            "queue",
            math.nan,
            "its own requests, sent through its pool once more, come to 44.0 ms: it is the queue that went otherwise.",
        ),
    ],
)
def test_why_a_cell_is_not_as_predicted(slowed: Slowed | None, by_ms: float, why: str) -> None:
    assert parted_text(replace(POINT, slowed=slowed, by_ms=by_ms, again_ms=44.0)).endswith(why)


DECLINED: dict[WhyDeclined, str] = {
    "closed": "users wait for each other's answers, so that who comes when depends on the pool; "
    'load.model = "open" has arrivals of their own',
    "no_probe": "how long its requests held connections was not seen; that takes the probe, in a service that is "
    "started here",
    "no_pool": "each of its processes would have to have one engine, whose pool keeps connections and has a limit",
    "pgbouncer": "PgBouncer has a queue of its own, which nobody sees",
    "several_requests": "its tasks send several requests, and when the later ones come depends on the answers",
    "several_connections": "its requests take connections several times, several at once, or do not give them back",
    "blocking": "its driver stops the event loop while it waits, so that requests queue for that",
    "threads": "with as many connections as threads requests queue for a thread (target.threadpool_tokens)",
    "failing": "more than 1 % of its requests failed",
    "saturated": "it was offered more than it could carry; measure a larger pool or a lower rate",
    "worker_cpu": "above 70 % CPU of a worker it is the wait for the CPU that decides",
    "one_load": "one load was measured, and how a hold grows with another is not known; measure at least two "
    "(load.rate_rps in the matrix)",
    "outside_loads": "it lies outside of the loads of a worker that were measured",
    "round_trips": "its driver does not show how many round trips a hold has",
    "dials": "it would open connections under load, and how long that takes was not seen; measure a pool with overflow",
}


def test_every_reason_to_decline_has_its_words_and_they_are_said_once() -> None:
    assert set(DECLINED) == set(get_args(WhyDeclined))
    for why, words in DECLINED.items():
        said = [f"Nothing is predicted: {words}."]
        assert list(curve_texts(curve(declined=why, predicted=(), points=()))) == said
        each = tuple(Prediction(setting=SETTING, declined=why) for _ in range(3))
        assert list(curve_texts(curve(predicted=each, points=()))) == said


def test_sizes_that_are_declined_beside_others_are_named() -> None:
    refused = tuple(Prediction(setting=replace(SETTING, pool_size=size), declined="threads") for size in (40, 50))
    (_, told) = curve_texts(curve(predicted=(TOLD, *refused), points=()))
    assert told == f"Nothing is predicted of pool_size 40, 50: {DECLINED['threads']}."


def test_rows_have_what_was_measured_beside_what_was_predicted() -> None:
    other = replace(TOLD, setting=replace(SETTING, pool_size=2, max_overflow=1), latency_ms_p95=math.inf)
    refused = Prediction(setting=replace(SETTING, pool_size=5), declined="threads")
    rows = size_rows(curve(predicted=(TOLD, other, refused), points=(replace(POINT, is_source=True),)))
    assert [(row.size, row.latency, row.measured, row.used, row.note) for row in rows] == [
        ("2 + 1", "∞", UNKNOWN, "40 %", ""),
        ("4", "40.0", "66.0", "30 %", "the source"),
        ("5", UNKNOWN, UNKNOWN, UNKNOWN, "declined: threads"),
    ]


def test_terminal_and_json_have_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    for line in predict_page([curve()]):
        Console(width=120).print(line)
    out = capsys.readouterr().out
    assert "Erlang C" in out
    assert "40.0" in out
    told = json.loads(strict_json(predict_dict([curve()])))
    (own,) = told["curves"]
    assert (own["title"], own["predicted"][0]["utilisation"], own["measured"][0]["slowed"]) == ("60/s", 0.3, "loop")
