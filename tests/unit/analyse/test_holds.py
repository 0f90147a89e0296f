"""What the probe counted of holds, by endpoint and over launches."""

from __future__ import annotations

import math
from types import ModuleType

import pandas as pd
import pytest

from harness.analyse.holds import holds_of, measured_holds, sites_of
from harness.domain.holds import HoldSite
from harness.domain.tables import HOLD_COLUMNS, SITE_COLUMNS, no_holds, no_sites

ROWS = [
    # segment, method, route, status, at once, requests, left, holds, on_loop, threads, statements, hold_s, ..., after_s
    (1, "GET", "/a", 200, 1, 10, 0, 10, 0, 3, 10, 1.0, 1.0, 0.0, 0.0),
    (2, "GET", "/a", 200, 1, 20, 0, 20, 0, 3, 60, 2.0, 0.5, 1.2, 2.0),
    (2, "GET", "/a", 500, 2, 5, 1, 9, 9, 3, 20, 1.0, 0.5, 0.1, 0.0),
    (2, "POST", "/a", 200, 1, 1, 0, 1, 0, 3, 1, 9.0, 9.0, 0.0, 1.0),
    (2, "PUT", "/a", 200, 1, 1, 1, 0, 0, 3, 0, 0.0, 0.0, 0.0, 0.0),
]


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=list(HOLD_COLUMNS)).astype(dict(HOLD_COLUMNS))


def test_endpoints_in_the_order_of_the_connections_that_they_have_out(build: ModuleType) -> None:
    launch = measured_holds(frame(), [build.segment(2)])
    post, get, put = holds_of([launch, launch], seconds=20.0)
    assert [own.endpoint for own in (post, get, put)] == ["POST /a", "GET /a", "PUT /a"]
    assert (get.requests, get.connections, get.left, get.holds, get.on_loop, get.threads) == (50, 2, 2, 58, 18, 12)
    assert get.seconds == pytest.approx({"query": 2.0, "idle_transaction": 2.6, "idle": 1.4, "after": 4.0})
    assert get.in_use == pytest.approx(0.5)
    assert get.hold_ms == pytest.approx(10_000 / 58)
    assert get.statements_per_hold == pytest.approx(160 / 58)
    assert get.share("after") == pytest.approx(0.4)


def test_who_gave_nothing_back_has_no_times(build: ModuleType) -> None:
    (*_, put) = holds_of([measured_holds(frame(), [build.segment(2)])], seconds=10.0)
    assert (put.left, put.in_use) == (1, 0)
    assert math.isnan(put.hold_ms)
    assert math.isnan(put.share("query"))


def test_without_holds_there_is_nobody(build: ModuleType) -> None:
    nothing = measured_holds(no_holds(), [build.segment(2)])
    assert holds_of([nothing, measured_holds(frame(), [build.segment(9)])], seconds=10.0) == ()


def test_lines_of_the_service_in_the_order_of_what_they_hold() -> None:
    rows = [
        (2, "GET", "/a", "db.py:1", 2, 0.5, 0.4),
        (2, "GET", "/a", "db.py:1", 1, 0.1, 0.1),
        (2, "GET", "/a", "", 1, 2.0, 2.0),
    ]
    launch = pd.DataFrame(rows, columns=list(SITE_COLUMNS)).astype(dict(SITE_COLUMNS))
    assert sites_of([launch, launch, no_sites()]) == (
        HoldSite(endpoint="GET /a", site="", holds=2, held_s=4.0, longest_s=2.0),
        HoldSite(endpoint="GET /a", site="db.py:1", holds=6, held_s=1.2, longest_s=0.4),
    )
    assert sites_of([no_sites()]) == ()
