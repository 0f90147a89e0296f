"""What the way to a service adds; that quantiles without it hold the truth, tests/simulation/test_legs.py shows."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.analyse.leg import Leg, leg_of
from harness.analyse.windows import windows
from harness.domain.tables import NULL_COLUMNS


def test_a_leg_is_taken_beyond_the_share_and_with_chance_allowed_for() -> None:
    leg = Leg(ascending_ms=np.arange(1.0, 101.0))
    assert leg.at_most_ms(0.5) == 90.0, "of 100 at most 89 lie below the five-sixths point, but for 5 %"
    assert leg.at_most_ms(0.99) == 100.0, "more than was seen cannot be said"
    rare = Leg(ascending_ms=np.array([0.0] * 95 + [100.0] * 5))
    assert rare.at_most_ms(0.5) > 5.0, "the mean, and what chance may hide of it"
    assert Leg(ascending_ms=np.zeros(0)).at_most_ms(0.95) == 0.0


def null_requests(build: ModuleType, leg_ms: list[float], *, at_s: float = 1.0, uptake_ms: float = 0.0) -> pd.DataFrame:
    started_ns = build.START_NS + round(at_s * 1e9)
    return pd.DataFrame(
        {
            "started_ns": started_ns,
            "finished_ns": [started_ns + round((own + uptake_ms) * 1e6) for own in leg_ms],
            "uptake_ns": round(uptake_ms * 1e6),
        },
        columns=list(NULL_COLUMNS),
    ).astype(dict(NULL_COLUMNS))


def test_a_leg_is_what_a_null_request_takes_but_for_what_it_lay_there(build: ModuleType) -> None:
    loaded = windows([build.segment(0), build.segment(1)], [build.turn(0.0, 2.0)])
    during = null_requests(build, [2.0, 1.0], uptake_ms=4.0)
    elsewhere = null_requests(build, [50.0], at_s=2.5)
    assert leg_of(pd.concat([during, elsewhere]), loaded).ascending_ms.tolist() == pytest.approx([1.0, 2.0])


def figures(build: ModuleType, rows: pd.DataFrame, **tables: pd.DataFrame) -> LaunchFigures:
    (found,) = measure_launches(build.run([build.trial(build.cell(), 0, rows, **tables)])).counted
    return found


def test_what_lay_there_and_the_leg_are_not_the_services(build: ModuleType) -> None:
    rows = build.rows([20.0] * 200, every_ms=50.0, uptake_ns=3_000_000)
    launch = figures(build, rows, null=null_requests(build, [1.5] * 20))
    assert launch.all.quantiles_ms == pytest.approx([20.0] * 4)
    assert launch.all.least_ms == pytest.approx([15.5] * 4)
    assert launch.by_endpoint["GET /heroes/{id}"].least_ms == launch.all.least_ms
    assert launch.leg_p95_ms == pytest.approx(1.5)
    without = figures(build, rows)
    assert without.all.least_ms == pytest.approx([17.0] * 4)
    assert math.isnan(without.leg_p95_ms)


def test_a_task_of_several_requests_has_the_leg_with_each(build: ModuleType) -> None:
    first = build.rows([10.0] * 100, every_ms=100.0, uptake_ns=1_000_000)
    second = first.assign(sequence=1, started_ns=first.finished_ns, intended_ns=first.finished_ns)
    second["finished_ns"] += 10_000_000
    launch = figures(build, pd.concat([first, second]).sort_index(kind="stable"), null=null_requests(build, [2.0] * 20))
    assert launch.all.quantiles_ms == pytest.approx([20.0] * 4)
    assert launch.all.least_ms == pytest.approx([20.0 - 2 * 1.0 - 2 * 2.0] * 4)
    assert launch.by_endpoint["GET /heroes/{id}"].least_ms == pytest.approx([10.0 - 1.0 - 2.0] * 4)


def test_what_failed_is_no_faster_without_the_instrument(build: ModuleType) -> None:
    launch = figures(build, build.rows([math.inf] * 100, every_ms=100.0), null=null_requests(build, [2.0] * 20))
    assert launch.all.least_ms == (math.inf,) * 4
