"""Every reason to call a launch invalid: it comes of what a real fault would do, and not of a little less.

The launch is otherwise sound, with all there is to look at: 10 s at 300/s, a probe, Postgres's readings, a relay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analyse.certificate import certify
from harness.analyse.instrument import INSTRUMENT
from harness.analyse.judged import Known
from harness.domain.experiment import Slo
from harness.domain.ledger import check_ledger
from harness.domain.observed import Death, RelayReadings, Standstill
from harness.domain.tables import GENERATOR_COLUMNS, PROBE_COLUMNS, SERVER_COLUMNS
from harness.observe.sampler import GapTracker

SECOND = 1_000_000_000
MEASURE_S = 10
RATE_RPS = 300.0
ARRIVALS = round(MEASURE_S * RATE_RPS)

Change = Mapping[str, Any]
"""What a fault does to the evidence"""
Fault = Callable[[ModuleType], Change]


@cache
def sound(build: ModuleType) -> dict[str, Any]:
    segments = [build.segment(0, duration_s=float(MEASURE_S), rate_rps=RATE_RPS)]
    rows = build.rows([10.0] * ARRIVALS, every_ms=1000 / RATE_RPS)
    return {
        "rows": rows,
        "segments": segments,
        "ledger": build.counted(build.ledger(segments), rows),
        "ledger_problems": (),
        "gaps": (),
        "generator": generator(build),
        "probe": probe(build),
        "server": postgres(build),
        "slo": Slo(),
        "clock_uncertainty_ms": 0.01,
        "generator_ceiling_rps": 2000.0,
        "relay": relay(late_ms_p50=0.1),
    }


def generator(build: ModuleType, *, busy_seconds: int = 0, cpu_share: float = 0.3, stall_ms: float = 3.0) -> Any:
    """A reading a second: so many of them with this share of a core, and one longest stall."""
    each = range(MEASURE_S)
    return build.table(
        GENERATOR_COLUMNS,
        t_ns=[build.START_NS + SECOND * second + SECOND // 2 for second in each],
        cpu_share=[cpu_share if second < busy_seconds else 0.3 for second in each],
        stall_max_ms=[stall_ms if second == 4 else 3.0 for second in each],
    )


def probe(build: ModuleType, *, noticed: float = 1.0) -> pd.DataFrame:
    """3000 checkouts of 60 ms, nearly all of it in a transaction; of the hold times this share was noticed."""
    count = MEASURE_S * 10 + 1
    whole_s = np.linspace(0, ARRIVALS * 0.06, count)
    return build.table(
        PROBE_COLUMNS,
        t_ns=[build.START_NS + SECOND * tenth // 10 for tenth in range(count)],
        pid=7,
        connection_checkouts=[ARRIVALS * tenth // (count - 1) for tenth in range(count)],
        connection_used_integral_s=list(whole_s),
        connection_use_time_s=list(whole_s * noticed),
        transaction_time_s=list(whole_s * 0.98),
        connection_ping_time_s=list(whole_s * 0.01),
        loop_lag_max_ms=0.5,
    )


def postgres(build: ModuleType, *, share: float = 0.9) -> pd.DataFrame:
    """Its time in transactions, as a share of the time that the pool held connections."""
    keys = ["active_s", "idle_in_transaction_s"]
    values = [ARRIVALS * 0.06 * share / 2] * 2
    return build.table(SERVER_COLUMNS, t_ns=[build.START_NS + MEASURE_S * SECOND] * 2, key=keys, value=values)


def relay(*, late_ms_p50: float) -> RelayReadings:
    return RelayReadings(
        rtt_ms=2.0,
        rtt_ms_measured=2.1,
        late_ms_p50=late_ms_p50,
        late_ms_p99=14.0,
        round_trips=9000,
        connections=20,
        idle_drops=0,
        cpu_s=0.3,
    )


def offered(build: ModuleType, share: float) -> Change:
    return {"ledger": build.ledger(sound(build)["segments"], share=share)}


def rows_lost(build: ModuleType, count: int) -> Change:
    whole = sound(build)
    rows = whole["rows"].iloc[count:]
    return {"rows": rows, "ledger_problems": check_ledger(whole["ledger"], rows)}


def sampler_silent(build: ModuleType, seconds: float) -> Change:
    """One that reads ten times a second, in the middle of the measurement."""
    tracker = GapTracker("postgres", 0.1)
    tracker.opened(build.START_NS + 4 * SECOND)
    tracker.reading(build.START_NS + 4 * SECOND + round(seconds * SECOND))
    return {"gaps": tuple(tracker.gaps)}


def sampler_stood_still(build: ModuleType, late_s: float) -> Change:
    """Its next reading began so late: after a stall of 300 ms at least 0.18 s, after its pause of 0.12 s at most."""
    tracker = GapTracker("process", 0.1)
    tracker.opened(build.START_NS + 4 * SECOND)
    tracker.begun(late_s)
    tracker.reading(build.START_NS + 4 * SECOND + round((0.12 + late_s) * SECOND))
    return {"gaps": tuple(tracker.gaps)}


def stopped(build: ModuleType, role: Any) -> Change:
    """A process stood still for a third of a second; of the service that is a finding."""
    at_ns = build.START_NS + SECOND
    return {"standstills": (Standstill(role=role, launch_id="b1-c1", pid=7, t_ns=at_ns, length_s=0.3),)}


def died(build: ModuleType, role: Any) -> Change:
    return {"deaths": (Death(role=role, launch_id="b1-c1", pid=7, t_ns=build.START_NS + SECOND, code=-9),)}


FAULTS: Mapping[str, tuple[tuple[Fault, Fault], ...]] = {
    "generator_cpu": (
        (
            lambda build: {"generator": generator(build, busy_seconds=2, cpu_share=0.85)},
            lambda build: {"generator": generator(build, busy_seconds=2, cpu_share=0.95)},
        ),
    ),
    # with what is usual, a stall of 300 ms is 3.3 % of ten seconds and 6.2 % of five
    "stall": (
        (
            lambda build: {"generator": generator(build, stall_ms=300.0)},
            lambda build: {"generator": generator(build, stall_ms=300.0).iloc[:5]},
        ),
    ),
    "schedule": ((lambda build: offered(build, 0.93), lambda build: offered(build, 0.9)),),
    "ceiling": ((lambda _: {"generator_ceiling_rps": 340.0}, lambda _: {"generator_ceiling_rps": 320.0}),),
    "ledger": ((lambda build: rows_lost(build, 0), lambda build: rows_lost(build, 1)),),
    "sampler_gap": (
        (lambda build: sampler_silent(build, 0.45), lambda build: sampler_silent(build, 0.55)),
        (lambda build: sampler_stood_still(build, 0.14), lambda build: sampler_stood_still(build, 0.18)),
    ),
    "lost_worker": ((lambda _: {"lost_workers": ()}, lambda _: {"lost_workers": ("worker-2",)}),),
    "clock": ((lambda _: {"clock_uncertainty_ms": 0.9}, lambda _: {"clock_uncertainty_ms": 1.1}),),
    "relay_late": ((lambda _: {"relay": relay(late_ms_p50=0.9)}, lambda _: {"relay": relay(late_ms_p50=1.1)}),),
    "relay_died": ((lambda build: died(build, "target"), lambda build: died(build, "relay")),),
    "littles_law_probe": (
        (lambda build: {"probe": probe(build, noticed=0.96)}, lambda build: {"probe": probe(build, noticed=0.9)}),
        (lambda build: {"probe": probe(build, noticed=1.04)}, lambda build: {"probe": probe(build, noticed=1.1)}),
    ),
    "stopped": ((lambda build: stopped(build, "target"), lambda build: stopped(build, "generator")),),
    # more than hold times and pings explain; less than the way there and back explains: 12.5 ms of 60
    "littles_law_postgres": (
        (lambda build: {"server": postgres(build, share=1.05)}, lambda build: {"server": postgres(build, share=1.1)}),
        (lambda build: {"server": postgres(build, share=0.75)}, lambda build: {"server": postgres(build, share=0.7)}),
    ),
}
"""Code -> pairs: just below its threshold, and what forces it."""
SAYS: Mapping[str, tuple[str, ...]] = {
    "generator_cpu": ("the load generator used 95 % of its core or more for a tenth of the time",),
    "stall": ("the load generator stood still for 6.24 % of the time or more",),
    "schedule": ("2700 arrivals were offered where the plan asks for about 3000",),
    "ceiling": ("300 arrivals/s were asked of a load generator that was calibrated to send 320 at most",),
    "ledger": ("the generator's counts and its rows disagree: ",),
    "sampler_gap": ("the postgres sampler gave nothing for 0.6 s", "the process sampler gave nothing for 0.3 s"),
    "lost_worker": ("the generator lost its worker worker-2",),
    "clock": ("the clock is only known to 1.1 ms",),
    "relay_late": ("the network relay passed on half of the pieces 1.1 ms late or more",),
    "relay_died": ("the network relay (process 7) ended by signal 9 (SIGKILL) 1.0 s into the load",),
    "littles_law_probe": (
        "the probe's connections were in use for 180.00 s, but held for 162.00 s in 3000 checkouts",
        "the probe's connections were in use for 180.00 s, but held for 198.00 s in 3000 checkouts",
    ),
    "stopped": ("the load generator (process 7) was stopped for 0.3 s, 1.0 s into the load",),
    "littles_law_postgres": (
        "Postgres saw connections busy for 198.00 s, the pool held them for 180.00 s, 176.40 s of that in transactions",
        "Postgres saw connections busy for 126.00 s, the pool held them for 180.00 s, 176.40 s of that in transactions",
    ),
}
"""Code -> what is said of what forces it; of the others nothing is said."""
CASES = [
    pytest.param(code, fault, says, id=f"{code}{place or ''} {'forced' if says else 'below'}")
    for code, pairs in FAULTS.items()
    for place, pair in enumerate(pairs)
    for fault, says in zip(pair, ("", SAYS[code][place]), strict=True)
]


@pytest.mark.parametrize(("code", "fault", "says"), CASES)
def test_a_fault_of_the_instrument_is_the_only_reason(build: ModuleType, code: str, fault: Fault, says: str) -> None:
    found = certify(Known(**(sound(build) | fault(build))))
    reasons = [reason for reason in found.reasons if reason.kind == "instrument"]
    assert [reason.code for reason in reasons] == ([code] if says else [])
    assert all(reason.message.startswith(says) for reason in reasons)
    assert found.valid is not bool(says)


def test_two_workers_are_not_said_to_be_one(build: ModuleType) -> None:
    (reason,) = certify(Known(**(sound(build) | {"lost_workers": ("2", "3")}))).reasons
    assert reason.message == "the generator lost its workers 2, 3"


def test_a_sound_launch_has_no_reason(build: ModuleType) -> None:
    assert certify(Known(**sound(build))).reasons == ()


def test_every_check_is_forced_here() -> None:
    """A check has one reason; `test_a_fault_...` holds that each of these codes is some check's."""
    assert len(FAULTS) == len(INSTRUMENT)
