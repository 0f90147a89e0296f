"""Each reason is forced alone, from evidence that is otherwise clean."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analyse import analyse
from harness.analyse.applied import NotApplied
from harness.analyse.reasons import percent
from harness.analyse.resources import Neighbours
from harness.domain.certificate import Certificate
from harness.domain.experiment import Slo
from harness.domain.holds import Leak
from harness.domain.load import SETUP_SEGMENT
from harness.domain.observed import Death, SamplerGap, Standstill
from harness.domain.tables import PROBE_COLUMNS, SERVER_COLUMNS

SECOND = 1_000_000_000


def certificate(build: ModuleType, **changes: Any) -> Certificate:
    """The same, with a generator that wrote down how it fared."""
    times = [build.start_ns + SECOND // 2 + SECOND * each for each in range(12)]
    return build.certificate(**({"generator": generator_log(times, [0.4] * 12)} | changes))


def generator_log(t_ns: list[int], cpu_share: list[float], stall_max_ms: float = 3.0) -> pd.DataFrame:
    return pd.DataFrame({"t_ns": t_ns, "cpu_share": cpu_share, "stall_max_ms": stall_max_ms})


def codes(found: Certificate, kind: str) -> list[str]:
    return [reason.code for reason in found.reasons if reason.kind == kind]


def test_clean_evidence_is_valid_without_a_reason(build: ModuleType) -> None:
    assert certificate(build) == Certificate(valid=True)
    assert certificate(build, generator=None, probe=None) == Certificate(valid=True)


def test_a_late_generator_is_no_reason(build: ModuleType) -> None:
    """By how much it can have moved a figure stands beside the figure; no launch is left out for it."""
    rows = build.rows([10.0] * 100)
    rows.loc[rows.index[-2:], "handed_ns"] += 200_000_000
    assert certificate(build, rows=rows) == Certificate(valid=True)


def test_what_the_scenario_does_before_its_first_request_is_no_lag(build: ModuleType) -> None:
    rows = build.rows([80.0] * 100)
    rows["started_ns"] += 50_000_000
    assert certificate(build, rows=rows) == Certificate(valid=True)


def test_later_requests_of_an_arrival_and_the_closed_model_have_no_lag(build: ModuleType) -> None:
    rows = build.rows([10.0] * 100)
    rows[["handed_ns", "started_ns"]] += 50_000_000
    assert certificate(build, rows=rows.assign(sequence=np.uint16(1))).valid
    closed = [build.segment(0, model="closed", rate_rps=None, users=3)]
    assert certificate(build, rows=rows, segments=closed).valid


def test_a_busy_generator(build: ModuleType) -> None:
    times = [build.start_ns + SECOND // 10 * i for i in range(10)]
    busy = generator_log(times, [0.95, 0.96] + [0.3] * 8)
    once = generator_log(times, [0.99] + [0.3] * 9)
    earlier = busy.assign(t_ns=busy["t_ns"] - 5 * SECOND)
    found = certificate(build, generator=busy)
    assert codes(found, "instrument") == ["generator_cpu"]
    assert not found.valid
    assert certificate(build, generator=once).valid
    assert certificate(build, generator=earlier).valid


def test_a_measurement_between_two_readings_of_the_generator_says_that_nobody_looked(build: ModuleType) -> None:
    between = generator_log([build.start_ns - SECOND, build.start_ns + 2 * SECOND], [0.99, 0.99])
    found = certificate(build, generator=between)
    assert (found.valid, codes(found, "finding")) == (True, ["unchecked"])
    assert found.reasons[0].message == (
        "1 s are too short to see whether the load generator kept up: lengthen load.measure_s"
    )
    assert codes(certificate(build, generator=None), "finding") == []


def test_a_schedule_that_falls_short(build: ModuleType) -> None:
    segments = [build.segment(0, rate_rps=10_000.0)]
    found = certificate(build, segments=segments, ledger=build.ledger(segments, share=0.9))
    assert codes(found, "instrument") == ["schedule"]
    assert found.reasons[0].value == pytest.approx(0.9)
    by_chance = [build.segment(0, rate_rps=100.0)]
    assert certificate(build, segments=by_chance, ledger=build.ledger(by_chance, share=0.7)).valid


def test_a_ledger_that_disagrees(build: ModuleType) -> None:
    found = certificate(build, ledger_problems=("segment 3: 5 rows of 6", "segment 4: 1 row of 2"))
    (reason,) = found.reasons
    assert (reason.kind, reason.code, reason.value) == ("instrument", "ledger", 2)
    assert reason.message.endswith("segment 3: 5 rows of 6 (and 1 more)")


@pytest.mark.parametrize(("at_s", "valid"), [(-3.0, True), (-0.5, False), (0.5, False), (1.5, True)])
def test_a_silent_sampler_matters_while_measuring(build: ModuleType, at_s: float, valid: bool) -> None:
    gap = SamplerGap(sampler="postgres", t_ns=build.start_ns + round(at_s * SECOND), length_s=1.0, reason="lost")
    found = certificate(build, gaps=(gap,))
    assert found.valid is valid
    assert codes(found, "instrument") == ([] if valid else ["sampler_gap"])


def test_readings_lost_at_an_unknown_time_count(build: ModuleType) -> None:
    gap = SamplerGap(sampler="probe", t_ns=build.start_ns + 9 * SECOND, length_s=0.0, reason="no file")
    (reason,) = certificate(build, gaps=(gap,)).reasons
    assert (reason.code, reason.message) == ("sampler_gap", "the probe sampler lacks readings (no file)")


@pytest.mark.parametrize(("idle_s", "idle", "found"), [(6.0, False, True), (6.0, True, False), (0.02, False, False)])
def test_a_service_that_others_did_not_wait_for(build: ModuleType, idle_s: float, idle: bool, found: bool) -> None:
    """Its next turn came, or that of another, while it went on with what its clients had given up."""
    turns = [build.turn(0.0, 0.5), build.turn(0.5, 1.0, idle_s=idle_s, idle=idle)]
    seen = certificate(build, ledger=build.ledger([build.segment(0)], turns))
    assert seen.valid
    assert codes(seen, "finding") == (["still_at_work"] if found else [])
    if found:
        assert (seen.reasons[0].value, seen.reasons[0].threshold) == (pytest.approx(6.0), 1.0)
        assert seen.reasons[0].message == "the service was still at work 6 s after its load had ended"


@pytest.mark.parametrize(("empty", "found"), [(1, False), (2, True)])
def test_tasks_that_send_nothing(build: ModuleType, empty: int, found: bool) -> None:
    rows = build.rows([10.0] * (100 - empty) + [0.2] * empty, endpoint=["GET /x"] * (100 - empty) + [""] * empty)
    seen = certificate(build, rows=rows)
    assert seen.valid
    assert codes(seen, "finding") == (["empty_tasks"] if found else [])
    said = "2 % of the arrivals sent no request: they are neither success nor failure"
    assert [reason.message for reason in seen.reasons] == ([said] if found else [])


def test_readings_of_another_launchs_turn_are_not_looked_at(build: ModuleType) -> None:
    """Two turns with a second between them, in which somebody else was measured."""
    segments = [build.segment(0, duration_s=2.0)]
    ledger = build.ledger(segments, [build.turn(0.0, 1.0), build.turn(1.0, 2.0, at_s=2.0)])
    at_ns = [build.START_NS + round(at_s * SECOND) for at_s in (0.5, 1.5, 2.5)]
    rows = pd.concat([build.rows([10.0] * 100), build.rows([10.0] * 100, start_ns=build.START_NS + 2 * SECOND)])
    paused = build.table(PROBE_COLUMNS, t_ns=at_ns, pid=[7] * 3, gc_pause_max_ms=[1.0, 90.0, 1.0])
    between = SamplerGap(sampler="probe", t_ns=at_ns[0] + 6 * SECOND // 10, length_s=0.3)
    clean = {"rows": rows, "segments": segments, "ledger": ledger}
    assert certificate(build, **clean, probe=paused, gaps=(between,)) == Certificate(valid=True)
    found = certificate(build, **clean, probe=paused.assign(gc_pause_max_ms=[1.0, 1.0, 90.0]))
    assert codes(found, "finding") == ["gc_pause"]


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        ("dropped", "dropped", "0.5 % of the arrivals were dropped because as many were in flight as may be"),
        ("timeout", "timeouts", "0.5 % of what was offered timed out"),
        ("unfinished", "unfinished", "0.5 % of what was offered never came back"),
    ],
)
def test_a_failure_is_a_finding_never_an_excuse(build: ModuleType, outcome: str, code: str, said: str) -> None:
    rows = build.rows([10.0] * 200, outcome=["ok"] * 199 + [outcome])
    found = certificate(build, rows=rows)
    assert found.valid
    assert codes(found, "finding") == [code]
    assert (found.reasons[0].value, found.reasons[0].message) == (pytest.approx(0.005), said)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0 %"),
        (4e-6, "less than 0.001 %"),
        (0.0004, "0.04 %"),
        (0.1234, "12.3 %"),
        (1.0, "100 %"),
        (12.0, "1200 %"),
    ],
)
def test_a_share_that_is_small_is_not_called_none(share: float, said: str) -> None:
    """One timeout in ten thousand was "0.0% of what was offered"."""
    assert percent(share) == said


def test_errors_beyond_the_slo(build: ModuleType) -> None:
    rows = build.rows([10.0] * 97 + [np.inf] * 3)
    found = certificate(build, rows=rows)
    assert found.valid
    (reason,) = found.reasons
    assert (reason.code, reason.value, reason.threshold) == ("errors", pytest.approx(0.03), 0.01)
    assert reason.message == "3 % of what was offered failed"
    assert certificate(build, rows=rows, slo=Slo(error_rate=0.05)).reasons == ()
    (promised,) = certificate(build, rows=rows, slo=Slo(error_rate=0.0004)).reasons
    assert promised.message == "3 % of what was offered failed; the SLO allows 0.04 %"


def test_settings_that_the_service_does_not_have(build: ModuleType) -> None:
    wrong = (
        NotApplied(key="pool.pool_size", asked=20, found=(5,)),
        NotApplied(key="pool.pool_pre_ping", asked=True, found=(False,)),
    )
    (reason,) = certificate(build, wrong_settings=wrong).reasons
    other = NotApplied(key="target.engine", asked="3", found=("1 (database a, asyncpg)", "2 (database b, psycopg)"))
    assert certificate(build, wrong_settings=(other,)).reasons[0].message == (
        'target.engine = "3" fits none of the service\'s engines: 1 (database a, asyncpg) and 2 (database b, psycopg)'
    )
    assert (reason.kind, reason.code, reason.value) == ("finding", "setting_not_applied", 2)
    assert reason.message == (
        "pool.pool_size is 5 in the service, not 20 as the experiment has it; "
        "pool.pool_pre_ping is False in the service, not True as the experiment has it"
    )


@pytest.mark.parametrize(("transactions", "found"), [([0.0, 0.0], ["no_connection"]), ([0.0, 3.0], []), ([], [])])
def test_a_service_that_never_reached_its_database_is_named(
    build: ModuleType, transactions: list[float], found: list[str]
) -> None:
    """The last reading decides: Postgres may count what a connection did only when it is closed."""
    times = [build.START_NS + SECOND // 2, build.START_NS + 3 * SECOND][: len(transactions)]
    server = build.table(SERVER_COLUMNS, t_ns=times, key=["transactions"] * len(times), value=transactions)
    seen = certificate(build, server=server)
    assert codes(seen, "finding") == found
    said = "the service opened no connection to the database it was given"
    assert [reason.message for reason in seen.reasons] == [said] * len(found)


@pytest.mark.parametrize(
    ("role", "code", "kind", "said"),
    [
        ("target", -9, "finding", "the service (process 7) ended by signal 9 (SIGKILL) 1.5 s into the load"),
        ("worker", 3, "finding", "a worker of the service (process 7) ended with exit code 3 1.5 s into the load"),
        ("postgres", None, "finding", "Postgres (process 7) ended for an unknown reason 1.5 s into the load"),
        ("relay", -15, "instrument", "the network relay (process 7) ended by signal 15 (SIGTERM) 1.5 s into the load"),
        # whose end is not the cause, and which had no code of its own to tell
        (
            "checkpointer",
            0,
            "finding",
            "Postgres restarted 1.5 s into the load, as it does when one of its processes dies",
        ),
    ],
)
def test_what_died_is_named(build: ModuleType, role: Any, code: int | None, kind: str, said: str) -> None:
    """Before, between or after the measured turns alike: a service that died is a result, an instrument is none."""
    death = Death(role=role, launch_id="b1-c1", pid=7, t_ns=build.START_NS + SECOND * 3 // 2, code=code)
    found = certificate(build, deaths=(death,))
    (reason,) = found.reasons
    assert (reason.kind, reason.code) == (kind, "died" if kind == "finding" else "relay_died")
    assert reason.message == said
    assert found.valid is (kind == "finding")


def test_what_died_before_the_load_is_not_said_to_have_died_under_it(build: ModuleType) -> None:
    deaths = [
        Death(role="target", launch_id="b1-c1", pid=7 + n, t_ns=build.START_NS - SECOND // 2 + n, code=1)
        for n in (0, 1)
    ]
    (reason,) = certificate(build, deaths=tuple(deaths)).reasons
    assert reason.message == ("the service (process 7) ended with exit code 1 0.5 s before the load, and 1 more ended")


@pytest.mark.parametrize(
    ("column", "fine", "bad", "code", "said"),
    [
        ("gc_pause_max_ms", 20.0, 21.0, "gc_pause", "a garbage collection stopped the target for 21 ms"),
        (
            *("loop_lag_max_ms", 100.0, 101.0, "loop_lag"),
            "the target's event loop came round 101 ms late: something blocked it, or it had no core",
        ),
        ("connection_timeouts", 7, 9, "pool_timeouts", "the pool gave up on 2 waits for a connection (pool_timeout)"),
        ("connection_timeouts", 7, 8, "pool_timeouts", "the pool gave up on 1 wait for a connection (pool_timeout)"),
    ],
)
def test_what_the_probe_finds(build: ModuleType, *, column: str, fine: float, bad: float, code: str, said: str) -> None:
    def probe(last: float) -> pd.DataFrame:
        times = [build.start_ns + SECOND // 4 * i for i in (1, 2, 3)]
        first = fine if column == "connection_timeouts" else 0
        return build.table(PROBE_COLUMNS, t_ns=times, pid=[1, 1, 1], **{column: [first, first, last]})

    assert certificate(build, probe=probe(fine)).reasons == ()
    found = certificate(build, probe=probe(bad))
    assert found.valid
    assert [(reason.code, reason.message) for reason in found.reasons] == [(code, said)]
    before = probe(bad)
    before["t_ns"] -= 5 * SECOND
    assert certificate(build, probe=before).reasons == ()


def test_a_leak_is_a_finding(build: ModuleType) -> None:
    leak = Leak(lost=5, exposed_s=10.0, low_per_s=0.2, high_per_s=1.2, pool=15, endpoints=("GET /a",))
    found = certificate(build, leak=leak)
    assert found.valid
    assert [(reason.code, reason.value, reason.message) for reason in found.reasons] == [
        ("leak", 0.5, "5 connections that were taken in 10 s never came back: 0.5/s")
    ]


def test_warm_up_and_setup_are_not_judged(build: ModuleType) -> None:
    segments = [build.segment(0, phase="warmup"), build.segment(1)]
    bad = [build.rows([np.inf] * 50, segment=number) for number in (0, SETUP_SEGMENT)]
    rows = pd.concat([*bad, build.rows([1.0] * 100, segment=1)], ignore_index=True)
    assert certificate(build, rows=rows, segments=segments) == Certificate(valid=True)


def test_a_staircase_is_judged_by_its_rungs(build: ModuleType) -> None:
    segments = [build.segment(0, phase="staircase")]
    assert codes(certificate(build, segments=segments, rows=build.rows([np.inf] * 100)), "finding") == ["errors"]


def test_rungs_that_a_staircase_did_not_come_to_are_no_shortfall(build: ModuleType) -> None:
    segments = [build.segment(number, phase="staircase", rate_rps=1000.0) for number in range(3)]
    climbed = build.ledger(segments[:1], [build.turn(0.0, 1.0, cut="end")])
    rows = build.rows([1.0] * 1000, every_ms=1.0)
    assert certificate(build, segments=segments, rows=rows, ledger=climbed) == Certificate(valid=True)


def test_a_ledger_that_disagrees_with_the_stored_rows_invalidates_the_launch(build: ModuleType) -> None:
    """The certificate was clean when the trial was saved; the rows are compared again when they are read."""
    rows = build.rows([10.0] * 100)
    whole = build.counted(build.ledger([build.segment(0, duration_s=10.0)]), rows)
    cut = build.trial(build.cell(), 0, rows.iloc[:-1], own_ledger=whole)
    kept = build.trial(build.cell(), 1, rows, own_ledger=whole)
    summary = analyse(build.run([cut, kept])).summary
    (cell,) = summary.cells
    assert (cell.all.launches, cell.invalid_launches) == (1, 1)
    assert "ledger" in cell.findings
    (reason,) = summary.certificates["b0-c1"].reasons
    assert (reason.code, reason.value) == ("ledger", 2)  # its endpoint's requests and its task's arrivals
    assert not summary.certificates["b0-c1"].valid
    assert summary.certificates["b1-c1"].valid


def server(build: ModuleType, **keys: list[float]) -> pd.DataFrame:
    """Readings of each key, spread evenly over the judged second."""
    rows = [
        (build.start_ns + SECOND * place // max(1, len(values) - 1), key, value)
        for key, values in keys.items()
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(SERVER_COLUMNS)).astype(dict(SERVER_COLUMNS))


CHECKPOINT = "Postgres wrote a checkpoint during the measurement"


@pytest.mark.parametrize(
    ("code", "clean", "found", "said"),
    [
        (
            "steal",
            {"host_cpu_s": [10, 12], "host_steal_s": [1, 1.03]},
            {"host_cpu_s": [10, 12], "host_steal_s": [1, 1.05]},
            "the hypervisor took 2.5 % of the machine's time",
        ),
        (
            "throttled",
            {"cgroup_throttled_s": [5, 5.009]},
            {"cgroup_throttled_s": [5, 5.011]},
            "a CPU limit held poolbench's processes up for 1.1 % of the time",
        ),
        ("checkpoint", {"checkpoints": [3, 3], "checkpointer_busy": [0, 0]}, {"checkpoints": [3, 4]}, CHECKPOINT),
        ("checkpoint", {"checkpointer_busy": [0]}, {"checkpointer_busy": [0, 1, 0]}, CHECKPOINT),
        (
            "autovacuum",
            {"autovacuum_workers": [0] * 400},
            {"autovacuum_workers": [0, 2] + [0] * 398},
            "autovacuum was at work in 0.25 % of the readings",
        ),
    ],
)
def test_what_server_and_machine_did_beside(
    build: ModuleType, code: str, clean: dict[str, list[float]], found: dict[str, list[float]], said: str
) -> None:
    assert certificate(build, server=server(build, **clean)) == Certificate(valid=True)
    seen = certificate(build, server=server(build, **found))
    assert seen.valid
    assert [(reason.code, reason.message) for reason in seen.reasons] == [(code, said)]


def test_a_busy_machine_that_the_measurement_took_cores_of(build: ModuleType) -> None:
    shares = {"generator": 0.12, "harness": 0.01, "postgres": 0.2}
    found = certificate(build, neighbours=Neighbours(cores=2, busy=0.97, by_role=shares))
    assert found.valid
    (reason,) = found.reasons
    assert (reason.code, reason.value) == ("harness_cpu", pytest.approx(0.33))
    assert reason.message == (
        "97 % of the machine's CPU time was in use; what runs beside the service to measure it used 33 % of the time "
        "of all cores (load generator 12 %, samplers 1 %, Postgres 20 %): alone on the machine the "
        "service would have more"
    )
    for clean in (
        Neighbours(cores=2, busy=0.89, by_role=shares),
        Neighbours(cores=2, busy=0.97, by_role={"generator": 0.04}),
        None,
    ):
        assert certificate(build, neighbours=clean) == Certificate(valid=True)


def test_what_happened_before_and_after_the_measurement_is_no_finding(build: ModuleType) -> None:
    busy = server(build, checkpoints=[3, 4], autovacuum_workers=[1, 1], host_cpu_s=[1, 2], host_steal_s=[0, 1])
    for shift in (-2, 2):
        assert certificate(build, server=busy.assign(t_ns=busy["t_ns"] + shift * SECOND)) == Certificate(valid=True)


def probe_lines(build: ModuleType, **last: float) -> pd.DataFrame:
    """Three seconds in which the counters grow evenly to `last`."""
    times = [build.start_ns + SECOND * i // 10 for i in range(31)]
    table = build.table(PROBE_COLUMNS, t_ns=times, pid=7)
    for name, value in last.items():
        table[name] = np.linspace(0, value, 31) if PROBE_COLUMNS[name] == "float64" else int(value)
    return table


HELD = {"connection_used_integral_s": 2.0, "connection_use_time_s": 2.0, "connection_checkouts": 200}


def test_connections_that_never_come_back_break_no_law(build: ModuleType) -> None:
    """A deadlock of the target is its own doing: two connections out at the end were held for three seconds."""
    stuck = HELD | {"connection_used_integral_s": 7.9, "connection_count_used": 2}
    assert certificate(build, probe=probe_lines(build, **stuck)).valid


def law_of_postgres(build: ModuleType, postgres_s: float, held: dict[str, float], **evidence: Any) -> list[str]:
    """Reasons of a launch whose backends were in use for so long, half of it active."""
    seen = server(build, active_s=[0.0, postgres_s / 2], idle_in_transaction_s=[0.0, postgres_s / 2])
    late = seen.assign(t_ns=seen["t_ns"] + 3 * SECOND)
    return codes(certificate(build, probe=probe_lines(build, **held), server=late, **evidence), "instrument")


LAW = ["littles_law_postgres"]


@pytest.mark.parametrize(
    ("postgres_s", "transaction_s", "found"),
    [
        (1.9, 1.9, []),
        (2.2, 1.9, LAW),  # more than the 2 s that the pool held connections
        (0.2, 1.9, []),  # 200 transactions at 10 ms of transit explain 2 s
        (0.2, 6.0, LAW),
    ],
)
def test_littles_law_between_postgres_and_the_probe(
    build: ModuleType, postgres_s: float, transaction_s: float, found: list[str]
) -> None:
    assert law_of_postgres(build, postgres_s, HELD | {"transaction_time_s": transaction_s}) == found


@pytest.mark.parametrize("role", ["postgres", "backend", "target"])
def test_what_waited_for_a_postgres_that_stood_still_is_no_time_that_it_missed(build: ModuleType, role: Any) -> None:
    """Seen with docker pause: 22 s in transactions, of which Postgres knew six."""
    still = Standstill(role=role, launch_id="b1-c1", pid=7, t_ns=build.START_NS, length_s=2.0)
    held = HELD | {"transaction_time_s": 6.0}
    assert law_of_postgres(build, 0.2, held, standstills=(still,)) == ([] if role != "target" else LAW)
    assert law_of_postgres(build, 2.5, held, standstills=(still,)) == LAW


def test_a_transaction_that_postgres_ended_is_no_time_that_it_missed(build: ModuleType) -> None:
    """Seen with sessions that leak under idle_in_transaction_session_timeout: the pool has them out to the end."""
    held = HELD | {"transaction_time_s": 6.0}
    assert law_of_postgres(build, 0.2, held, outlasting=True) == []
    assert law_of_postgres(build, 2.5, held, outlasting=True) == LAW


@pytest.mark.parametrize("before", ["connection_ping_time_s", "connection_create_time_s"])
def test_postgres_sees_a_connection_before_it_is_handed_out(build: ModuleType, before: str) -> None:
    """Seen with asyncpg, which pings in a transaction, and psycopg2, which asks each new connection for its types."""
    assert law_of_postgres(build, 2.2, HELD | {before: 0.3}) == []
    assert law_of_postgres(build, 2.5, HELD | {before: 0.3}) == LAW


def test_postgres_does_not_time_a_statement_of_two_steps_whole(build: ModuleType) -> None:
    """Seen with asyncpg that keeps nothing prepared: 104 requests of seven statements, half of whose time it saw."""
    held = {"connection_used_integral_s": 86.5, "connection_use_time_s": 86.5, "transaction_time_s": 86.5}
    held |= {"connection_checkouts": 104, "loop_lag_max_ms": 50}
    assert law_of_postgres(build, 45.5, held, prepared_at_most=728) == []
    assert law_of_postgres(build, 45.5, held, prepared_at_most=math.nan) == []
    assert law_of_postgres(build, 45.5, held) == LAW


def test_the_event_loops_lag_counts_while_connections_are_given_back(build: ModuleType) -> None:
    """That of a service that blocks its loop for half a second as it starts explains nothing."""
    lines = probe_lines(build, **HELD | {"transaction_time_s": 6.0})
    lines["connection_checkouts"] = [0] * 10 + list(range(10, 220, 10))
    seen = server(build, active_s=[0.0, 0.1], idle_in_transaction_s=[0.0, 0.1])
    for while_starting in (True, False):
        lines["loop_lag_max_ms"] = np.where((lines["connection_checkouts"] == 0) == while_starting, 500.0, 0.5)
        found = certificate(build, probe=lines, server=seen.assign(t_ns=seen["t_ns"] + 3 * SECOND))
        assert codes(found, "instrument") == (LAW if while_starting else [])


@pytest.mark.parametrize("role", ["target", "worker", "postgres", "checkpointer"])
def test_what_died_takes_its_counts_along(build: ModuleType, role: Any) -> None:
    """The service's last half second, or all that Postgres knew: no fault of the instrument."""
    death = Death(role=role, launch_id="b1-c1", pid=7, t_ns=build.START_NS + SECOND, code=-9)
    assert law_of_postgres(build, 2.5, HELD, deaths=(death,)) == []


def test_workers_that_share_unevenly(build: ModuleType) -> None:
    even = build.rows([10.0] * 400, pid=np.tile([1, 2], 200))
    uneven = build.rows([10.0] * 400, pid=[1] * 350 + [2] * 50)
    one_idle = build.rows([10.0] * 400, pid=1)
    lines = build.table(PROBE_COLUMNS, t_ns=[build.start_ns] * 2, pid=[1, 2])
    assert certificate(build, rows=even) == Certificate(valid=True)
    (reason,) = certificate(build, rows=uneven).reasons
    assert reason.message == "one of 2 workers answered 1.8 times its share of the requests"
    assert codes(certificate(build, rows=one_idle, probe=lines), "finding") == ["imbalance"]
    assert certificate(build, rows=one_idle) == Certificate(valid=True)


def test_a_warm_up_that_was_too_short(build: ModuleType) -> None:
    """One second of warm-up, but the first three seconds are slower than the rest."""
    segments = [build.segment(0, phase="warmup"), build.segment(1, duration_s=9.0)]
    ledger = build.ledger(segments)
    slow, steady = [30.0] * 3000, [10.0] * 7000
    noise = np.random.default_rng(1).normal(0, 0.2, 10_000)
    found = certificate(build, rows=warmed(build, np.add(slow + steady, noise)), segments=segments, ledger=ledger)
    (reason,) = found.reasons
    assert (reason.kind, reason.code, reason.threshold) == ("finding", "warmup", pytest.approx(1.0))
    assert reason.value == pytest.approx(3.0)
    assert reason.message == ("latency settled after 3.0 s of load, but the warm-up was 1.0 s: lengthen load.warmup_s")
    settled = warmed(build, np.add([30.0] * 1000 + [10.0] * 9000, noise))
    assert certificate(build, rows=settled, segments=segments, ledger=ledger) == Certificate(valid=True)


def test_latency_that_only_scatters_asks_for_no_longer_warm_up(build: ModuleType) -> None:
    """Few requests a bin, so that the medians scatter by 20 %: hardly ever taken for a trend."""
    segments = [build.segment(0, phase="warmup"), build.segment(1, duration_s=9.0)]
    ledger = build.ledger(segments)
    found = []
    for seed in range(20):
        bins = 10 * np.exp(np.random.default_rng(seed).normal(0, 0.2, 100))
        rows = warmed(build, np.repeat(bins, 100))
        found += codes(certificate(build, rows=rows, segments=segments, ledger=ledger), "finding")
    assert len(found) <= 1


def warmed(build: ModuleType, latency_ms: np.ndarray) -> pd.DataFrame:
    """1000 arrivals in segment 0, the rest in segment 1."""
    rows = build.rows(latency_ms, every_ms=1.0)
    return rows.assign(segment=np.where(rows.index < 1000, 0, 1).astype("uint32"))


def test_every_finding_is_forced_by_a_test_here() -> None:
    """Each check names itself in the code of its reason; a new one must be forced here or among the standstills."""
    import re
    from pathlib import Path

    from harness.analyse import findings

    text = Path(str(findings.__file__)).read_text()
    known = set(re.findall(r"(?:above\(\s*\"\w+\", |code=)\"(\w+)\"", text))
    forced = Path(__file__).read_text() + Path(__file__).with_name("test_standstills.py").read_text()
    assert len(known) == len(findings.FINDINGS)
    assert [code for code in sorted(known) if f'"{code}"' not in forced] == []
