"""Counts become figures per request, of everything, of each endpoint and of each status; what is unknown stays so."""

from __future__ import annotations

import math
from types import ModuleType

import pandas as pd
import pytest

from harness.analyse.exact_counts import COUNTED, exact_of
from harness.domain.evidence import COUNT_COLUMNS, no_counts

ROWS = [
    # segment, method, route, status, requests, statements, transactions, checkouts, round_trips
    (1, "GET", "/heroes/{hero_id}", 200, 10, 10, 10.0, 10, 30.0),
    (2, "GET", "/heroes/{hero_id}", 200, 30, 30, 30.0, 30, 91.0),
    (2, "GET", "/heroes/{hero_id}", 404, 1, 2, 1.0, 1, 3.0),
    (2, "PATCH", "/heroes/{hero_id}", 200, 4, 12, 8.0, 8, 28.0),
    (2, "GET", "/rosters", 200, 2, 22, math.nan, 2, math.nan),
    (3, "GET", "/rosters", 200, 2, 22, 2.0, 2, 26.0),
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
        ("*", (98 / 49, math.nan, 53 / 49, math.nan)),
    ],
)
def test_what_a_request_takes(build: ModuleType, endpoint: str, per_request: tuple[float, ...]) -> None:
    exact = exact_of(frame(ROWS), [build.segment(number) for number in (1, 2, 3)])
    assert [exact[endpoint][f"{name}_per_request"] for name in COUNTED] == pytest.approx(per_request, nan_ok=True)


def test_only_the_segments_given_count(build: ModuleType) -> None:
    exact = exact_of(frame(ROWS), [build.segment(3)])
    assert set(exact) == {"*", "GET /rosters", "GET /rosters 200"}
    assert exact["*"]["round_trips_per_request"] == 13


def test_without_requests_there_is_nothing_to_say(build: ModuleType) -> None:
    assert exact_of(no_counts(), [build.segment(1)]) == exact_of(frame(ROWS), [build.segment(9)]) == {}
