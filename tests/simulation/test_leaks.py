"""A leak is found with its rate, and nothing else is taken for one: what the probe writes of simulated services."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.leak import Losses, leak_of, losses_of
from harness.domain.holds import Leak
from harness.domain.load import TurnRun
from harness.domain.tables import PROBE_COLUMNS, UNRETURNED_COLUMNS
from harness.probe.holds import Unreturned
from harness.probe.left import Endpoints

S = 10**9
BEGAN_NS = 100 * S
Connection = tuple[float, float, float]
"""when it is taken, when the request that took it is over, and when it comes back, in seconds of load"""


def observed(connections: Iterable[Connection], seconds: float, *, pool: int = 15, path: str = "/a") -> Losses:
    """What an analysis makes of them, who looks twice a second for that long."""
    pids, book, rows = 7, Unreturned(Endpoints()), {}
    marks = [
        (
            taken_s,
            back_s,
            over_s,
            SimpleNamespace(
                used_since_ns=BEGAN_NS + round(taken_s * S),
                back_ns=BEGAN_NS + round(min(back_s, 1e6) * S),
                site="shop/db.py:12",
                account=SimpleNamespace(ended_ns=0, scope={"method": "GET", "path": path}),
            ),
        )
        for taken_s, over_s, back_s in connections
    ]
    for now_s in np.arange(0, seconds, 0.5):
        out = [mark for taken_s, back_s, _, mark in marks if taken_s <= now_s < back_s]
        for _, _, over_s, mark in marks:
            mark.account.ended_ns = BEGAN_NS + round(over_s * S) if over_s <= now_s else 0
        for line in map(json.loads, book.lines(out, BEGAN_NS + round(now_s * S))):
            rows[line["taken_ns"]] = line | {"pid": pids, "back_ns": -1 if line["back_ns"] is None else line["back_ns"]}
    unreturned = pd.DataFrame(rows.values(), columns=list(UNRETURNED_COLUMNS)).astype(dict(UNRETURNED_COLUMNS))
    probe = pd.DataFrame([dict.fromkeys(PROBE_COLUMNS, 0)]).astype(dict(PROBE_COLUMNS))
    probe = probe.assign(pid=pids, t_ns=BEGAN_NS + round(seconds * S), connection_max=pool)
    found = losses_of(unreturned, probe, [turn(0, seconds)])
    assert found is not None
    return found


def turn(start_s: float, end_s: float, *, idle_s: float | None = None) -> TurnRun:
    """`idle_s`: when nothing was in progress any more; None: at once."""
    start_ns, end_ns = (BEGAN_NS + round(at_s * S) for at_s in (start_s, end_s))
    return TurnRun(
        launch_id="b1-c1",
        start_ns=start_ns,
        end_ns=end_ns,
        load_start_ns=start_ns,
        idle_ns=end_ns if idle_s is None else BEGAN_NS + round(idle_s * S),
        idle=True,
        in_flight_peak=1,
        cut="end",
    )


def leaked(times_s: Iterable[float]) -> list[Connection]:
    """Taken by requests of a tenth of a second and never given back."""
    return [(at_s, at_s + 0.1, math.inf) for at_s in times_s]


def one(*launches: Losses) -> Leak:
    leak = leak_of(launches)
    assert leak is not None
    return leak


@pytest.mark.parametrize("pool", [15, 30, 100])
def test_a_pool_only_puts_the_end_off(pool: int) -> None:
    """Half a connection a second, as public reports have it."""
    leak = one(observed(leaked(np.arange(2.0, 2 * pool + 1, 2.0)), 62, pool=pool, path="/report"))
    assert leak.per_s == pytest.approx(0.5, abs=0.02)
    assert leak.empty_after_s == pytest.approx(2 * pool, rel=0.04)
    assert leak.low_per_s < 0.5 < leak.high_per_s
    assert (leak.endpoints, leak.sites) == (("GET /report",), ("shop/db.py:12",))


def test_after_the_pool_is_empty_nothing_is_lost_any_more_and_the_rate_is_that_until_then() -> None:
    leak = one(observed(leaked([0.4, 1.0, 2.0]), 60, pool=3))
    assert (leak.lost, leak.exposed_s, leak.empty_after_s) == (3, 2.0, 2.0)


def test_the_interval_covers_the_true_rate_in_nineteen_of_twenty_launches() -> None:
    draw, covered = np.random.default_rng(1), 0
    for _ in range(60):
        times_s = np.cumsum(draw.exponential(1 / 0.5, 200))
        leak = one(observed(leaked(times_s[times_s < 40]), 40, pool=10_000))
        covered += leak.low_per_s <= 0.5 <= leak.high_per_s
    assert covered >= 54


def test_launches_are_taken_together_where_one_of_them_shows_it() -> None:
    many, few = observed(leaked([2, 9, 16, 17]), 20), observed(leaked([5]), 20)
    assert leak_of([few, few, few]) is None
    leak = one(many, few)
    assert (leak.lost, leak.exposed_s) == (5, 36)


@pytest.mark.parametrize(
    "connections",
    [
        pytest.param([], id="nothing"),
        pytest.param(leaked([3, 30]), id="two"),
        pytest.param(leaked(np.linspace(0.1, 1, 8)), id="kept from the start on"),
        pytest.param([(-5, -4, math.inf)] * 9, id="taken before the load"),
        pytest.param([(at_s, math.inf, math.inf) for at_s in range(40)], id="requests that never end"),
        pytest.param([(at_s, at_s + 25, at_s + 25) for at_s in np.arange(0, 40, 0.2)], id="slow requests"),
        pytest.param(
            [(at_s, at_s + 2, at_s + 2) for at_s in np.sqrt(np.linspace(0, 1600, 2000))], id="load that grows"
        ),
        pytest.param([(at_s, at_s + 0.1, at_s + 6) for at_s in np.arange(0, 40, 0.5)], id="tasks that outlive it"),
    ],
)
def test_what_is_no_leak(connections: Sequence[Connection]) -> None:
    assert leak_of([observed(connections, 40)]) is None


@given(
    seed=st.integers(0, 2**32 - 1),
    request_s=st.floats(0.01, 30),
    late_s=st.floats(0, 4),
    growth=st.floats(0.3, 3),
)
def test_neither_slow_requests_nor_late_returns_nor_growth_look_like_one(
    seed: int, request_s: float, late_s: float, growth: float
) -> None:
    """Requests that last, tasks that outlive them by an exponential time, a rate that rises or falls."""
    draw = np.random.default_rng(seed)
    taken_s = 40 * np.sort(draw.random(150)) ** (1 / growth)
    over_s = taken_s + draw.exponential(request_s, 150)
    back_s = over_s + draw.exponential(late_s + 1e-9, 150)
    assert leak_of([observed(zip(taken_s, over_s, back_s, strict=True), 40)]) is None


def out(taken_s: Sequence[float], *, back_s: float, in_request: bool = True) -> pd.DataFrame:
    """Connections that all come back at once, of requests that took a tenth of a second or of none."""
    taken_ns = [BEGAN_NS + round(at_s * S) for at_s in taken_s]
    over_ns = [at_ns + in_request * S // 10 for at_ns in taken_ns]
    rows = pd.DataFrame({"taken_ns": taken_ns, "over_ns": over_ns, "back_ns": BEGAN_NS + round(back_s * S)})
    return rows.assign(pid=7, method="", route="", site="").astype(dict(UNRETURNED_COLUMNS))


PROBE = pd.DataFrame([dict.fromkeys(PROBE_COLUMNS, 0)]).astype(dict(PROBE_COLUMNS)).assign(connection_max=15)


def test_what_comes_back_as_the_service_is_stopped_was_lost() -> None:
    found = losses_of(out([2.0, 8.0, 14.0], back_s=21), PROBE, [turn(0, 5), turn(7, 20)])
    assert found is not None
    assert (found.taken_s.tolist(), found.exposed_s) == ([2.0, 6.0, 12.0], 16.0)
    assert losses_of(out([2.0], back_s=21), PROBE, []) is None


@pytest.mark.parametrize(
    ("in_request", "idle_s", "back_s", "lost"),
    [
        (True, 20.0, 20.5, 3),
        (False, 20.0, 20.5, 3),
        (False, 21.0, 20.5, 0),  # the last of it came back before the last request was over
        (True, 21.0, 20.5, 3),
        (False, None, 20.5, 3),
    ],
)
def test_what_no_request_took_may_serve_one_until_none_is_left(
    in_request: bool, idle_s: float | None, back_s: float, lost: int
) -> None:
    """A thread of the service's own executor does not know whose request it works for, nor how slow that is."""
    rows = out([2.0, 8.0, 14.0], back_s=back_s, in_request=in_request)
    found = losses_of(rows, PROBE, [turn(0, 20, idle_s=idle_s)])
    assert found is not None
    assert len(found.taken_s) == lost


def test_where_nobody_saw_the_service_idle_only_requests_lose_connections() -> None:
    never = replace(turn(0, 20), idle=False)
    for in_request in (True, False):
        found = losses_of(out([2.0, 8.0, 14.0], back_s=25, in_request=in_request), PROBE, [never])
        assert found is not None
        assert len(found.taken_s) == 3 * in_request


def test_without_the_probe_nobody_knows() -> None:
    columns: Any = {name: [] for name in PROBE_COLUMNS}
    empty = pd.DataFrame({name: [] for name in UNRETURNED_COLUMNS})
    assert losses_of(empty, pd.DataFrame(columns), [turn(0, 5)]) is None
