"""Counts become figures per request, and what is unknown stays so."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from harness.analyse.exact_counts import per_request
from harness.domain.evidence import COUNT_COLUMNS, no_counts

ROWS = [
    # segment, method, route, status, requests, statements, transactions, checkouts, round_trips
    (1, "GET", "/heroes/{hero_id}", 200, 10, 10, 10.0, 10, 30.0),
    (2, "GET", "/heroes/{hero_id}", 200, 30, 30, 30.0, 30, 91.0),
    (2, "GET", "/heroes/{hero_id}", 404, 1, 1, 1.0, 1, 3.0),
    (2, "PATCH", "/heroes/{hero_id}", 200, 4, 12, 8.0, 8, 28.0),
    (2, "GET", "/rosters", 200, 2, 22, math.nan, 2, math.nan),
    (3, "GET", "/rosters", 200, 2, 22, 2.0, 2, 26.0),
]


def frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COUNT_COLUMNS)).astype(dict(COUNT_COLUMNS))


@pytest.mark.parametrize(
    ("endpoint", "status", "requests", "per_request_of_each"),
    [
        ("GET /heroes/{hero_id}", 200, 40, (1.0, 1.0, 1.0, 121 / 40)),
        ("GET /heroes/{hero_id}", 404, 1, (1.0, 1.0, 1.0, 3.0)),
        ("PATCH /heroes/{hero_id}", 200, 4, (3.0, 2.0, 2.0, 7.0)),
        ("GET /rosters", 200, 4, (11.0, math.nan, 1.0, math.nan)),
    ],
)
def test_what_a_request_takes(
    endpoint: str, status: int, requests: int, per_request_of_each: tuple[float, ...]
) -> None:
    table = per_request(frame(ROWS)).set_index(["endpoint", "status"])
    row = table.loc[(endpoint, status)]
    assert row["requests"] == requests
    names = ("statements", "transactions", "checkouts", "round_trips")
    assert [row[f"{name}_per_request"] for name in names] == pytest.approx(per_request_of_each, nan_ok=True)


def test_the_rows_given_are_the_rows_that_count() -> None:
    counts = frame(ROWS)
    table = per_request(counts[counts["segment"] == 2])
    assert list(table["requests"]) == [30, 1, 2, 4]


def test_without_requests_there_is_nothing_to_say() -> None:
    table = per_request(no_counts())
    assert len(table) == 0
    assert list(table.columns) == [
        "endpoint",
        "status",
        "requests",
        "statements_per_request",
        "transactions_per_request",
        "checkouts_per_request",
        "round_trips_per_request",
    ]
