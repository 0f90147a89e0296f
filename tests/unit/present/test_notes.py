"""Every doubt of a report: said of data that give rise to it, not said of others; its figures are those of the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.domain.evidence import Version
from harness.domain.experiment import DatabaseSpec, Design, Limits, Load, Observe, Pool, ProbeUser, Slo, Target, Workers
from harness.domain.observed import RelayReadings
from harness.domain.verdict import Bounds, CellSummary, EndpointSummary, Failure, Pair, Report
from harness.present.notes import notes

MakeReport = Callable[..., Report]
RELAY = RelayReadings(
    rtt_ms=20.0,
    rtt_ms_measured=20.34,
    late_ms_p50=0.05,
    late_ms_p99=0.8,
    round_trips=400,
    connections=6,
    idle_drops=0,
    cpu_s=0.08,
)


@pytest.fixture
def report(make_report: MakeReport) -> Report:
    """Two cells (pool sizes 2 and 5) with five launches each, of which nothing is to be doubted."""
    made = make_report(drivers=1, sizes=2, launches=5)
    cells = tuple(
        replace(own, cell=replace(own.cell, factors=(("pool.pool_size", own.cell.pool.pool_size),)))
        for own in made.summary.cells
    )
    info = replace(made.info, cells=tuple(own.cell for own in cells))
    return replace(made, info=info, summary=replace(made.summary, cells=cells))


def with_cells(report: Report, *changes: dict[str, Any]) -> Report:
    """The first cells changed, "*" rows and settings too."""
    cells = list(report.summary.cells)
    for place, change in enumerate(changes):
        cells[place] = changed(cells[place], **change)
    info = replace(report.info, cells=tuple(own.cell for own in cells))
    return replace(report, info=info, summary=replace(report.summary, cells=tuple(cells)))


def changed(own: CellSummary, **changes: Any) -> CellSummary:
    of_all = {
        name: changes.pop(name)
        for name in list(changes)
        if name in EndpointSummary.__dataclass_fields__ and name != "slo"
    }
    of_cell = {name: changes.pop(name) for name in list(changes) if name in ("load", "target", "pool", "database")}
    return replace(own, all=replace(own.all, **of_all), cell=replace(own.cell, **of_cell), **changes)


def with_coverage(report: Report, **changes: Any) -> Report:
    return replace(report, summary=replace(report.summary, coverage=replace(report.summary.coverage, **changes)))


def promising(report: Report, *endpoints: str) -> Report:
    slo = Slo(endpoints={name: Limits(p95_ms=20) for name in endpoints})
    return replace(report, info=replace(report.info, experiment=replace(report.info.experiment, slo=slo)))


def with_design(report: Report, kind: str, **changes: Any) -> Report:
    experiment = replace(report.info.experiment, design=Design(kind=kind), **changes)  # type: ignore[arg-type]
    return replace(report, info=replace(report.info, experiment=experiment))


CHANGED_MEANWHILE = (
    "The code was changed while it was measured: launches of pool_size 2 did not all start the same. "
    "With target.ref they start one commit, whatever is edited meanwhile."
)
LIMITED = (
    "The service answered 3 requests with 429 (pool_size 2): a rate limiter refuses them, so these figures are its "
    "own, and no pool changes them. Raise its limit or turn it off for the run, for example in [target] env."
)
BAD_REQUESTS = (
    "The service answered 3 requests with 400 (pool_size 2): what the scenario sends is wrong, or a check of the host "
    "(TrustedHostMiddleware) refuses 127.0.0.1. Allow that host for the run, or correct the scenario."
)


def test_code_that_was_changed_meanwhile(report: Report) -> None:
    one, other = Version(commit="1" * 40), Version(commit="1" * 40, changes="ab")
    assert about(with_cells(report, {"versions": (one, other)}, {"versions": (one,)}), "changed") == CHANGED_MEANWHILE
    assert about(with_cells(report, {"versions": (one,)}, {"versions": (other,)}), "changed") == ""


@pytest.mark.parametrize(("status", "said"), [(429, LIMITED), (400, BAD_REQUESTS)])
def test_answers_that_have_nothing_to_do_with_a_pool(report: Report, status: int, said: str) -> None:
    failures = (Failure(endpoint="GET /x", outcome="error", status=status, message=f"HTTP {status}", count=3),)
    assert said in notes(with_cells(report, {"failures": failures}))
    assert not about(report, f"with {status}")
    other = replace(failures[0], status=503, message="HTTP 503")
    assert not about(with_cells(report, {"failures": (other,)}), f"with {status}")


def test_connections_that_no_engine_holds(report: Report) -> None:
    assert about(with_coverage(report, unaccounted=4), "no engine") == (
        "4 connections were open that no engine of the service holds: a pool of the driver's own (asyncpg, "
        "psycopg_pool), another program, or an engine in a process that was not seen. No setting of the experiment "
        "reaches them."
    )
    assert about(with_coverage(report, unaccounted=1), "no engine").startswith("1 connection was open")
    named = with_coverage(report, unaccounted=4, driver_pools=("asyncpg.Pool of 4 to 4, made in shop/db.py:7",))
    assert about(named, "no engine") == (
        "4 connections were open that no engine of the service holds. A pool of the driver's own: asyncpg.Pool of 4 to "
        "4, made in shop/db.py:7. No setting of [pool] reaches it: vary the variable that its size is read from, as "
        "target.env.NAME in [matrix]."
    )
    two = with_coverage(report, unaccounted=4, driver_pools=("asyncpg.Pool of 1 to 4", "asyncpg.Pool of 1 to 9"))
    assert "Pools of the driver's own: asyncpg.Pool of 1 to 4; asyncpg.Pool of 1 to 9. No" in about(two, "no engine")
    assert not about(report, "no engine")


def test_statements_that_are_not_logged_now(report: Report) -> None:
    assert about(with_coverage(report, echo_off=True), "echo") == (
        "The service has its engine log every statement (echo); it was turned off for the run. With it the service is "
        "slower than these figures."
    )
    assert not about(report, "echo")


def about(report: Report, words: str) -> str:
    """The one note with these words, "" if there is none."""
    found = [note for note in notes(report) if words in note]
    assert len(found) <= 1
    return found[0] if found else ""


def test_a_report_without_a_doubt_has_no_notes(report: Report) -> None:
    assert notes(report) == ()


@pytest.mark.parametrize(
    ("promised", "ending"),
    [
        ("GET /heros", "Did you mean GET /heroes?"),
        ("x", "These were sent: GET /heroes; GET /heroes/{id}; PATCH /heroes/{id}."),
    ],
)
def test_a_promise_of_what_nobody_sent_is_said_with_the_nearest_name(
    report: Report, promised: str, ending: str
) -> None:
    said = about(promising(report, promised, "GET /heroes"), "Whether the SLO of")
    assert said == f"Whether the SLO of {promised} is met is unclear: no launch sent such a request. {ending}"


def test_a_promise_of_what_one_cell_did_not_send(report: Report) -> None:
    mixed = promising(with_cells(report, {"endpoints": ()}), "GET /heroes")
    assert about(mixed, "Whether the SLO of") == (
        "Whether the SLO of GET /heroes is met is unclear: no launch of pool_size 2 sent such a request."
    )


@pytest.mark.parametrize(
    ("asked", "worst_ms", "said"),
    [
        (19, 12.0, "pool_size 2 19 times, the worst 12.0 ms"),
        (1, math.inf, "pool_size 2 1 time, the worst without a good answer"),
        (0, math.nan, "pool_size 2 0 times"),
    ],
)
def test_a_probe_user_with_few_answers_says_how_many_and_the_worst(
    report: Report, asked: int, worst_ms: float, said: str
) -> None:
    probe_user = ProbeUser(request="GET /ready")
    info = replace(report.info, experiment=replace(report.info.experiment, probe_user=probe_user))
    few = replace(report.summary.cells[0].all, requests=asked, p95_ms=Bounds(value=math.nan, low=None, high=None))
    cell = {"probe_user": few, "probe_user_worst_ms": worst_ms}
    thin = replace(with_cells(report, cell, {"probe_user": replace(few, p95_ms=report.summary.cells[0].all.p95_ms)}))
    assert about(replace(thin, info=info), "probe user") == (
        f"The probe user GET /ready asked too seldom for a p95: {said}. A higher probe_user.rate_rps, a longer "
        "load.measure_s or more launches give more answers."
    )


@pytest.mark.parametrize("measured", [0, 7, 10])
def test_a_partial_run_is_counted(report: Report, measured: int) -> None:
    said = about(with_coverage(report, measured=measured, planned=10), "Partial run")
    assert said == ("" if measured == 10 else f"Partial run: {measured} of 10 launches.")


@pytest.mark.parametrize(
    ("left_out", "excluded", "said"),
    [
        ((0, 0), {}, ""),
        ((1, 0), {"lag": 1}, "1 of 10 launches is invalid and feeds no figure (pool_size 2): lag 1x."),
        ((2, 1), {"stall": 1, "lag": 2}, "3 of 10 launches are invalid and feed no figure: lag 2x, stall 1x."),
    ],
)
def test_invalid_launches_are_counted_with_their_reasons(
    report: Report, left_out: tuple[int, int], excluded: dict[str, int], said: str
) -> None:
    cells = with_cells(report, *({"invalid_launches": count} for count in left_out))
    assert about(with_coverage(cells, excluded=excluded), "feed") == said


@pytest.mark.parametrize(("kind", "said"), [("auto", True), ("blocked", False)])
def test_launches_one_at_a_time_say_why_if_nobody_asked_for_it(report: Report, kind: str, said: bool) -> None:
    recycled = with_cells(report, {"pool": Pool(pool_size=2, pool_recycle_s=30)})
    note = about(with_design(recycled, kind), "One launch at a time")
    expected = "One launch at a time (blocked), because pool.pool_recycle_s counts the time between turns."
    assert note == (expected if said else "")
    alone = replace(recycled, info=replace(recycled.info, cells=recycled.info.cells[:1]))
    assert about(with_design(alone, kind), "One launch at a time") == ""


def test_work_that_goes_on_in_others_turns_is_told_apart_from_work_that_disturbs_nobody(report: Report) -> None:
    busy = with_cells(report, {"findings": ("still_at_work",)})
    went_on = "A service was still at work on requests that its users had given up when its load had ended"
    turns = about(with_design(busy, "interleaved"), "still at work")
    assert turns == f'{went_on}, in others\' turns: pool_size 2. design.kind = "blocked" keeps them apart.'
    assert about(with_design(busy, "blocked"), "still at work") == f"{went_on}: pool_size 2."
    assert about(report, "still at work") == ""


def test_a_queue_that_had_not_settled_is_named_but_a_saturated_one_is_more_than_that(report: Report) -> None:
    said = about(with_cells(report, {"from_empty": True}), "settled")
    assert said == (
        "The queue had not settled with pool_size 2: in a steady state latency is higher. A longer load.measure_s "
        "comes closer."
    )
    both = about(with_cells(report, {"from_empty": True}, {"from_empty": True}), "settled")
    assert "with every cell:" in both
    assert about(with_cells(report, {"from_empty": True, "saturated": True}), "settled") == ""
    assert about(with_cells(report, {"from_empty": True, "valid": False}), "settled") == ""


@pytest.mark.parametrize(
    ("empty", "said"),
    [
        (1, "1 arrival sent no request (pool_size 2): that is neither success nor failure."),
        (1200, "1\u202f200 arrivals sent no request (pool_size 2): that is neither success nor failure."),
        (0, ""),
    ],
)
def test_tasks_that_sent_nothing_are_counted(report: Report, empty: int, said: str) -> None:
    found = {"findings": ("empty_tasks",), "empty_tasks": empty}
    assert about(with_cells(report, found), "no request") == said
    assert about(with_cells(report, {"empty_tasks": empty}), "no request") == "", "a few are no finding"
    assert about(with_cells(report, found | {"valid": False}), "no request") == ""


def test_a_closed_load_is_labelled(report: Report) -> None:
    closed = Load(model="closed", users=8)
    note = about(with_cells(report, {"load": closed}, {"load": closed}), "Closed model")
    assert note == (
        "Closed model: latency counts from the send. Users who wait for an answer send nothing meanwhile, so a pause "
        "of the target delays few requests here; do not compare with an open model's figures."
    )
    assert about(report, "Closed model") == ""


def test_different_loads_are_a_reason_of_their_own(report: Report) -> None:
    other = with_cells(report, {"load": Load(rate_rps=1.0)}, {"load": Load(rate_rps=2.0)})
    assert about(other, "different loads").endswith("their latencies differ for that reason too.")
    assert about(report, "different loads") == ""
    assert about(other, "loads") == "The cells carry different loads: their latencies differ for that reason too."


def test_a_server_that_not_all_cells_had_is_named_as_the_first_ones(report: Report) -> None:
    said = "The environment names the Postgres of pool_size 2; others have one of their own."
    images = with_cells(report, {"database": DatabaseSpec()}, {"database": DatabaseSpec(image="postgres:17")})
    assert about(images, "Postgres of") == said
    assert about(report, "Postgres of") == ""


@pytest.mark.parametrize(
    ("launches", "said"),
    [
        ((5, 5), ""),
        ((4, 5), "4 launches leave the p95 of every cell a wide interval; five or more narrow it."),
        ((1, 5), "One launch has no interval (pool_size 2): how much a fresh start changes is unknown."),
        ((1, 1), "One launch has no interval (every cell): how much a fresh start changes is unknown."),
    ],
)
def test_few_launches(report: Report, launches: tuple[int, int], said: str) -> None:
    wide = {"p95_ms": Bounds(value=10.0, low=8.0, high=12.0)}
    assert about(with_cells(report, *({"launches": count} | wide for count in launches)), "interval") == said


def test_launches_that_agree_are_not_called_few(report: Report) -> None:
    close, apart, unknown = (Bounds(value=10.0, low=low, high=high) for low, high in ((9, 11), (8, 12), (None, None)))
    few = [{"launches": 3, "p95_ms": bounds} for bounds in (close, close)]
    assert about(with_cells(report, *few), "interval") == ""
    for bounds in (apart, unknown):
        said = about(with_cells(report, few[0], few[1] | {"p95_ms": bounds}), "interval")
        assert said == "3 launches leave the p95 of pool_size 5 a wide interval; five or more narrow it."


@pytest.mark.parametrize(
    ("fewest", "said"),
    [
        (None, ""),
        (1000, ""),
        (999, "p99 is thin: a launch has as few as 999 arrivals, of which 9 lie beyond it."),
        (199, "p99 is thin: a launch has as few as 199 arrivals, of which 1 lies beyond it."),
        (99, "p99 is only the slowest arrival: a launch has as few as 99 arrivals."),
        (1, "p99 is only the slowest arrival: a launch has as few as 1 arrival."),
    ],
)
def test_few_arrivals_beyond_the_p99(report: Report, fewest: int | None, said: str) -> None:
    assert about(with_coverage(report, fewest_requests=fewest), "p99") == said


@pytest.mark.parametrize(
    ("least_ms", "p95_ms", "said"),
    [
        (
            15.0,
            20.0,
            (
                "A good part of the p95 of pool_size 5 may be the instrument's: it is between 15.0 and 20.0 ms. One "
                "arrival in a hundred was sent 3.20 ms late or more, and the way to a service and back took 95 "
                "requests in a hundred up to 0.700 ms. A machine that does nothing else may narrow this."
            ),
        ),
        (18.5, 20.0, ""),
        (math.nan, 20.0, ""),
        (15.0, math.inf, ""),
    ],
)
def test_the_instrument_says_how_much_it_can_have_moved(
    report: Report, least_ms: float, p95_ms: float, said: str
) -> None:
    late = {
        "p95_bound_low_ms": least_ms,
        "late_p99_ms": 3.2,
        "leg_p95_ms": 0.7,
        "p95_ms": Bounds(value=p95_ms, low=None, high=None),
    }
    assert about(with_cells(report, {"late_p99_ms": 99.0}, late), "the instrument's") == said
    unknown = about(with_cells(report, {}, late | {"leg_p95_ms": math.nan}), "the instrument's")
    assert unknown == said.replace(
        ", and the way to a service and back took 95 requests in a hundred up to 0.700 ms", ""
    )


def test_pairs_that_only_the_instrument_does_not_let_be_told_apart(report: Report) -> None:
    first, second = (own.cell.id for own in report.summary.cells[:2])
    pair = Pair(first=first, second=second, ratio=1.2, low=0.9, high=1.3, told_apart=False)
    said = about(
        replace(report, summary=replace(report.summary, pairs=(replace(pair, instrument=True),))), "Inconclusive"
    )
    assert said.startswith("Inconclusive (instrument): the launches would tell apart pool_size 2 from pool_size 5")
    assert said.endswith("but what the instrument may have added is as much as the difference.")
    assert about(replace(report, summary=replace(report.summary, pairs=(pair,))), "Inconclusive") == ""


def test_a_way_that_is_not_known_is_said(report: Report) -> None:
    assert about(report, "How long the way") == ""
    local = about(with_cells(report, {"leg_p95_ms": math.nan}), "How long the way")
    assert local.startswith("How long the way to the service and back takes is not known for pool_size 2")
    assert "pool_size 2: the service that does nothing gave no answer." in local
    remote = replace(report.summary.cells[0].cell.load, workers=Workers(expect=2))
    said = about(with_cells(report, {"leg_p95_ms": math.nan, "load": remote}), "How long the way")
    assert "load generators on other machines have no service beside them that does nothing." in said


def test_what_tasks_take_for_themselves(report: Report) -> None:
    p50 = Bounds(value=10.0, low=None, high=None)
    slow, quick = {"own_mean_ms": 1.2, "p50_ms": p50}, {"own_mean_ms": 0.9, "p50_ms": p50}
    assert about(with_cells(report, slow, quick), "pause or compute") == (
        "The scenario's tasks pause or compute for up to 1.20 ms on average before and between their requests; that is "
        "part of the latency of a task (the row for everything), and of no endpoint's."
    )
    assert about(with_cells(report, quick, quick), "pause or compute") == ""
    assert about(with_cells(report, slow | {"own_mean_ms": math.nan}), "pause or compute") == ""


def test_a_service_that_runs_already_was_seen_from_outside(report: Report) -> None:
    one, two = ({"target": Target(url=f"http://{name}"), "pool_share": math.nan} for name in "ab")
    said = about(with_cells(report, one, one), "measured from outside")
    assert said.startswith("http://a ran already and was measured from outside: its pool waits")
    said = about(with_cells(report, one, two), "measured from outside")
    assert said.startswith("http://a; http://b ran already and were measured from outside: their pool waits")
    assert about(with_cells(report, one, two), "Pool wait and database time") == "", "it is said once"
    probed = about(with_cells(report, one | {"pool_share": 0.1}, one), "measured from outside")
    assert (
        probed == "http://a ran already and was measured from outside: its connections and its processes were not seen."
    )


@pytest.mark.parametrize(
    ("probe", "kind", "why"),
    [
        (True, "interleaved", "no answer carried the probe's figures."),
        (False, "interleaved", "the probe was off, so that turns were ended by what the client knew of its requests."),
        (False, "blocked", "the probe was off."),
    ],
)
def test_without_the_probe_the_pool_is_not_known(report: Report, probe: bool, kind: str, why: str) -> None:
    designed = with_design(report, kind, observe=Observe(probe=probe))
    unseen = with_cells(designed, {"pool_share": math.nan})
    said = "Pool wait and database time are not known for"
    assert about(unseen, "Pool wait") == f"{said} pool_size 2: {why}"
    both = with_cells(designed, {"pool_share": math.nan}, {"pool_share": math.nan})
    assert about(both, "Pool wait") == f"{said} any cell: {why}"


def test_without_readings_of_activity_connections_are_not_known(report: Report) -> None:
    unseen = with_cells(report, {"connections_active_mean": math.nan})
    said = "Connections were not seen for pool_size 2: pg_stat_activity gave nothing."
    assert about(unseen, "Connections") == said
    assert about(with_cells(unseen, {"valid": False}), "Connections") == ""


@pytest.mark.parametrize(("seen", "said"), [(True, False), (None, False), (False, True)])
def test_a_server_whose_processes_cannot_be_seen_is_named(report: Report, seen: bool | None, said: bool) -> None:
    assert bool(about(with_coverage(report, postgres_processes=seen), "CPU and memory of Postgres")) is said


def test_what_of_the_scenarios_does_not_apply_is_said_as_they_said_it(report: Report) -> None:
    said = ("wait_time of User does not apply in the open model: arrivals follow the rate.", "The end.")
    assert notes(with_coverage(report, scenario_notes=said)) == said


@pytest.mark.parametrize(("role", "said"), [("superuser", True), ("ordinary", False), (None, False)])
def test_a_service_that_connects_as_a_superuser_is_told(report: Report, role: str | None, said: bool) -> None:
    seen = replace(report, info=replace(report.info, environment={"postgres": {"app_role": role}}))
    note = (
        "The service connected as a superuser, for whom Postgres keeps connections that an ordinary role is refused: "
        "max_connections leaves it more than in production."
    )
    assert about(seen, "superuser") == (note if said else "")
    elsewhere = {"target": Target(url="http://a"), "pool_share": math.nan}
    assert about(with_cells(seen, elsewhere, elsewhere), "superuser") == ""


def test_relays_say_how_the_distance_was_kept(report: Report) -> None:
    nearer = replace(RELAY, rtt_ms=5.0, rtt_ms_measured=5.26, late_ms_p99=1.39, idle_drops=3)
    slower = replace(RELAY, rtt_ms_measured=20.5, late_ms_p99=2.07, idle_drops=1)
    found = [note for note in notes(with_coverage(report, relays=(RELAY, nearer, slower))) if "relay" in note]
    assert found == [
        (
            "Between target and Postgres a relay added 5.26 ms a round trip (5 ms asked for); under load it was up to "
            "1.39 ms late each way (p99) and took 0.200 ms of CPU a round trip. It dropped 3 idle connections."
        ),
        (
            "Between target and Postgres a relay added 20.4 ms a round trip (20 ms asked for); under load it was up to "
            "2.07 ms late each way (p99) and took 0.200 ms of CPU a round trip. It dropped 1 idle connection."
        ),
    ]
