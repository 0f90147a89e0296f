"""What the generator measures against servers whose latency is known, on real clocks.

The expectation is computed from the schedule as it was realised (the intended times in the rows) and from what the
server itself witnessed of each request (when it had come, when it was answered):

- an arrival due while the server stood still is expected to last from its intended time until the server's answer;
- any other is expected to last as long as the server really took from reading to answering, its own timers' lateness
  included;
  (the server's account begins when the kernel had the request: waiting for a core is the server's own time);
- drops are replayed arrival by arrival: one finds no place when as many as the cap have been sent and not answered.

- several processes are expected to send what one sends on the same schedule, arrival by arrival, and to measure the
  same.

How far a report's interval holds the truth is counted over the same launches, and over more beside two endless loops
(`interval`): `inside` is the share of figures, one a percentile and launch, whose truth lies within.

So neither the way to the server nor any lateness of the generator is part of what is expected: both are errors. On a
shared machine both have bad moments, so a short case is repeated: its figures are those of the repeat with the median
error, and `errors` holds all. `beyond_the_server_p99_ms` says where a repeat lost time: before sending, on the way to
the server's read, and from its answer to the generator's clock.

Beside each case stand the figures of other load generators on a server of the same behaviour, reported the way they
report: Locust's stock closed loop with constant_throughput at the same rate, wrk and hey where they are installed.
"""

from __future__ import annotations

import heapq
import math
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import interval, others
from benchmarks.driving import Driven, drive_plan, open_segment
from benchmarks.stubs import NS_PER_S, Behaviour, Stub, serving

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SHARES = {"p50_ms": 0.50, "p90_ms": 0.90, "p95_ms": 0.95, "p99_ms": 0.99}
FREE_MS = 1.0
"""An error up to this counts as none: the way there and back, which the server does not see."""
GOAL = 0.01
OTHERS_S = 6.0
REPEATS = 3
WORKERS = 3
OTHERS_CONNECTIONS = 20
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A server, and what is sent to it."""

    name: str
    behaviour: Behaviour
    rate_rps: float
    duration_s: float
    arrivals: str = "poisson"
    max_in_flight: int = 900
    repeats: int = REPEATS
    compared_s: float = OTHERS_S
    """how long the other load generators run"""


BIMODAL = Case(
    name="bimodal",
    behaviour=Behaviour(kind="bimodal", delay_s=0.005, slow_s=0.15),
    rate_rps=200.0,
    duration_s=7.0,
)
CASES = (
    Case(name="constant", behaviour=Behaviour(kind="constant", delay_s=0.02), rate_rps=200.0, duration_s=5.0),
    BIMODAL,
    Case(
        name="freeze",
        behaviour=Behaviour(kind="freeze", delay_s=0.002, freeze_at_s=30.0, freeze_s=2.0),
        rate_rps=100.0,
        duration_s=60.0,
        repeats=1,
        compared_s=60.0,
    ),
    Case(
        name="sawtooth",
        behaviour=Behaviour(kind="sawtooth", delay_s=0.01, slow_s=0.1, period_s=2.0),
        rate_rps=200.0,
        duration_s=6.0,
    ),
    Case(
        name="slower_than_offered",
        behaviour=Behaviour(kind="constant", delay_s=0.99),
        rate_rps=50.0,
        duration_s=6.0,
        arrivals="uniform",
        max_in_flight=25,
    ),
)

SHORT_FREEZE = Case(
    name="short_freeze",
    behaviour=Behaviour(kind="freeze", delay_s=0.002, freeze_at_s=3.0, freeze_s=0.5),
    rate_rps=100.0,
    duration_s=7.0,
)


def measure(scale: float = 1.0) -> Mapping[str, Any]:
    """Every case, expected and measured; `max_error` of them all. `scale` shortens everything alike."""
    quiet: list[interval.Figure] = []
    cases = [_measure_case(_scaled(case, scale), quiet) for case in CASES]
    cases.append(_measure_workers(_scaled(BIMODAL, scale)))
    return {
        "cases": cases,
        "max_error": max(case["error"] for case in cases),
        "goal": GOAL,
        "interval": {
            "quiet": interval.summary(quiet),
            "busy": interval.summary(_busy(scale)),
            "goal_inside": interval.GOAL_INSIDE,
            "goal_width": f"median at most {interval.GOAL_WIDTH_MS:g} ms + {interval.GOAL_WIDTH_SHARE:.0%} when quiet",
        },
        "free_ms": FREE_MS,
        "percentiles": "of what was offered, from the intended time",
    }


def _scaled(case: Case, scale: float) -> Case:
    """The same case in less time; a freeze moves with it and stays as long in proportion."""
    behaviour = replace(
        case.behaviour,
        freeze_at_s=case.behaviour.freeze_at_s * scale,
        freeze_s=case.behaviour.freeze_s * scale,
    )
    return replace(
        case, behaviour=behaviour, duration_s=case.duration_s * scale, compared_s=max(3.0, case.compared_s * scale)
    )


def _busy(scale: float) -> list[interval.Figure]:
    """The same services beside endless loops; a freeze is short there, and what is dropped has no truth."""
    found: list[interval.Figure] = []
    with interval.endless_loops():
        for case in (*(case for case in CASES if _has_a_truth(case) and case.repeats > 1), SHORT_FREEZE):
            for _ in range(case.repeats):
                _measure_once(_scaled(case, scale), found)
    return found


def _has_a_truth(case: Case) -> bool:
    """Whether every arrival is sent: the server knows nothing of those that are dropped."""
    return case.max_in_flight >= case.rate_rps


def _measure_case(case: Case, figures: list[interval.Figure]) -> Mapping[str, Any]:
    repeats = sorted((_measure_once(case, figures) for _ in range(case.repeats)), key=lambda found: found["error"])
    middle = repeats[len(repeats) // 2]
    return {
        "name": case.name,
        **middle,
        "errors": [found["error"] for found in repeats],
        "rate_rps": case.rate_rps,
        "duration_s": case.duration_s,
        "reported_by_others": _reported(case),
    }


def _measure_once(case: Case, figures: list[interval.Figure]) -> dict[str, Any]:
    """One launch; what its interval is and should hold is added to `figures`."""
    with tempfile.TemporaryDirectory() as folder, serving(case.behaviour) as stub:
        driven = _drive(case, stub, Path(folder))
    expected, measured = compare(case, driven, stub)
    if _has_a_truth(case):
        figures += interval.figures(case.name, driven, _truth_ms(driven, stub))
    return {
        "expected": expected,
        "measured": measured,
        "error": round(error(expected, measured), 4),
        "beyond_the_server_p99_ms": _beyond_the_server(driven, stub),
    }


def _measure_workers(case: Case) -> Mapping[str, Any]:
    """WORKERS processes beside one on the same schedule, each with a fresh server of the same behaviour."""
    repeats = sorted((_compare_workers(case) for _ in range(case.repeats)), key=lambda found: found["error"])
    return {
        "name": f"one_process_and_{WORKERS}",
        **repeats[len(repeats) // 2],
        "errors": [found["error"] for found in repeats],
        "rate_rps": case.rate_rps,
        "duration_s": case.duration_s,
    }


def _compare_workers(case: Case) -> dict[str, Any]:
    figures, sent = [], []
    for processes in (1, WORKERS):
        with tempfile.TemporaryDirectory() as folder, serving(case.behaviour) as stub:
            driven = _drive(case, stub, Path(folder), processes=processes)
        rows = driven.rows.sort_values("arrival")
        offsets_ns = rows["intended_ns"] - driven.output.start_ns
        sent.append(list(zip(rows["arrival"], offsets_ns, strict=True)))
        figures.append(percentiles(((rows["finished_ns"] - rows["intended_ns"]) / 1e6).to_numpy()))
    expected = {**figures[0], "same_arrivals": len(sent[0])}
    measured = {**figures[1], "same_arrivals": len(set(sent[0]) & set(sent[1]))}
    return {"expected": expected, "measured": measured, "error": round(error(expected, measured), 4)}


def _drive(case: Case, stub: Stub, folder: Path, processes: int = 1) -> Driven:
    segment = open_segment(rate_rps=case.rate_rps, duration_s=case.duration_s, arrivals=case.arrivals)
    return drive_plan(stub.url, [segment], folder, max_in_flight=case.max_in_flight, processes=processes)


def compare(case: Case, driven: Driven, stub: Stub) -> tuple[Figures, Figures]:
    """What the server's own account makes of the schedule, and what the generator measured."""
    rows = driven.rows.sort_values("intended_ns")
    log = stub.log().set_index("arrival")
    served = rows[rows["outcome"] == "ok"]
    measured_ms = (served["finished_ns"] - served["intended_ns"]).to_numpy() / 1e6
    expected_ms = _expected_ms(served, log, stub.frozen_ns)
    expected, measured = percentiles(expected_ms), percentiles(measured_ms)
    if case.max_in_flight < case.rate_rps:
        expected = {**expected, "dropped": replayed_drops(case, rows, log)}
        measured = {**measured, "dropped": int((rows["outcome"] == "dropped").sum())}
    return expected, measured


def _truth_ms(driven: Driven, stub: Stub) -> np.ndarray:
    """The true latency of every arrival, infinite for what was not served."""
    import numpy as np

    served = driven.rows[driven.rows["outcome"] == "ok"]
    failed = np.full(len(driven.rows) - len(served), np.inf)
    return np.concatenate([_expected_ms(served, stub.log().set_index("arrival"), stub.frozen_ns), failed])


def _expected_ms(served: pd.DataFrame, log: pd.DataFrame, frozen_ns: tuple[int, int] | None) -> np.ndarray:
    """Latency of each served arrival as the server witnessed it; see the head of this file."""
    own = log.loc[served["arrival"]]
    intended_ns = served["intended_ns"].to_numpy()
    begun_ns = own["received_ns"].to_numpy().copy()
    if frozen_ns is not None:
        caught = (intended_ns >= frozen_ns[0]) & (intended_ns <= frozen_ns[1])
        begun_ns[caught] = intended_ns[caught]
    latency_ms: np.ndarray = (own["sent_ns"].to_numpy() - begun_ns) / 1e6
    return latency_ms


def percentiles(latencies_ms: np.ndarray) -> dict[str, float]:
    """The percentiles by name, each as reports define it."""
    from harness.analyse.estimate import quantile_of

    return {name: round(quantile_of(latencies_ms, share), 3) for name, share in SHARES.items()}


def replayed_drops(case: Case, rows: pd.DataFrame, log: pd.DataFrame) -> int:
    """How many arrivals find the cap reached when each that has a place keeps it until the server's answer."""
    answered_ns = log["sent_ns"].to_dict()
    leaving_ns: list[int] = []
    dropped = 0
    for number, intended_ns in zip(rows["arrival"], rows["intended_ns"], strict=True):
        while leaving_ns and leaving_ns[0] <= intended_ns:
            heapq.heappop(leaving_ns)
        if len(leaving_ns) >= case.max_in_flight:
            dropped += 1
        else:  # one the generator dropped has no witness
            nominal_ns = intended_ns + round(case.behaviour.delay_s * NS_PER_S)
            heapq.heappush(leaving_ns, answered_ns.get(number, nominal_ns))
    return dropped


def _beyond_the_server(driven: Driven, stub: Stub) -> Figures:
    """Where time went that the server knows nothing of, each stretch's own 99th percentile."""
    served = driven.rows[driven.rows["outcome"] == "ok"].set_index("arrival")
    own = stub.log().set_index("arrival").loc[served.index]
    stretches_ns = {
        "before_sending": served["started_ns"] - served["intended_ns"],
        "way_there": own["received_ns"] - served["started_ns"],
        "way_back": served["finished_ns"] - own["sent_ns"],
    }
    return {name: percentiles(ns.to_numpy() / 1e6)["p99_ms"] for name, ns in stretches_ns.items()}


def error(expected: Figures, measured: Figures) -> float:
    """The largest relative error of any figure; of a latency, what is beyond FREE_MS. Drops are exact or wrong."""
    return max(
        _relative(abs(measured[name] - value) - (FREE_MS if name.endswith("_ms") else 0.0), value)
        for name, value in expected.items()
    )


def _relative(beyond: float, value: float) -> float:
    if beyond <= 0:
        return 0.0
    return beyond / value if value else math.inf


def _reported(case: Case) -> Mapping[str, Any]:
    """What the other load generators say, each about a server of its own; all at the same time."""
    duration_s = case.compared_s

    def locust_closed(url: str) -> Any:
        return others.locust_closed(url, rate_rps=case.rate_rps, users=OTHERS_CONNECTIONS, duration_s=duration_s)

    def wrk(url: str) -> Any:
        return others.wrk(url, connections=OTHERS_CONNECTIONS, duration_s=duration_s)

    def hey(url: str) -> Any:
        return others.hey(url, rate_rps=case.rate_rps, connections=OTHERS_CONNECTIONS, duration_s=duration_s)

    def against_its_own(report: Any) -> Any:
        with serving(case.behaviour) as stub:
            return report(stub.url)

    reports: Sequence[Any] = (locust_closed, wrk, hey)
    with ThreadPoolExecutor(len(reports)) as pool:
        found = list(pool.map(against_its_own, reports))
    return {report.__name__: figures for report, figures in zip(reports, found, strict=True) if figures is not None}
