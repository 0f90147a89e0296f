"""What is said of queues, against exact simulations of services whose utilisation and steady state are known.

The simulations share nothing with the code they judge: they know the holds, of which it sees only when requests were
due and when they ended. Two launches of a second of warm-up and ten of measurement, as a run has them at least.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lengths import length

from harness.analyse import analyse
from harness.analyse.arrays import NEVER
from harness.analyse.queueing import Cpu, Queue, QueueVerdict, judge_queue, queue_of
from harness.analyse.windows import Windows
from harness.domain.experiment import Load, Pool
from harness.domain.verdict import CellSummary

LOAD_S, WARMUP_S = 11.0, 1.0
LAUNCHES = 2
SEEDS = range(length(4, 1))
SERVICES = list(product(("exponential", "constant", "rare"), (1, 4, 10)))
MEAN_S = {1: 0.02, 4: 0.02, 10: 0.05}
"""of a hold, by the number of connections"""


def draw_holds(kind: str, mean_s: float, count: int, random: np.random.Generator) -> np.ndarray:
    """Exponential; all alike; or one in fifty that is 300 times as long as the others."""
    if kind == "exponential":
        return random.exponential(mean_s, count)
    if kind == "constant":
        return np.full(count, mean_s)
    short_s = mean_s / (0.98 + 0.02 * 300)
    return np.where(random.random(count) < 0.02, 300 * short_s, short_s)


def serve(
    due_s: np.ndarray,
    holds_s: np.ndarray,
    connections: int,
    *,
    patience_s: float = math.inf,
    timeout_s: float = math.inf,
    cap: int = 10**9,
) -> tuple[np.ndarray, np.ndarray]:
    """When each ends and how, in a queue served in order: ok, error (it gave up waiting), timeout, dropped."""
    if patience_s == timeout_s == math.inf and cap >= len(due_s):
        return serve_all(due_s, holds_s, connections), np.full(len(due_s), "ok")
    free_s, ends_s, outcomes, present = [0.0] * connections, [], [], []
    for at_s, hold_s in zip(due_s.tolist(), holds_s.tolist(), strict=True):
        while present and present[0] <= at_s:
            heapq.heappop(present)
        begun_s = max(at_s, free_s[0])
        end_s, outcome = begun_s + hold_s, "ok"
        if len(present) >= cap:
            end_s, outcome = at_s, "dropped"
        elif begun_s - at_s > patience_s:
            end_s, outcome = at_s + patience_s, "error"
        else:
            heapq.heapreplace(free_s, end_s)
            if end_s - at_s > timeout_s:
                end_s, outcome = at_s + timeout_s, "timeout"
        if outcome != "dropped":
            heapq.heappush(present, end_s)
        ends_s.append(end_s)
        outcomes.append(outcome)
    return np.array(ends_s), np.array(outcomes)


def serve_all(due_s: np.ndarray, holds_s: np.ndarray, connections: int) -> np.ndarray:
    """When each ends where all are served: with one connection (Lindley) a running maximum says it."""
    if connections == 1:
        worked_s = np.cumsum(holds_s)
        return worked_s + np.maximum.accumulate(due_s - worked_s + holds_s)
    free_s, ends_s = [0.0] * connections, []
    for at_s, hold_s in zip(due_s.tolist(), holds_s.tolist(), strict=True):
        end_s = max(at_s, free_s[0]) + hold_s
        heapq.heapreplace(free_s, end_s)
        ends_s.append(end_s)
    return np.array(ends_s)


def share_processor(due_s: np.ndarray, needs_s: np.ndarray, connections: int) -> np.ndarray:
    """When each ends at a processor that works for all that have a connection at the same time, in equal shares."""
    ends_s, working, waiting = np.zeros(len(due_s)), [], []
    given_s, now_s, arrived = 0.0, 0.0, 0  # CPU time that each one working has been given since the start
    while arrived < len(due_s) or working:
        next_end_s = now_s + (working[0][0] - given_s) * len(working) if working else math.inf
        if arrived < len(due_s) and due_s[arrived] <= next_end_s:
            given_s += (due_s[arrived] - now_s) / len(working) if working else 0.0
            now_s = due_s[arrived]
            waiting.append(arrived)
            arrived += 1
        else:
            given_s, now_s = working[0][0], next_end_s
            ends_s[heapq.heappop(working)[1]] = now_s
        while waiting and len(working) < connections:
            number = waiting.pop(0)
            heapq.heappush(working, (given_s + needs_s[number], number))
    return ends_s


def on_load_clock(load_s: float = LOAD_S) -> Windows:
    return Windows(
        segments=np.array([0]),
        start_ns=np.array([0]),
        end_ns=np.array([round(load_s * 1e9)]),
        idle_ns=np.array([round(load_s * 1e9)]),
        load_s=np.zeros(1),
    )


def seen(
    due_s: np.ndarray,
    ends_s: np.ndarray,
    outcomes: np.ndarray | None,
    connections: int | None,
    rate_rps: float,
    **more: Any,
) -> Queue:
    served = np.ones(len(due_s), dtype=np.bool_) if outcomes is None else outcomes == "ok"
    return queue_of(
        due_ns=np.round(due_s * 1e9).astype(np.int64),
        gone_ns=np.round(ends_s * 1e9).astype(np.int64),
        served=served,
        connections=connections,
        loaded=on_load_clock(),
        planned=rate_rps * LOAD_S,
        **more,
    )


def arrivals_s(rate_rps: float, random: np.random.Generator, load_s: float = LOAD_S) -> np.ndarray:
    return np.sort(random.uniform(0, load_s, random.poisson(rate_rps * load_s)))


@cache
def observe(
    kind: str, connections: int, utilisation: float, seed: int, *, known: bool = True, **limits: Any
) -> tuple[QueueVerdict, float]:
    """What is said of LAUNCHES launches, and their p95 in seconds as a run gives it."""
    random = np.random.default_rng([seed, round(100 * utilisation), connections, len(kind)])
    mean_s = MEAN_S[connections]
    rate_rps = utilisation * connections / mean_s
    queues, logs = [], []
    for _ in range(LAUNCHES):
        due_s = arrivals_s(rate_rps, random)
        ends_s, outcomes = serve(due_s, draw_holds(kind, mean_s, len(due_s), random), connections, **limits)
        queues.append(seen(due_s, ends_s, outcomes, connections if known else None, rate_rps))
        latency_s = np.where(outcomes == "ok", ends_s - due_s, np.inf)[due_s >= WARMUP_S]
        logs.append(math.log(float(np.quantile(latency_s, 0.95, method="inverted_cdf"))))
    return judge_queue(queues), math.exp(sum(logs) / len(logs))


@cache
def steady_p95_s(kind: str, connections: int, utilisation: float) -> float:
    random, mean_s, count = np.random.default_rng(1), MEAN_S[connections], 80_000
    due_s = np.cumsum(random.exponential(mean_s / utilisation / connections, count))
    ends_s, _ = serve(due_s, draw_holds(kind, mean_s, count, random), connections)
    return float(np.quantile((ends_s - due_s)[count // 10 :], 0.95))


@pytest.mark.parametrize(("kind", "connections"), SERVICES)
def test_marks_say_how_near_a_service_is_to_its_limit(kind: str, connections: int) -> None:
    """With one hold in fifty 300 times as long, a score of them is not enough to be sure: near its limit is said."""
    for utilisation, seed in product((0.3, 0.5, 0.8, 0.95, 1.0, 1.1, 1.2, 1.3, 1.5), SEEDS):
        said, _ = observe(kind, connections, utilisation, seed)
        case = f"{utilisation}, seed {seed}: {said}"
        if utilisation <= 0.95:
            assert not said.saturated, case
        if utilisation >= 1.0:
            assert said.saturated or said.near_its_limit, case
        if utilisation >= (1.5 if kind == "rare" else 1.3) and (kind, connections) not in (("rare", 1), ("rare", 4)):
            assert said.saturated, case
        if kind != "rare":
            assert said.utilisation == pytest.approx(utilisation, rel=0.15), case
            assert not (utilisation <= 0.8 and said.near_its_limit), case
            assert not (utilisation <= 0.5 and said.from_empty), case
        assert not (said.saturated and said.near_its_limit), case


def test_a_queue_that_had_not_settled_is_said() -> None:
    """In nine of ten cases whose steady p95 is 1.5 times the measured one."""
    unsettled, named = 0, 0
    for (kind, connections), utilisation, seed in product(SERVICES, (0.7, 0.8, 0.9, 0.95), SEEDS):
        said, p95_s = observe(kind, connections, utilisation, seed)
        if steady_p95_s(kind, connections, utilisation) >= 1.5 * p95_s:
            unsettled += 1
            named += said.from_empty
    assert unsettled >= 10 * len(SEEDS)
    assert named >= 0.9 * unsettled


@pytest.mark.parametrize("limits", [{"patience_s": 1.0}, {"timeout_s": 1.0}, {"cap": 40}])
@pytest.mark.parametrize("kind", ["exponential", "constant"])
@pytest.mark.parametrize("connections", [1, 4])
def test_a_plateau_does_not_hide_saturation(kind: str, connections: int, limits: dict[str, Any]) -> None:
    """pool_timeout, the request timeout and the in-flight cap keep a queue from growing, and its latency with it."""
    for utilisation, seed in product((0.5, 0.9, 0.95, 1.3, 1.5), SEEDS):
        said, _ = observe(kind, connections, utilisation, seed, **limits)
        assert said.saturated == (utilisation >= 1.3), f"{utilisation}, seed {seed}: {said}"


@pytest.mark.parametrize("kind", ["exponential", "constant"])
@pytest.mark.parametrize("connections", [1, 10])
def test_without_a_known_number_of_connections_what_stays_unanswered_decides(kind: str, connections: int) -> None:
    for utilisation, seed in product((0.3, 0.8, 0.95, 1.3, 1.5), SEEDS):
        said, _ = observe(kind, connections, utilisation, seed, known=False)
        assert said.saturated == (utilisation >= 1.3), f"{utilisation}, seed {seed}: {said}"
        assert math.isnan(said.utilisation)


def test_holds_in_progress_are_no_backlog() -> None:
    """A second and a half each without a limit: one in eight is unanswered when the load ends, and nobody waits."""
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        queues = []
        for _ in range(LAUNCHES):
            due_s = arrivals_s(100.0, random)
            queues.append(seen(due_s, due_s + random.exponential(1.5, len(due_s)), None, None, 100.0))
        said = judge_queue(queues)
        assert not said.saturated
        assert not said.from_empty


@pytest.mark.parametrize(("utilisation", "unsettled"), [(0.3, False), (0.5, False), (0.7, False), (0.95, True)])
def test_a_processor_is_queued_for_like_a_connection(utilisation: float, unsettled: bool) -> None:
    """Twenty connections share one processor: few of them are ever in use together, and nobody waits for one."""
    need_s, connections = 0.005, 20
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        with_cpu, without = [], []
        for _ in range(LAUNCHES):
            due_s = arrivals_s(utilisation / need_s, random)
            needs_s = random.exponential(need_s, len(due_s))
            ends_s = share_processor(due_s, needs_s, connections)
            measured = due_s >= WARMUP_S
            cpu = Cpu(
                used_s=float(needs_s[measured].sum()),
                processes=1,
                measured_s=LOAD_S - WARMUP_S,
                arrivals=int(measured.sum()),
            )
            with_cpu.append(seen(due_s, ends_s, None, connections, utilisation / need_s, cpu=cpu))
            without.append(seen(due_s, ends_s, None, connections, utilisation / need_s))
        said = judge_queue(with_cpu)
        assert said.from_empty == unsettled, said
        assert not said.saturated
        assert judge_queue(without).utilisation < 0.9


def test_a_saturated_processor_is_seen_by_its_full_pool() -> None:
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        queues = []
        for _ in range(LAUNCHES):
            due_s = arrivals_s(1.3 / 0.005, random)
            queues.append(
                seen(due_s, share_processor(due_s, random.exponential(0.005, len(due_s)), 20), None, 20, 260.0)
            )
        assert judge_queue(queues).saturated


def test_evenly_spaced_arrivals_of_equal_holds_settle_at_once() -> None:
    due_s = (np.arange(500) + 0.5) / 500 * LOAD_S
    ends_s, outcomes = serve(due_s, np.full(500, 0.95 * LOAD_S / 500), 1)
    even = seen(due_s, ends_s, outcomes, 1, 500 / LOAD_S, even=True)
    assert not judge_queue([even, even]).from_empty
    assert judge_queue([even, even]).utilisation == pytest.approx(0.95)
    assert judge_queue([seen(due_s, ends_s, outcomes, 1, 500 / LOAD_S)] * 2).from_empty


def test_of_a_handful_of_arrivals_nothing_is_said() -> None:
    due_s = np.arange(9.0)
    said = judge_queue([seen(due_s, due_s + 20.0, None, 1, 1.0)] * 2)
    assert (said.saturated, said.near_its_limit, said.from_empty) == (False, False, False)
    assert judge_queue([]).utilisation is not None


def test_a_service_that_answers_nobody_is_saturated() -> None:
    due_s = np.arange(100) / 10
    queue = queue_of(
        due_ns=(due_s * 1e9).astype(np.int64),
        gone_ns=np.full(100, NEVER),
        served=np.zeros(100, dtype=np.bool_),
        connections=3,
        loaded=on_load_clock(),
        planned=100.0,
    )
    assert judge_queue([queue]).saturated


# The same through the rows of a run: what counts as served, and which requests queue.


def summarise(build: ModuleType, connections: int, rate_rps: float, tables: list[pd.DataFrame]) -> CellSummary:
    cell = build.cell(
        pool=Pool(pool_size=connections, max_overflow=0, pool_timeout_s=1.0), load=Load(rate_rps=rate_rps)
    )
    segments = [
        build.segment(0, phase="warmup", start_s=0.0, duration_s=WARMUP_S, rate_rps=rate_rps),
        build.segment(1, start_s=WARMUP_S, duration_s=LOAD_S - WARMUP_S, rate_rps=rate_rps),
    ]
    trials = [build.trial(cell, block, table, segments=segments) for block, table in enumerate(tables)]
    (summary,) = analyse(build.run(trials)).summary.cells
    return summary


def table_of(build: ModuleType, due_s: np.ndarray, ends_s: np.ndarray, outcomes: np.ndarray) -> pd.DataFrame:
    due_ns, ends_ns = (build.START_NS + np.round(t_s * 1e9).astype(np.int64) for t_s in (due_s, ends_s))
    dropped = outcomes == "dropped"
    sent_ns = np.where(dropped, -1, due_ns)
    return build.rows(
        np.zeros(len(due_s)),
        segment=np.where(due_s < WARMUP_S, 0, 1),
        start_ns=build.START_NS,
        outcome=outcomes,
        intended_ns=due_ns,
        handed_ns=sent_ns,
        started_ns=sent_ns,
        finished_ns=np.where(dropped, -1, ends_ns),
    )


def launches(rate_rps: float, end: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, ...]]:
    random = np.random.default_rng(3)
    for _ in range(LAUNCHES):
        due_s = arrivals_s(rate_rps, random)
        yield (due_s, *end(due_s, random))


@pytest.mark.parametrize("limits", [{"patience_s": 1.0}, {"cap": 60}, {"timeout_s": 1.5}])
@pytest.mark.parametrize(("utilisation", "saturated"), [(0.9, False), (1.4, True)])
def test_a_run_says_which_cell_was_saturated(
    build: ModuleType, limits: dict[str, Any], utilisation: float, saturated: bool
) -> None:
    rate_rps = utilisation * 2 / 0.04
    found = launches(rate_rps, lambda due_s, random: serve(due_s, random.exponential(0.04, len(due_s)), 2, **limits))
    summary = summarise(build, 2, rate_rps, [table_of(build, *launch) for launch in found])
    assert summary.saturated is saturated
    assert summary.utilisation == pytest.approx(utilisation, rel=0.15)


def test_errors_that_come_at_once_are_no_sign_of_saturation(build: ModuleType) -> None:
    def end(due_s: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        failing = random.random(len(due_s)) < 0.4
        ends_s, _ = serve(due_s, np.where(failing, 0.001, 0.01), 2)
        return ends_s, np.where(failing, "error", "ok")

    summary = summarise(build, 2, 60.0, [table_of(build, *launch) for launch in launches(60.0, end)])
    assert summary.all.error_rate == pytest.approx(0.4, abs=0.05)
    assert not {*summary.findings} & {"saturated", "near_its_limit", "from_empty"}


def test_a_task_holds_no_connection_while_it_pauses(build: ModuleType) -> None:
    """Two requests of 5 ms, a second apart: twenty tasks are under way, and one connection is hardly used."""
    rate_rps = 20.0
    tables = []
    for due_s, first_s, _ in launches(rate_rps, lambda due_s, _: serve(due_s, np.full(len(due_s), 0.005), 1)):
        both = [table_of(build, due_s + late_s, first_s + late_s, np.full(len(due_s), "ok")) for late_s in (0.0, 1.0)]
        second = both[1].assign(segment=both[0]["segment"], sequence=np.uint16(1))
        ordered = pd.concat([both[0], second]).sort_index(kind="stable")
        tables.append(ordered.reset_index(drop=True))
    summary = summarise(build, 1, rate_rps, tables)
    assert summary.utilisation == pytest.approx(0.2, rel=0.15)
    assert not {*summary.findings} & {"saturated", "near_its_limit", "from_empty"}
    assert summary.own_mean_ms == pytest.approx(1000, rel=0.02)
