"""One latency an arrival: what tasks of one to several requests come to, against a plain reading of the definition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse import analyse
from harness.analyse.measured import Arrivals, Requests, arrivals_of, requests_of, rows_of
from harness.analyse.windows import loaded_segments, measured_segments, windows
from harness.domain.tables import OUTCOMES

MS = 1_000_000
SECOND = 1_000_000_000


def read(
    build: ModuleType, rows: pd.DataFrame, warmup_s: float = 1.0, load_s: float = 10.0
) -> tuple[Requests, Arrivals]:
    """What is made of the rows of a launch whose load clock shows wall time since START_NS."""
    segments = [
        build.segment(0, phase="warmup", start_s=0.0, duration_s=warmup_s),
        build.segment(1, start_s=warmup_s, duration_s=load_s - warmup_s),
    ]
    turns = [build.turn(0.0, load_s)]
    loaded, spans = windows(loaded_segments(segments), turns), windows(measured_segments(segments), turns)
    kept = rows_of(rows, loaded, spans)
    return requests_of(kept, {}), arrivals_of(kept, loaded, spans)


def task(
    build: ModuleType, number: int, at_ms: float, *requests: tuple[float, float], segment: int = 1, **changes: Any
) -> list[dict[str, Any]]:
    """The rows of one arrival: each request from when it was sent to when it was answered, in ms after it was due."""
    due_ns = build.START_NS + round(at_ms * MS)
    rows = []
    for sequence, (sent_ms, answered_ms) in enumerate(requests):
        sent_ns = due_ns + round(sent_ms * MS)
        rows.append(
            {
                "segment": segment,
                "arrival": number,
                "sequence": sequence,
                "intended_ns": sent_ns if sequence else due_ns,
                "handed_ns": sent_ns if sequence else due_ns,
                "started_ns": sent_ns,
                "finished_ns": due_ns + round(answered_ms * MS),
            }
            | changes
        )
    return rows


def test_an_arrival_lasts_from_its_intended_time_to_its_last_answer(build: ModuleType) -> None:
    one = task(build, 0, 2000, (0, 10))
    three = task(build, 1, 3000, (2, 12), (15, 40), (60, 75))
    requests, arrivals = read(build, build.request_rows(three[::-1] + one))
    assert sorted(arrivals.latency_ms) == [pytest.approx(10), pytest.approx(75)]
    assert sorted(requests.latency_ms) == pytest.approx([10, 12, 15, 25])  # a later request's counts from its send
    own = dict(zip(arrivals.latency_ms.round(), arrivals.own_ms, strict=True))
    assert own == {10: pytest.approx(0), 75: pytest.approx(2 + 3 + 20)}


def test_requests_side_by_side_take_the_time_of_the_longest(build: ModuleType) -> None:
    both = task(build, 0, 2000, (5, 30), (5, 90), (10, 20), (100, 110))
    _, arrivals = read(build, build.request_rows(both))
    assert arrivals.latency_ms.tolist() == [pytest.approx(110)]
    assert arrivals.own_ms.tolist() == [pytest.approx(5 + 10)]  # before the first, and between 90 and 100


def test_requests_of_a_task_begun_in_the_warm_up_are_requests_but_no_arrival(build: ModuleType) -> None:
    whole = task(build, 0, 2000, (0, 10), (10, 20))
    begun_before = task(build, 7, 900, (0, 10), (200, 260), (300, 390), segment=0)
    for row in begun_before[1:]:
        row["segment"] = 1
    requests, arrivals = read(build, build.request_rows(whole + begun_before))
    assert sorted(requests.latency_ms[requests.measured]) == pytest.approx([10, 10, 60, 90])
    assert arrivals.latency_ms[arrivals.measured].tolist() == [pytest.approx(20)]
    assert arrivals.latency_ms[~arrivals.measured].tolist() == [pytest.approx(10)], "the task is the warm-up's"


def test_a_sample_around_requests_is_not_at_the_service_beside_them(build: ModuleType) -> None:
    rows = task(build, 0, 2000, (5, 30), (0, 40))
    rows[1]["endpoint"] = "sample: manual both"
    requests, arrivals = read(build, build.request_rows(rows))
    assert requests.at_service.tolist() == [name != "sample: manual both" for name in by_endpoint(requests)]
    assert arrivals.latency_ms.tolist() == [pytest.approx(40)]
    alone, _ = read(build, build.request_rows(rows[1:]))
    assert alone.at_service.all(), "where the scenario sends nothing else, its samples are what it sends"


def by_endpoint(requests: Requests) -> list[str]:
    return [requests.endpoints[code] for code in requests.endpoint]


def test_one_failed_request_fails_its_arrival(build: ModuleType) -> None:
    rows = task(build, 0, 2000, (0, 10), (10, 20)) + task(build, 1, 3000, (0, 10), (10, 20))
    rows[1] |= {"outcome": "error", "status": 503}
    requests, arrivals = read(build, build.request_rows(rows))
    assert sorted(arrivals.latency_ms) == [pytest.approx(20), math.inf]
    assert arrivals.answered.tolist() == [True, True]  # badly, but it was answered
    assert int(np.isinf(requests.latency_ms).sum()) == 1


def test_a_task_that_raises_has_failed_with_all_its_answers(build: ModuleType) -> None:
    """The generator writes what a task raised as a row without an endpoint: no client call, and nothing to answer."""
    rows = task(build, 0, 2000, (0, 10), (11, 11))
    rows[1] |= {"endpoint": "", "outcome": "error", "status": 0, "error": "KeyError"}
    requests, arrivals = read(build, build.request_rows(rows))
    assert arrivals.latency_ms.tolist() == [math.inf]
    assert arrivals.answered.tolist() == [True]
    assert requests.answered.tolist() == [True, False]
    assert requests.sent.tolist() == [True, False]


def test_dropped_and_unfinished_arrivals_are_infinitely_slow(build: ModuleType) -> None:
    never = {"handed_ns": -1, "started_ns": -1, "finished_ns": -1, "status": 0, "endpoint": ""}
    rows = task(build, 0, 2000, (0, 0), outcome="dropped", **never)
    rows += task(build, 1, 3000, (0, 10), (12, 12))
    rows[-1] |= {"outcome": "unfinished", "finished_ns": -1, "status": 0}
    _, arrivals = read(build, build.request_rows(rows))
    assert arrivals.latency_ms.tolist() == [math.inf, math.inf]
    assert {OUTCOMES[place] for place in arrivals.outcome} == {"dropped", "unfinished"}
    assert not arrivals.answered.any()
    assert np.isnan(arrivals.own_ms).all()


def test_a_task_that_sends_nothing_is_neither_success_nor_failure(build: ModuleType) -> None:
    rows = task(build, 0, 2000, (0, 0.2), endpoint="") + task(build, 1, 3000, (0, 10))
    for more in ([], task(build, 2, 4000, (0, 10), (10, 20))):
        _, arrivals = read(build, build.request_rows(rows + more))
        assert (len(arrivals.latency_ms), arrivals.empty) == (1 + bool(more), 1)
    in_warmup = task(build, 0, 500, (0, 0.2), endpoint="", segment=0)
    assert read(build, build.request_rows(in_warmup))[1].empty == 0


def test_failures_are_shares_of_arrivals_and_not_diluted_by_rows(build: ModuleType) -> None:
    """Tasks of five requests, one arrival in ten dropped: 1 row in 46 failed, but one user in ten."""
    rows: list[dict[str, Any]] = []
    for number in range(100):
        if number % 10 == 9:
            rows.append({"outcome": "dropped", "handed_ns": -1, "started_ns": -1, "finished_ns": -1, "endpoint": ""})
            rows[-1] |= {"sequence": 0, "intended_ns": build.START_NS + number * 20 * MS, "status": 0}
        else:
            rows += task(build, number, number * 20, *((2 * step, 2 * step + 1) for step in range(5)), segment=0)
    table = build.request_rows([{"segment": 0} | row for row in rows])
    (summary,) = analyse(build.run([build.trial(build.cell(), 0, table)])).summary.cells
    figures = summary.all
    assert (figures.requests, figures.dropped) == (100, 10)
    assert figures.error_rate == pytest.approx(0.1)
    assert figures.p50_ms.value == pytest.approx(9)
    assert figures.p90_ms.value == pytest.approx(9)  # 90 of 100 were served: the 90th smallest is one of them
    assert figures.p95_ms.value == figures.p99_ms.value == math.inf
    (endpoint,) = summary.endpoints
    assert (endpoint.requests, endpoint.p50_ms.value) == (460, pytest.approx(1))  # the dropped are attributed to it


def test_more_than_a_tenth_dropped_is_infinite_from_p90_on(build: ModuleType) -> None:
    rows = [row for number in range(89) for row in task(build, number, number * 20, (0, 1), (1, 2), segment=0)]
    table = pd.concat(
        [
            build.request_rows(rows),
            build.rows([math.inf] * 11, outcome="dropped", every_ms=20.0, start_ns=build.START_NS + 1780 * MS),
        ],
        ignore_index=True,
    )
    figures = analyse(build.run([build.trial(build.cell(), 0, table)])).summary.cells[0].all
    assert figures.p50_ms.value == pytest.approx(2)
    assert figures.p90_ms.value == figures.p95_ms.value == figures.p99_ms.value == math.inf


def test_answers_are_counted_when_they_come(build: ModuleType) -> None:
    """One permit that answers 64/s, offered 150/s: 64/s were carried, however many were answered in the end."""
    offered = np.arange(1500)
    sent_ms = offered * 1000 / 150
    answered_ms = np.maximum.accumulate((offered + 1) * 1000 / 64)
    rows = build.rows(answered_ms - sent_ms, every_ms=1000 / 150)
    (summary,) = analyse(build.run([build.trial(build.cell(), 0, rows)])).summary.cells
    assert summary.all.carried_rps == pytest.approx(64, rel=0.01)
    assert summary.all.achieved_rps == pytest.approx(64, rel=0.01)
    assert summary.all.goodput_rps < 1  # only the first few came within the SLO's 50 ms
    assert summary.all.error_rate == 0


def test_answers_of_warm_up_arrivals_count_where_they_come(build: ModuleType) -> None:
    """A backlog from the warm-up is worked off in the measurement, which carries it, but has not its latencies."""
    early = task(build, 0, 900, (0, 600), segment=0)
    late = task(build, 1, 9900, (0, 600))
    requests, arrivals = read(build, build.request_rows(early + late))
    assert arrivals.measured.tolist() == [False, True]
    assert arrivals.came.tolist() == requests.came.tolist() == [True, False]


# What follows reads random rows by the definition, one after the other and without an array.

ENDED = ("ok", "error", "timeout")


@st.composite
def arrival_rows(draw: st.DrawFn, number: int) -> list[dict[str, Any]]:
    """One arrival of up to four requests, of any outcome, that it sends one after another or side by side."""
    start_ms = draw(st.integers(0, 9_000))
    common = {"segment": 0 if start_ms < 1000 else 1, "arrival": number, "status": 200, "task": "t"}
    due_ns = 5 * SECOND + start_ms * MS
    kind = draw(st.sampled_from(["dropped", "empty", "lost", "sent", "sent", "sent", "sent"]))
    if kind == "dropped":
        unsent = {"outcome": "dropped", "endpoint": "", "status": 0}
        times = {"intended_ns": due_ns, "handed_ns": -1, "started_ns": -1, "finished_ns": -1}
        return [common | unsent | times | {"sequence": 0}]
    handed_ns = due_ns + draw(st.integers(0, 3)) * MS
    sent_ns = handed_ns + draw(st.integers(0, 50)) * MS
    if kind in ("empty", "lost"):
        ended = {"outcome": "ok", "finished_ns": sent_ns} if kind == "empty" else {"outcome": "unfinished"}
        times = {"intended_ns": due_ns, "handed_ns": handed_ns, "started_ns": sent_ns, "finished_ns": -1}
        return [common | {"endpoint": "", "status": 0, "sequence": 0} | times | ended]
    rows: list[dict[str, Any]] = []
    for sequence in range(draw(st.integers(1, 4))):
        outcome = draw(st.sampled_from(["ok"] * 6 + ["error", "timeout", "unfinished"]))
        lasted_ns = draw(st.integers(0, 400)) * MS
        rows.append(
            common
            | {
                "sequence": sequence,
                "endpoint": draw(st.sampled_from(["GET /a", "GET /b"])),
                "outcome": outcome,
                "status": draw(st.sampled_from([0, 500])) if outcome == "error" else 200 * (outcome == "ok"),
                "intended_ns": sent_ns if sequence else due_ns,
                "handed_ns": sent_ns if sequence else handed_ns,
                "started_ns": sent_ns,
                "finished_ns": sent_ns + lasted_ns if outcome in ENDED else -1,
            }
        )
        sent_ns += draw(st.sampled_from([0, lasted_ns, lasted_ns + 7 * MS]))
    return rows


@st.composite
def launches(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = [row for number in range(draw(st.integers(1, 8))) for row in draw(arrival_rows(number))]
    return draw(st.permutations(rows))


def naively(rows: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[Any, ...]], int]:
    """(latency, own time, worst outcome, answered, came, measured) of each arrival, and how many were empty."""
    found, empty = [], 0
    for key in sorted({(row["segment"], row["arrival"]) for row in rows}):
        own = sorted((row for row in rows if (row["segment"], row["arrival"]) == key), key=lambda row: row["sequence"])
        outcomes = [row["outcome"] for row in own]
        if outcomes == ["ok"] and own[0]["endpoint"] == "":
            empty += key[0] == 1
            continue
        worst = max(outcomes, key=OUTCOMES.index)
        last_ns = max(row["finished_ns"] for row in own)
        latency_ms = (last_ns - own[0]["intended_ns"]) / MS if worst == "ok" else math.inf
        answered = all(row["outcome"] == "ok" or (row["outcome"] == "error" and row["status"] > 0) for row in own)
        came = 6 * SECOND <= last_ns <= 15 * SECOND
        own_ms = math.nan
        if answered:  # every millisecond since it was handed over in which no request was under way
            busy = [(row["started_ns"] // MS, row["finished_ns"] // MS) for row in own]
            own_ms = 1.0 * sum(
                not any(start <= ms < end for start, end in busy)
                for ms in range(own[0]["handed_ns"] // MS, last_ns // MS)
            )
        found.append((latency_ms, own_ms, worst, answered, came, key[0] == 1))
    return found, empty


@given(rows=launches())
def test_arrivals_are_what_a_plain_reading_makes_of_the_rows(build: ModuleType, rows: list[dict[str, Any]]) -> None:
    _, arrivals = read(build, build.request_rows(rows))
    seen = [
        (float(latency_ms), float(own_ms), OUTCOMES[outcome], bool(answered), bool(came), bool(measured))
        for latency_ms, own_ms, outcome, answered, came, measured in zip(
            arrivals.latency_ms,
            arrivals.own_ms,
            arrivals.outcome,
            arrivals.answered,
            arrivals.came,
            arrivals.measured,
            strict=True,
        )
    ]
    expected, empty = naively(rows)
    assert arrivals.empty == empty
    assert sorted(map(repr, seen)) == sorted(map(repr, expected))
