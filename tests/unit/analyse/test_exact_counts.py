"""Counts become figures per request, of everything, of each endpoint and of each status; what is unknown stays so."""

from __future__ import annotations

import math
from types import ModuleType

import pandas as pd
import pytest

from harness.analyse.exact_counts import COUNTED, exact_of, taken_of
from harness.domain.gate import Histogram, Taken
from harness.domain.tables import COUNT_COLUMNS, no_counts

ROWS = [
    # segment, method, route, status, requests, statements, transactions, checkouts, round_trips, of them first uses,
    # fresh, alike
    (1, "GET", "/heroes/{hero_id}", 200, 10, 10, 10.0, 10, 30.0, 0, False, True),
    (2, "GET", "/heroes/{hero_id}", 200, 28, 28, 28.0, 28, 84.0, 0, False, True),
    (2, "GET", "/heroes/{hero_id}", 200, 1, 1, 1.0, 1, 4.0, 1, False, True),
    (2, "GET", "/heroes/{hero_id}", 200, 1, 1, 1.0, 1, 3.0, 0, True, True),
    (2, "GET", "/heroes/{hero_id}", 404, 1, 2, 1.0, 1, 3.0, 0, True, True),
    (2, "PATCH", "/heroes/{hero_id}", 200, 4, 12, 8.0, 8, 28.0, 0, False, True),
    (2, "GET", "/rosters", 200, 2, 22, math.nan, 2, math.nan, 0, False, True),
    (3, "GET", "/rosters", 200, 2, 22, 2.0, 2, 26.0, 0, False, True),
    (3, "GET", "/feed", 200, 2, 4, 2.0, 2, 8.0, 0, False, True),
    (3, "GET", "/feed", 200, 5, 99, 5.0, 5, 99.0, 0, False, False),
]


def frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COUNT_COLUMNS)).astype(dict(COUNT_COLUMNS))


@pytest.mark.parametrize(
    ("endpoint", "per_request"),
    [
        ("GET /heroes/{hero_id} 200", (1.0, 1.0, 1.0, 121 / 40)),
        ("GET /heroes/{hero_id} 404", (2.0, 1.0, 1.0, 3.0)),
        ("GET /heroes/{hero_id}", (42 / 41, 1.0, 1.0, 124 / 41)),
        ("PATCH /heroes/{hero_id}", (3.0, 2.0, 2.0, 7.0)),
        ("GET /rosters", (11.0, math.nan, 1.0, math.nan)),
        ("GET /feed 200", (103 / 7, 1.0, 1.0, 107 / 7)),
        ("*", (201 / 56, math.nan, 60 / 56, math.nan)),
    ],
)
def test_what_a_request_takes(build: ModuleType, endpoint: str, per_request: tuple[float, ...]) -> None:
    exact = exact_of(frame(ROWS), [build.segment(number) for number in (1, 2, 3)])
    assert [exact[endpoint][f"{name}_per_request"] for name in COUNTED] == pytest.approx(per_request, nan_ok=True)


def test_only_the_segments_given_count(build: ModuleType) -> None:
    exact = exact_of(frame(ROWS), [build.segment(3)])
    assert set(exact) == {"*", "GET /rosters", "GET /rosters 200", "GET /feed", "GET /feed 200"}
    assert exact["GET /rosters"]["round_trips_per_request"] == 13


@pytest.mark.parametrize(
    ("endpoint", "round_trips", "statements"),
    [
        ("GET /heroes/{hero_id} 200", (((3, 39),), ((3, 1),)), (((1, 39),), ((1, 1),))),  # without the first use
        ("GET /heroes/{hero_id} 404", ((), ((3, 1),)), ((), ((2, 1),))),
        ("PATCH /heroes/{hero_id} 200", (((7, 4),), ()), (((3, 4),), ())),
        ("GET /rosters 200", None, (((11, 4),), ())),  # the driver did not show it in every segment
        ("GET /feed 200", None, None),  # requests too unlike to be kept apart
        ("GET /heroes/{hero_id}", (((3, 39),), ((3, 2),)), (((1, 39),), ((1, 1), (2, 1)))),
    ],
)
def test_how_many_requests_took_how_many(
    build: ModuleType,
    endpoint: str,
    round_trips: tuple[Histogram, Histogram] | None,
    statements: tuple[Histogram, Histogram] | None,
) -> None:
    """Of requests that had no fresh connection, and of those that had."""
    found = taken_of(frame(ROWS), [build.segment(number) for number in (1, 2, 3)])[endpoint]
    for name, expected in (("round_trips", round_trips), ("statements", statements)):
        assert found.get(f"{name}_per_request") == (expected and Taken(used=expected[0], fresh=expected[1]))


def test_of_a_run_that_was_made_before_it_is_not_known(build: ModuleType) -> None:
    before = frame(ROWS).assign(fresh=math.nan, alike=math.nan, first_round_trips=math.nan)
    segments = [build.segment(number) for number in (1, 2, 3)]
    assert not any(taken_of(before, segments).values())
    pd.testing.assert_frame_equal(*(pd.DataFrame(exact_of(counts, segments)) for counts in (before, frame(ROWS))))


def test_without_requests_there_is_nothing_to_say(build: ModuleType) -> None:
    assert exact_of(no_counts(), [build.segment(1)]) == exact_of(frame(ROWS), [build.segment(9)]) == {}
