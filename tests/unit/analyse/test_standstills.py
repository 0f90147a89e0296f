"""What was stopped is named, and told from what was blocked; what followed from it is no fault of the instrument."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from harness.analyse import analyse
from harness.domain.certificate import Reason
from harness.domain.experiment import Pool
from harness.domain.observed import Death, SamplerGap, Standstill
from harness.domain.tables import PROBE_COLUMNS

SECOND = 1_000_000_000


def still(build: ModuleType, at_s: float, length_s: float, **changes: Any) -> Standstill:
    has: dict[str, Any] = {"role": "target", "launch_id": "b1-c1", "pid": 7}
    return Standstill(t_ns=build.START_NS + round(at_s * SECOND), length_s=length_s, **(has | changes))


def line(build: ModuleType, at_s: float, *, lag_ms: float = 0.0, gc_ms: float = 0.0) -> Any:
    t_ns = build.START_NS + round(at_s * SECOND)
    return build.table(PROBE_COLUMNS, t_ns=[t_ns], pid=[7], loop_lag_max_ms=[lag_ms], gc_pause_max_ms=[gc_ms])


@pytest.mark.parametrize("at_s", [-0.5, 0.5, 0.95, 1.2])
@pytest.mark.parametrize(
    ("role", "who"),
    [
        ("target", "the service"),
        ("pgbouncer", "PgBouncer"),
        ("postgres", "Postgres"),
        ("backend", "one of Postgres's processes"),
    ],
)
def test_a_service_that_stood_still_is_found_whichever_side_of_an_edge_it_fell_on(
    build: ModuleType, role: str, who: str, at_s: float
) -> None:
    found = build.certificate(standstills=(still(build, at_s, 2.0, role=role),))
    assert found.valid
    assert [(reason.kind, reason.code, reason.value) for reason in found.reasons] == [("finding", "stood_still", 2.0)]
    when = "0.5 s before the load" if at_s < 0 else f"{at_s:.1f} s into the load"
    assert found.reasons[0].message == f"{who} (process 7) was stopped for 2.0 s, {when}"


@pytest.mark.parametrize(("others", "more"), [(1, "once more"), (2, "2 times more")])
def test_the_longest_is_named_and_the_others_are_counted(build: ModuleType, others: int, more: str) -> None:
    found = (*[still(build, 0.1, 0.3)] * others, still(build, 0.5, 0.4, pid=8))
    (reason,) = build.certificate(standstills=found).reasons
    assert reason.message == f"the service (process 8) was stopped for 0.4 s, 0.5 s into the load, and {more}"


@pytest.mark.parametrize("role", ["generator", "relay"])
def test_the_instrument_standing_still_makes_a_trial_invalid(build: ModuleType, role: str) -> None:
    found = build.certificate(standstills=(still(build, 0.5, 1.0, role=role, launch_id=""),))
    assert not found.valid
    assert [(reason.kind, reason.code) for reason in found.reasons] == [("instrument", "stopped")]


def test_the_whole_machine_standing_still_is_no_finding(build: ModuleType) -> None:
    """The harness's own samplers gave nothing at the same time, and saw nobody stopped."""
    gaps = tuple(SamplerGap(sampler=name, t_ns=build.START_NS, length_s=5.0) for name in ("process", "postgres"))
    found = build.certificate(gaps=gaps, probe=line(build, 5.1, lag_ms=5000.0))
    assert not found.valid
    assert [reason.code for reason in found.reasons] == ["sampler_gap", "loop_lag"]


def codes(reasons: tuple[Reason, ...]) -> list[str]:
    return [reason.code for reason in reasons]


def test_a_stopped_process_was_not_blocked(build: ModuleType) -> None:
    probe = line(build, 3.1, lag_ms=2500.0)
    stopped, other = still(build, 0.7, 2.4), still(build, 0.7, 2.4, pid=8)
    assert codes(build.certificate(probe=probe).reasons) == ["loop_lag"]
    assert codes(build.certificate(probe=probe, standstills=(stopped,)).reasons) == ["stood_still"]
    assert codes(build.certificate(probe=probe, standstills=(other,)).reasons) == ["stood_still", "loop_lag"]


@pytest.mark.parametrize(
    ("at_s", "lag_ms", "gc_ms", "found"),
    [
        (3.1, 2500.0, 0.0, ["loop_lag"]),  # told two seconds after the load, of a time that began within it
        (3.1, 2000.0, 0.0, []),  # began after its end
        (1.05, 0.0, 60.0, ["gc_pause"]),
        (1.25, 0.0, 60.0, []),
        (-0.1, 500.0, 0.0, []),  # before
    ],
)
def test_readings_that_overlap_the_load_count(
    build: ModuleType, at_s: float, lag_ms: float, gc_ms: float, found: list[str]
) -> None:
    assert codes(build.certificate(probe=line(build, at_s, lag_ms=lag_ms, gc_ms=gc_ms)).reasons) == found


def gap(build: ModuleType, sampler: str) -> SamplerGap:
    return SamplerGap(sampler=sampler, t_ns=build.START_NS + SECOND // 2, length_s=1.5, reason="no answer")


@pytest.mark.parametrize(("sampler", "valid"), [("postgres", True), ("server", True), ("process", False)])
def test_that_postgres_gave_nothing_while_it_could_not_is_no_fault_of_a_sampler(
    build: ModuleType, sampler: str, valid: bool
) -> None:
    gaps = (gap(build, sampler),)
    crash = Death(role="checkpointer", launch_id="", pid=9, t_ns=build.START_NS + SECOND, code=0)
    stopped = still(build, 0.6, 1.0, role="backend", launch_id="")
    assert build.certificate(gaps=gaps, deaths=(crash,)).valid is valid
    assert build.certificate(gaps=gaps, standstills=(stopped,)).valid is valid
    assert not build.certificate(gaps=gaps).valid
    earlier = replace(crash, t_ns=build.START_NS - SECOND)
    assert not build.certificate(gaps=gaps, deaths=(earlier,)).valid


def test_pgbouncers_death_is_named_like_postgress(build: ModuleType) -> None:
    death = Death(role="pgbouncer", launch_id="b1-c1", pid=9, t_ns=build.START_NS + SECOND // 2, code=-9)
    (reason,) = build.certificate(deaths=(death,)).reasons
    assert (reason.kind, reason.code) == ("finding", "died")
    assert reason.message == "PgBouncer (process 9) ended by signal 9 (SIGKILL) 0.5 s into the load"


def test_what_broke_down_is_never_recommended(build: ModuleType) -> None:
    """However fast it was while it went."""
    trials = []
    for number, own_ms in ((1, 10.0), (2, 20.0)):
        for block in (1, 2, 3):
            cell = build.cell(number, pool=Pool(pool_size=5 * number), factors=(("pool.pool_size", 5 * number),))
            made = build.trial(cell, block, build.rows([own_ms + block / 10] * 50))
            broke = (still(build, 0.2, 1.0),) if (number, block) == (1, 2) else ()
            trials.append(replace(made, trial=replace(made.trial, standstills=broke)))
    summary = analyse(build.run(trials)).summary
    assert {own.cell.id: own.broke_down for own in summary.cells} == {"c1": True, "c2": False}
    recommendation = summary.verdict.recommendation
    assert recommendation is not None
    assert recommendation.recommended != "c1"
