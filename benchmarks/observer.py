"""What probe and samplers cost: both are switched on and off at run time, alternating within a launch.

Each round measures twice, once observed and once not, in random order, and compares the two: p50 in the open model at
a moderate rate with uniform gaps, so that no bunch of arrivals decides it; throughput in the closed model without
pauses and with enough users to saturate one worker. Segments are as short as a switch allows, because on a shared
machine the difference between two neighbours grows with their distance faster than it shrinks with their length.
A round with a segment that began before its switch was done does not count.

The unit is the round, never the request. A shared machine now and then spoils a round altogether, so the effect is the
Hodges-Lehmann estimate over rounds, of log ratios, and its interval the one that belongs to Wilcoxon's signed-rank test
(Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3.3).

The figures at the top are those of a page of 100 heroes; `one_hero` are those of the cheapest request the service has.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Literal

from harness import deploy, drive, observe, plan, schedule
from harness.domain.load import Launch, Segment, Sitting

EXPERIMENT = """
schema_version = 1
name = "observer"
[target]
app = "benchmarks.switched_app:create_app"
[pool]
pool_size = 10
max_overflow = 0
pool_prewarm = true
[load]
scenario = "{scenario}"
rate_rps = {rate_rps}
"""
USERS = 4
SEGMENT_S = 0.05
GUARD_S = 0.035
WARMUP_S = 5.0
ROUNDS = 1000
READING_EVERY_S = 0.1
"""of observed time: the samplers' interval in a run. Longer than a segment, so each reading has its moment drawn."""
Model = Literal["open", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One request, again and again."""

    scenario: Path
    rate_rps: float
    """in the open model: half of what the worker carries, or less"""


PAGE = Workload(scenario=Path(__file__).parent / "page_locustfile.py", rate_rps=200.0)
ONE_HERO = Workload(scenario=Path(__file__).parent / "hero_locustfile.py", rate_rps=300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A segment and whether it is observed."""

    segment: Segment
    observed: bool


def measure() -> Mapping[str, Any]:
    """Effects as shares: 0.01 means that observing costs 1 % of the p50, or 1 % of the throughput."""
    return {"request": "a page of 100 heroes", **_measure_workload(PAGE), "one_hero": _measure_workload(ONE_HERO)}


def _measure_workload(workload: Workload) -> Mapping[str, Any]:
    turns = _turns(workload)
    with tempfile.TemporaryDirectory() as folder:
        p50_ms, rates_rps = _measure_launch(workload, turns, Path(folder))
    slower = _log_ratios(turns, p50_ms, "open")
    fewer = [-ratio for ratio in _log_ratios(turns, rates_rps, "closed")]
    p50, throughput = _estimate(slower), _estimate(fewer)
    closed = [turn.segment.index for turn in turns if turn.segment.model == "closed" and not turn.observed]
    return {
        "p50_effect": p50[0],
        "throughput_effect": throughput[0],
        "p50_ci": p50[1:],
        "throughput_ci": throughput[1:],
        "rounds": len(slower),
        "p50_round_sd": statistics.stdev(slower),
        "throughput_round_sd": statistics.stdev(fewer),
        "unobserved_rps": statistics.median(rates_rps[index] for index in closed if index in rates_rps),
    }


def _turns(workload: Workload) -> Sequence[Turn]:
    """Warm-up, then all open rounds, then all closed ones; each once on and once off in random order."""
    draw = random.Random()
    turns = [_turn(workload, 0, 0.0, WARMUP_S, "open", round_=-1, observed=True, seed=draw.getrandbits(32))]
    start_s = WARMUP_S + GUARD_S
    models: tuple[Model, ...] = ("open", "closed")
    for model in models:
        for round_ in range(ROUNDS):
            seed = draw.getrandbits(32)
            for observed in draw.sample((True, False), k=2):
                turns.append(
                    _turn(workload, len(turns), start_s, SEGMENT_S, model, round_=round_, observed=observed, seed=seed)
                )
                start_s += SEGMENT_S + GUARD_S
    return turns


def _turn(
    workload: Workload,
    index: int,
    start_s: float,
    duration_s: float,
    model: Model,
    *,
    round_: int,
    observed: bool,
    seed: int,
) -> Turn:
    segment = Segment(
        index=index,
        launch_id="b1-c1",
        phase="warmup" if round_ < 0 else "measure",
        round=max(round_, 0),
        start_s=start_s,
        duration_s=duration_s,
        guard_s=GUARD_S,
        model=model,
        rate_rps=workload.rate_rps if model == "open" else None,
        users=USERS if model == "closed" else None,
        arrivals="uniform",
        seed=seed,
    )
    return Turn(segment=segment, observed=observed)


def _measure_launch(
    workload: Workload, turns: Sequence[Turn], folder: Path
) -> tuple[Mapping[int, float], Mapping[int, float]]:
    """One fresh start: median latency in ms and answers per second, by segment."""
    experiment = plan.parse_experiment(
        EXPERIMENT.format(scenario=workload.scenario, rate_rps=workload.rate_rps), source="observer"
    )
    (cell,) = plan.expand(experiment)
    launch = Launch(id="b1-c1", cell=cell, block=1)
    sitting = Sitting(index=1, purpose="measure", launches=(launch,), segments=tuple(turn.segment for turn in turns))
    with ExitStack() as stack:
        server = stack.enter_context(deploy.start_database(cell.database))
        database = stack.enter_context(
            deploy.clone(server, deploy.template(server, cell.database), "poolbench_observer")
        )
        probe_dir = folder / "probe"
        target = stack.enter_context(
            deploy.launch(
                launch, database_url=server.url(database), probe=True, probe_dir=probe_dir, log=folder / "target.log"
            )
        )
        scenario = plan.resolve_scenario(cell.load.scenario, folder)
        load_plan = schedule.with_hosts(sitting, {launch.id: target.host}, {cell.load.scenario: scenario}, folder)
        generator = stack.enter_context(drive.start(load_plan))
        generator.targets_up()
        generator.wait_ready()
        observation = stack.enter_context(
            observe.observe(server=server, targets=[target], generator_pid=generator.pid, interval_s=SEGMENT_S)
        )
        start_ns = generator.go(delay_s=0.3)
        with _switching(turns, start_ns, observation, target.host) as late:
            output = generator.wait()
    rows = drive.read_rows(folder, launch.id, sitting.segments)
    answered = {index: own for index, own in rows[rows["outcome"] == "ok"].groupby("segment") if index not in late}
    medians_ms, rates_rps = {}, {}
    for run in output.ledger.segments:
        own = answered.get(run.segment)
        if own is None:
            continue
        medians_ms[run.segment] = float((own["finished_ns"] - own["intended_ns"]).median()) / 1e6
        finished_ns = own["finished_ns"][own["finished_ns"] <= run.end_ns]
        if len(finished_ns) > 1:
            rates_rps[run.segment] = (len(finished_ns) - 1) * 1e9 / (finished_ns.max() - finished_ns.min())
    return medians_ms, rates_rps


@contextmanager
def _switching(
    turns: Sequence[Turn], start_ns: int, observation: observe.Observation, host: str
) -> Iterator[AbstractSet[int]]:
    """Switch probe and samplers in the guard before each segment, on the load plan's own clock.

    Yields the indexes of the segments that had begun before their switch was done; complete when the block ends.
    """
    stop = threading.Event()
    late: set[int] = set()
    draw = random.Random()

    def wait_until(t_ns: int) -> bool:
        return not stop.wait(max(0.0, (t_ns - time.monotonic_ns()) / 1e9))

    def act(service: HTTPConnection) -> None:
        for turn in turns:
            begin_ns = start_ns + round(turn.segment.start_s * 1e9)
            end_ns = begin_ns + round(turn.segment.duration_s * 1e9)
            observation.pause()
            wait_until(begin_ns - round(GUARD_S * 1e9))
            service.request("POST", f"/observed/{'on' if turn.observed else 'off'}")
            answer = service.getresponse()
            answer.read()
            if answer.status != HTTPStatus.OK:
                raise RuntimeError(f"the service did not switch its probe: it answered {answer.status}")
            if time.monotonic_ns() > begin_ns:
                late.add(turn.segment.index)
            reading_ns = begin_ns + round(draw.uniform(0, READING_EVERY_S) * 1e9)
            if turn.observed and reading_ns < end_ns and wait_until(reading_ns):
                observation.resume()  # which reads at once
            if not wait_until(end_ns):
                break

    service = closing(HTTPConnection(host.removeprefix("http://"), timeout=10))
    with service as connection, ThreadPoolExecutor(max_workers=1) as pool:
        switching = pool.submit(act, connection)
        try:
            yield late
        finally:
            stop.set()
        switching.result()  # raises what ended it: without switching both halves would be the same


def _log_ratios(turns: Sequence[Turn], figures: Mapping[int, float], model: Model) -> list[float]:
    """log(observed / not observed) of each round in which both halves have a figure."""
    pairs: dict[int, dict[bool, float]] = {}
    for turn in turns:
        segment = turn.segment
        if segment.phase == "measure" and segment.model == model and segment.index in figures:
            pairs.setdefault(segment.round, {})[turn.observed] = figures[segment.index]
    return [math.log(pair[True] / pair[False]) for pair in pairs.values() if len(pair) == 2]


def _estimate(log_ratios: Sequence[float]) -> tuple[float, float, float]:
    """The effect as a share, with its 95 % interval: median and order statistics of the Walsh averages."""
    import numpy as np
    from scipy.stats import norm

    ratios = np.asarray(log_ratios)
    n = len(ratios)
    first, second = np.triu_indices(n)
    averages = np.sort((ratios[first] + ratios[second]) / 2)
    spread = float(norm.ppf(0.975)) * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    rank = max(0, math.floor(n * (n + 1) / 4 - spread))
    low, high = averages[rank], averages[-1 - rank]
    return math.expm1(float(np.median(averages))), math.expm1(float(low)), math.expm1(float(high))
