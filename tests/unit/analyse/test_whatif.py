"""What would be, of launches whose holds are made up; the answers are those of the benchmarks' own queue.

A service of one process whose requests hold a connection for as long as they are in the database, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.queueing_truth import departures_s
from harness.analyse.launches import measure_launches
from harness.analyse.whatif import Fitted, fit, predict
from harness.analyse.whatif_run import curves
from harness.domain.cell import Cell
from harness.domain.evidence import TrialEvidence
from harness.domain.experiment import Load, Pool, Target
from harness.domain.load import Segment, arrival_offsets_s
from harness.domain.observed import AppliedPool, AppliedProcess
from harness.domain.prediction import Asked, Curve
from harness.domain.tables import COUNT_COLUMNS, HOLD_COLUMNS, PROBE_COLUMNS, PROCESS_COLUMNS

RATE_RPS = 100.0
MEASURE_S = 10.0
PID = 7
DB_MS = 30.0
CPU = 0.3
TRIPS = 3.0


def segment(build: ModuleType, rate_rps: float = RATE_RPS) -> Segment:
    return build.segment(0, duration_s=MEASURE_S, rate_rps=rate_rps, arrivals="poisson", seed=5)


def holds_ms(count: int, mean_ms: float = DB_MS) -> np.ndarray:
    drawn: np.ndarray = np.random.default_rng(3).exponential(mean_ms, count).astype(np.float32)
    return drawn


def launch(
    build: ModuleType,
    *,
    rate_rps: float = RATE_RPS,
    mean_ms: float = DB_MS,
    cpu: float = CPU,
    idle_ms: float = 0.0,
    drawn_ms: np.ndarray | None = None,
    size: int = 40,
    block: int = 1,
    cell: Cell | None = None,
    **changes: Any,
) -> TrialEvidence:
    """A launch in whose pool nobody waited; `idle_ms` of each hold nothing is asked of the database."""
    own = segment(build, rate_rps)
    due_s = list(arrival_offsets_s(own))
    db_ms = holds_ms(len(due_s), mean_ms) if drawn_ms is None else drawn_ms
    rows = build.rows(
        db_ms + idle_ms + 0.01,
        every_ms=1000 * MEASURE_S / len(due_s),
        pool_ms=0.01,
        db_ms=db_ms,
        app_ms=idle_ms,
        pid=PID,
    )
    count, ends = len(due_s), [build.START_NS, build.START_NS + round(MEASURE_S * build.SECOND)]
    key = {"segment": 0, "method": "GET", "route": "/a", "status": 200}
    held = {"connections": 1, "requests": count, "holds": count, "statements": count}
    times = {"hold_s": (db_ms.sum() + idle_ms * count) / 1000, "query_s": db_ms.sum() / 1000}
    made = build.trial(
        cell or replace(build.cell(pool=Pool(pool_size=size, max_overflow=0)), load=Load(rate_rps=rate_rps)),
        block,
        rows,
        segments=[own],
        probe=build.table(PROBE_COLUMNS, t_ns=ends, pid=PID, connection_max=size, loop_beats=[0.0, 9.0]),
        process=build.table(PROCESS_COLUMNS, t_ns=ends, role="target", pid=PID, cpu_s=[0.0, cpu * MEASURE_S]),
    )
    engine = AppliedPool(
        launch_id=made.trial.id,
        pid=PID,
        driver="asyncpg",
        pool_class="AsyncAdaptedQueuePool",
        pool_size=size,
        max_overflow=0,
        pool_timeout_s=30.0,
        pool_recycle_s=-1,
        pool_pre_ping=False,
        pool_use_lifo=False,
        is_async=True,
    )
    process = AppliedProcess(
        launch_id=made.trial.id, pid=PID, serving=True, threadpool_tokens=40, gc_frozen=True, expire_on_commit=()
    )
    return replace(
        made,
        trial=replace(made.trial, applied=(engine,), processes=(process,)),
        holds=build.table(HOLD_COLUMNS, **{name: [value] for name, value in (key | held | times | changes).items()}),
        counts=build.table(
            COUNT_COLUMNS, **{name: [value] for name, value in key.items()}, requests=count, round_trips=TRIPS * count
        ),
    )


def fitted(build: ModuleType, launches: Sequence[TrialEvidence]) -> Fitted:
    run = build.run(launches)
    return fit(run, measure_launches(run).counted)


def truth_ms(own: Segment, size: int, holds: np.ndarray) -> float:
    """The p95 of the segment's arrivals with these holds, by the benchmarks' own queue."""
    due_s = list(arrival_offsets_s(own))
    left_s = departures_s(due_s, (holds / 1000).tolist(), size)
    latency = sorted(1000 * (left - due) for left, due in zip(left_s, due_s, strict=True))
    return latency[math.ceil(0.95 * len(latency)) - 1]


@pytest.mark.parametrize("size", [3, 4, 6, 12])
def test_another_size_is_the_same_requests_through_a_smaller_pool(build: ModuleType, size: int) -> None:
    known = fitted(build, [launch(build)])
    found = predict(known, replace(known.setting, pool_size=size))
    count = len(list(arrival_offsets_s(segment(build))))
    assert found.latency_ms_p95 == pytest.approx(truth_ms(segment(build), size, holds_ms(count)), rel=1e-4)
    assert found.in_use == pytest.approx(RATE_RPS * holds_ms(count).mean() / 1000, rel=1e-3)
    assert found.utilisation == pytest.approx(found.in_use / size)
    assert (found.declined, found.failed) == (None, 0.0)


def test_another_rate_has_the_schedule_of_that_rate_and_what_grows_with_the_cpu(build: ModuleType) -> None:
    """At 60/s and 20 % CPU holds have 1 ms of the service's own, at 120/s and 40 % of that queue two thirds more."""
    slow, fast = (
        launch(build, rate_rps=rate, cpu=cpu, idle_ms=12 * cpu / (1 - cpu), cell=None, block=block)
        for block, (rate, cpu) in enumerate(((60.0, 0.2), (120.0, 0.4)), start=1)
    )
    known = fitted(build, [slow, fast])
    assert known.grows_ms["loop"] == pytest.approx(12, rel=0.02)
    found = predict(known, replace(known.setting, rate_rps=90.0, pool_size=4))
    assert found.cpu == pytest.approx(0.3, rel=0.02)
    own = segment(build, 90.0)
    count = len(list(arrival_offsets_s(own)))
    seen = holds_ms(len(list(arrival_offsets_s(segment(build, 120.0)))))  # 120/s is nearer by its ratio
    assert found.latency_ms_p95 == pytest.approx(truth_ms(own, 4, seen[:count] + 12 * 0.3 / 0.7), rel=0.03)


def test_another_distance_is_as_much_longer_as_a_hold_has_round_trips(build: ModuleType) -> None:
    known = fitted(build, [launch(build)])
    found = predict(known, replace(known.setting, rtt_ms=5.0, pool_size=6))
    count = len(list(arrival_offsets_s(segment(build))))
    assert found.latency_ms_p95 == pytest.approx(truth_ms(segment(build), 6, holds_ms(count) + 15), rel=1e-4)
    assert found.hold_ms is not None
    assert found.hold_ms["distance"] == pytest.approx(15)


def test_workers_divide_load_and_pools(build: ModuleType) -> None:
    """Two workers at twice the rate have as much to do each: neither more CPU nor fewer connections for it."""
    known = fitted(build, [launch(build)])
    one, two = (
        predict(known, replace(known.setting, rate_rps=workers * RATE_RPS, workers=workers, pool_size=5))
        for workers in (1, 2)
    )
    assert (two.cpu, two.utilisation) == (pytest.approx(one.cpu), pytest.approx(one.utilisation, rel=0.1))
    assert two.latency_ms_p95 == pytest.approx(one.latency_ms_p95, rel=0.25)
    assert predict(known, replace(known.setting, workers=2)).declined == "one_load"


def test_who_waits_longer_than_the_pool_lets_him_fails(build: ModuleType) -> None:
    known = fitted(build, [launch(build)])
    found = predict(known, replace(known.setting, pool_size=2, pool_timeout_s=0.5))
    assert found.utilisation > 1.3
    assert 0.2 < found.failed < 0.5
    assert (math.isinf(found.latency_ms_p95), found.wait_ms_p95 <= 501) == (True, True)


@pytest.mark.parametrize(
    ("changes", "asked", "declined"),
    [
        ({}, {"rate_rps": 150.0}, "one_load"),
        ({"cpu": 0.75}, {}, "worker_cpu"),
        ({"connections": 2}, {}, "several_connections"),
        ({"left": 100}, {}, "several_connections"),
        ({"on_loop": 9}, {}, "blocking"),
        ({"requests": 0, "holds": 0}, {}, "no_probe"),
    ],
)
def test_what_cannot_be_told_is_declined_by_name(
    build: ModuleType, changes: dict[str, Any], asked: dict[str, Any], declined: str
) -> None:
    known = fitted(build, [launch(build, **changes)])
    found = predict(known, replace(known.setting, **asked))
    assert found.declined == declined
    assert math.isnan(found.latency_ms_p95)


def test_beyond_the_loads_that_were_measured_nothing_is_predicted(build: ModuleType) -> None:
    known = fitted(build, [launch(build, rate_rps=rate, block=int(rate)) for rate in (50.0, 100.0)])
    told = {rate: predict(known, replace(known.setting, rate_rps=rate)).declined for rate in (40.0, 50.0, 80.0, 110.0)}
    assert told == {40.0: "outside_loads", 50.0: None, 80.0: None, 110.0: "outside_loads"}


def test_what_hands_a_connection_on_takes_its_time_at_every_handover(build: ModuleType) -> None:
    """Two milliseconds for each of a hundred: nearly as much as if every hold were so much longer."""
    own = launch(build)
    lines = own.probe.assign(connection_handovers=[0.0, 100.0], connection_handover_time_s=[0.0, 0.2])
    plain, known = (fitted(build, [each]) for each in (own, replace(own, probe=lines)))
    assert (plain.handover_s, known.handover_s) == (0.0, pytest.approx(0.002))
    waits_ms = [predict(each, replace(each.setting, pool_size=4)).wait_ms_p95 for each in (plain, known)]
    longer = predict(plain, replace(plain.setting, pool_size=4, rtt_ms=2 / TRIPS)).wait_ms_p95
    assert waits_ms[0] < waits_ms[1] < 1.2 * longer


def test_few_handovers_are_two_rounds_of_the_event_loop(build: ModuleType) -> None:
    own = launch(build)
    lines = own.probe.assign(
        connection_handovers=[0.0, 3.0], connection_handover_time_s=[0.0, 1.0], loop_lag_s=[0.0, 0.009]
    )
    assert fitted(build, [replace(own, probe=lines)]).handover_s == pytest.approx(2 * 0.001)


def queued(build: ModuleType, number: int, size: int, **changes: Any) -> TrialEvidence:
    """A cell whose requests did wait, exactly as long as the benchmarks' queue says."""
    cell = replace(build.cell(number, pool=Pool(pool_size=size, max_overflow=0)), load=Load(rate_rps=RATE_RPS))
    waitless = launch(build, size=size, cell=cell, **changes)
    due_s = list(arrival_offsets_s(segment(build)))
    rows = waitless.requests
    hold_ms = rows["db_ms"].to_numpy(dtype=float) + rows["app_ms"].to_numpy(dtype=float)
    left_s = np.array(list(departures_s(due_s, (hold_ms / 1000).tolist(), size)))
    wait_ms = 1000 * (left_s - np.array(due_s)) - hold_ms
    late_ns = np.round(wait_ms * 1e6).astype(np.int64)
    return replace(waitless, requests=rows.assign(finished_ns=rows["finished_ns"] + late_ns, pool_ms=wait_ms + 0.01))


def curve_of(build: ModuleType, launches: Sequence[TrialEvidence], asked: Asked | None = None) -> Curve:
    run = build.run(launches)
    (curve,) = curves(run, measure_launches(run), asked or Asked())
    return curve


def test_a_curve_is_of_the_largest_pool_and_has_the_measured_sizes_on_it(build: ModuleType) -> None:
    curve = curve_of(build, [queued(build, number, size) for number, size in ((1, 4), (2, 20), (3, 6))])
    assert (curve.source, curve.declined) == ("pool_size 10", None)  # the label of cell 2
    assert [(own.predicted.setting.pool_size, own.is_source) for own in curve.points] == [
        (4, False),
        (6, False),
        (20, True),
    ]
    assert {4, 6, 20} <= {own.setting.pool_size for own in curve.predicted}
    assert [own.slowed for own in curve.points] == [None] * 3
    for point in curve.points:
        assert point.latency_ms_p95 == pytest.approx(point.predicted.latency_ms_p95, rel=0.01)


def test_what_slowed_a_cell_is_named_from_its_own_requests(build: ModuleType) -> None:
    """Holds of 5 ms more in the database, or in the service; and requests that are slow for no such reason."""
    source, database, service, queue = (
        queued(build, 1, 20),
        queued(build, 2, 4, mean_ms=DB_MS + 5),
        queued(build, 3, 4, idle_ms=5.0),
        queued(build, 4, 4),
    )
    busy = queued(build, 5, 4, idle_ms=5.0, cpu=0.8)
    beside = queued(build, 7, 4)
    beside = replace(beside, requests=beside.requests.assign(finished_ns=beside.requests["finished_ns"] + 90_000_000))
    together_ms = np.sort(holds_ms(len(queue.requests)))  # the same holds, but the long ones one after another
    clumped = queued(build, 6, 4, drawn_ms=together_ms)
    stalled = queue.requests.assign(
        finished_ns=queue.requests["finished_ns"] + 400_000_000, pool_ms=queue.requests["pool_ms"] + 400
    )
    curve = curve_of(build, [source, database, service, replace(queue, requests=stalled), busy, clumped, beside])
    told = {own.cell_id: (own.slowed, own.by_ms) for own in curve.points}
    assert told["c1"] == (None, pytest.approx(math.nan, nan_ok=True))
    assert told["c2"] == ("database", pytest.approx(holds_ms(4000, DB_MS + 5).mean() - holds_ms(4000).mean(), rel=0.1))
    assert told["c3"] == ("loop", pytest.approx(5, rel=0.01))
    assert told["c7"] == ("outside", pytest.approx(90, rel=0.01))
    names = {cell_id: told[cell_id][0] for cell_id in ("c4", "c5", "c6")}
    assert names == {"c4": "queue", "c5": "cpu", "c6": "spread"}


def test_what_is_asked_for_takes_the_place_of_what_was_measured(build: ModuleType) -> None:
    launches = [
        launch(
            build,
            rate_rps=rate,
            block=1,
            cell=replace(build.cell(number, pool=Pool(pool_size=40, max_overflow=0)), load=Load(rate_rps=rate)),
        )
        for number, rate in ((1, 60.0), (2, 120.0))
    ]
    curve = curve_of(build, launches, Asked(rates_rps=(90.0,), pool_sizes=(3, 9), rtts_ms=(1.0,), max_overflow=2))
    assert [(own.setting.pool_size, own.setting.max_overflow) for own in curve.predicted] == [(3, 2), (9, 2)]
    assert (curve.setting.rate_rps, curve.setting.rtt_ms, curve.points) == (90.0, 1.0, ())


def test_cells_that_differ_in_more_than_a_setting_are_curves_of_their_own(build: ModuleType) -> None:
    cells = [
        replace(
            build.cell(number, pool=Pool(pool_size=40, max_overflow=0, pool_pre_ping=ping)),
            load=Load(rate_rps=RATE_RPS),
            factors=(("pool.pool_pre_ping", ping),),
        )
        for number, ping in ((1, False), (2, True))
    ]
    run = build.run([launch(build, cell=cell) for cell in cells])
    assert [curve.factors for curve in curves(run, measure_launches(run))] == [
        (("pool.pool_pre_ping", ping),) for ping in (False, True)
    ]


def test_what_a_dial_takes_is_known_from_those_under_load_alone(build: ModuleType) -> None:
    """Connections beyond pool_size are opened for whoever comes: eight milliseconds each, where eight were seen."""
    own = launch(build)
    unknown = fitted(build, [own])
    lines = own.probe.assign(connection_connects=[40.0, 48.0], connection_create_time_s=[9.0, 9.064])
    known = fitted(build, [replace(own, probe=lines)])
    setting = replace(known.setting, pool_size=1, max_overflow=20)
    assert known.dial_s == pytest.approx(0.008)
    assert predict(known, setting).wait_ms_p95 == pytest.approx(8)
    assert predict(unknown, setting).declined == "dials"
    assert predict(unknown, replace(setting, pool_size=20)).declined is None


def with_trial(own: TrialEvidence, **changes: Any) -> TrialEvidence:
    return replace(own, trial=replace(own.trial, **changes))


def in_cell(build: ModuleType, **sections: Any) -> Cell:
    return replace(build.cell(), **{"load": Load(rate_rps=RATE_RPS), **sections})


def with_rows(build: ModuleType, own: TrialEvidence, **columns: Any) -> TrialEvidence:
    """Other columns of its requests, and the ledger that a generator would have kept of these."""
    rows = own.requests.assign(**columns)
    return replace(with_trial(own, ledger=build.counted(own.trial.ledger, rows)), requests=rows)


def test_sources_that_tell_nothing_are_declined_by_name(build: ModuleType) -> None:
    own = launch(build)
    number = np.arange(len(own.requests))
    second = number % 50 == 1
    told = {
        "closed": launch(build, cell=in_cell(build, load=Load(model="closed", users=5))),
        "no_pool": with_trial(own, applied=()),
        "pgbouncer": launch(build, cell=in_cell(build, target=Target(pgbouncer=True))),
        "several_requests": with_rows(build, own, sequence=second.astype(np.uint16), arrival=number - second),
        "saturated": queued(build, 1, 2),
        "failing": with_rows(build, own, outcome=pd.Categorical(np.where(number % 33 == 0, "error", "ok"))),
    }
    assert {why: fitted(build, [evidence]).declined for why, evidence in told.items()} == {why: why for why in told}


def test_a_source_that_is_spoilt_is_left_out_where_another_is_not(build: ModuleType) -> None:
    known = fitted(build, [queued(build, 1, 2), launch(build, cell=in_cell(build, id="c9"))])
    assert (known.declined, len(known.sources)) == (None, 1)


def test_of_what_is_asked_for_round_trips_and_threads_may_not_be_known(build: ModuleType) -> None:
    own = launch(build)
    known = fitted(build, [replace(own, counts=own.counts.assign(round_trips=math.nan))])
    assert predict(known, replace(known.setting, rtt_ms=5.0)).declined == "round_trips"
    assert predict(known, replace(known.setting, pool_size=4)).declined is None
    in_threads = fitted(build, [with_trial(own, applied=(replace(own.trial.applied[0], is_async=False),))])
    sizes = {size: predict(in_threads, replace(known.setting, pool_size=size)).declined for size in (39, 40)}
    assert sizes == {39: None, 40: "threads"}


def test_a_client_gives_up_as_well(build: ModuleType) -> None:
    """After 0.3 s, which hardly a hold takes by itself; with the wait for three connections many do."""
    known = fitted(build, [launch(build, cell=in_cell(build, load=Load(rate_rps=RATE_RPS, request_timeout_s=0.3)))])
    due_s = np.array(list(arrival_offsets_s(segment(build))))
    left_s = np.array(list(departures_s(due_s.tolist(), (holds_ms(len(due_s)) / 1000).tolist(), 3)))
    found = {size: predict(known, replace(known.setting, pool_size=size)).failed for size in (40, 3)}
    assert found == {40: 0.0, 3: pytest.approx(float(np.mean(left_s - due_s > 0.3)), abs=0.002)}
    assert found[3] > 0.1


def test_the_largest_of_several_pools_is_predicted_from(build: ModuleType) -> None:
    small, large = (
        launch(
            build,
            size=size,
            mean_ms=mean_ms,
            cell=in_cell(build, id=f"c{size}", pool=Pool(pool_size=size, max_overflow=0)),
        )
        for size, mean_ms in ((20, 60.0), (40, DB_MS))
    )
    known = fitted(build, [small, large])
    found = predict(known, replace(known.setting, pool_size=8))
    assert found.in_use == pytest.approx(RATE_RPS * holds_ms(2000).mean() / 1000, rel=0.05)


def test_requests_that_take_no_connection_wait_for_none(build: ModuleType) -> None:
    """Every other request asks for nothing: half of the load is in the queue, all of it in the latencies."""
    own = launch(build)
    idle = np.arange(len(own.requests)) % 2 == 1
    rows = own.requests.assign(pool_ms=np.where(idle, 0.0, own.requests["pool_ms"]))
    known = fitted(build, [replace(own, requests=rows)])
    found = predict(known, replace(known.setting, pool_size=2))
    assert found.in_use == pytest.approx(RATE_RPS / 2 * holds_ms(2000).mean() / 1000, rel=0.1)
    assert found.utilisation < 0.9
