"""What probe and samplers cost: both are switched on and off at run time, alternating within a launch.

Each round measures four times, with neither, with one of them and with both, in random order, and compares: p50 in the
open model at 40 % of what the service carries; throughput in the closed model without pauses, with enough users to
saturate one worker. What both cost together stands at the top, beside it what each costs, as the mean of with and
without the other. Segments are short, because on a shared machine the difference between two neighbours grows with
their distance. The service keeps to one core where the system allows it: rounds scatter by a third less when it does
not move between them. The samplers' clocks stand still while they take no readings, so that a second with them has as
many as one of a run.

The unit is the round, never the request. A shared machine now and then spoils a round altogether, so the effect is the
Hodges-Lehmann estimate over rounds, of log ratios, and its interval the one that belongs to Wilcoxon's signed-rank test
(Hollander, Wolfe, Chicken: Nonparametric Statistical Methods, 3.3).

The figures at the top are those of a page of 100 heroes; `one_hero` are those of the cheapest request the service has.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks import light_client
from benchmarks.light_client import Model, Task, Turn
from harness import deploy, observe, plan
from harness.domain.deployed import RunningTarget, Server
from harness.domain.load import Launch

EXPERIMENT = """
schema_version = 1
name = "observer"
[target]
app = "benchmarks.switched_app:create_app"
cpus = {cores}
gc_freeze = true
[pool]
pool_size = 10
max_overflow = 0
pool_prewarm = true
[load]
rate_rps = 300
"""
Part = Literal["both", "probe", "samplers"]
PARTS: tuple[Part, ...] = get_args(Part)
USERS = 4
LOAD_SHARE = 0.4
"""in the open model, of what the worker carries: a pilot finds that, since a given rate saturates a slower machine"""
SEGMENT_S = 0.1
INTERVAL_S = 0.1
"""between two readings, as in a run"""
GUARD_S = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One request, again and again."""

    path: str
    rounds: Mapping[Model, int]
    pilot_rounds: int = 40
    warmup_segments: int = 40
    """before the pilot's rounds and before these"""


PAGE = Workload(path="/heroes?offset=0&limit=100", rounds={"open": 750, "closed": 1750})
ONE_HERO = Workload(path="/heroes/4711", rounds={"open": 200, "closed": 200})


def measure() -> Mapping[str, Any]:
    """Effects as shares: 0.01 means that observing costs 1 % of the p50, or 1 % of the throughput."""
    return {"request": "a page of 100 heroes", **_measure_workload(PAGE), "one_hero": _measure_workload(ONE_HERO)}


def _measure_workload(workload: Workload) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        rate_rps, turns = _measure_launch(workload, Path(folder))
    slower = {part: _log_ratios(turns, "open", part) for part in PARTS}
    fewer = {part: [-ratio for ratio in _log_ratios(turns, "closed", part)] for part in PARTS}
    effects = {part: _effects(slower[part], fewer[part]) for part in PARTS}
    return {
        **effects["both"],
        "p50_rounds": len(slower["both"]),
        "throughput_rounds": len(fewer["both"]),
        "p50_round_sd": statistics.stdev(slower["both"]),
        "throughput_round_sd": statistics.stdev(fewer["both"]),
        "rate_rps": rate_rps,
        "unobserved_p50_ms": statistics.median(_unobserved(turns, "open")),
        "unobserved_rps": statistics.median(_unobserved(turns, "closed")),
        "probe": effects["probe"],
        "samplers": effects["samplers"],
    }


def _effects(slower: Sequence[float], fewer: Sequence[float]) -> Mapping[str, Any]:
    p50, throughput = _estimate(slower), _estimate(fewer)
    return {
        "p50_effect": p50[0],
        "throughput_effect": throughput[0],
        "p50_ci": p50[1:],
        "throughput_ci": throughput[1:],
    }


def _measure_launch(workload: Workload, folder: Path) -> tuple[float, Sequence[Turn]]:
    """One fresh start of database and service: the open model's rate, and the turns."""
    experiment = EXPERIMENT.format(cores=sorted(os.sched_getaffinity(0))[:1] if sys.platform == "linux" else [])
    (cell,) = plan.expand(plan.parse_experiment(experiment, source="observer"))
    launch = Launch(id="b1-c1", cell=cell, block=1)
    with ExitStack() as stack:
        server = stack.enter_context(deploy.start_database(cell.database))
        source = stack.enter_context(deploy.template(server, cell.database))
        database = stack.enter_context(deploy.clone(server, source, "poolbench_observer"))
        target = stack.enter_context(
            deploy.launch(
                launch,
                database_url=server.app_url(database),
                probe=True,
                probe_dir=folder / "probe",
                log=folder / "target.log",
            )
        )
        task = Task(
            host=target.host,
            path=workload.path,
            rate_rps=0.0,
            users=USERS,
            warmup_segments=workload.warmup_segments,
            rounds={"closed": workload.pilot_rounds},
            guard_s=GUARD_S,
            segment_s=SEGMENT_S,
        )
        carried_rps = statistics.median(_unobserved(_take_turns(task, server, target), "closed"))
        task = replace(task, rate_rps=LOAD_SHARE * carried_rps, rounds=workload.rounds)
        return task.rate_rps, _take_turns(task, server, target)


def _take_turns(task: Task, server: Server, target: RunningTarget) -> Sequence[Turn]:
    """Send what the task says, and observe it every other turn."""
    with ExitStack() as stack:
        client = stack.enter_context(light_client.running(task))
        observation = stack.enter_context(
            observe.observe(server=server, targets=[target], generator_pid=client.pid, interval_s=INTERVAL_S)
        )
        turns: list[Turn] = []
        assert client.stdout is not None
        for line in client.stdout:
            message = json.loads(line)
            if isinstance(message, dict):
                turns.append(Turn(**message))
                continue
            observation.pause()
            if message:
                observation.resume()
        if client.wait() != 0:
            raise RuntimeError(f"the client ended before its work was done, with exit code {client.returncode}")
        return turns


def _unobserved(turns: Sequence[Turn], model: Model) -> list[float]:
    return [turn.figure for turn in turns if turn.model == model and not turn.probe and not turn.samplers]


def _log_ratios(turns: Sequence[Turn], model: Model, part: Part) -> list[float]:
    """log(with / without) of each round, of one part the mean of two: beside the other, and alone."""
    rounds: dict[int, dict[tuple[bool, bool], float]] = {}
    for turn in turns:
        if turn.model == model:
            rounds.setdefault(turn.round, {})[turn.probe, turn.samplers] = math.log(turn.figure)
    weights = {"both": (1.0, 0.0), "probe": (0.5, 0.5), "samplers": (0.5, -0.5)}
    together, apart = weights[part]
    return [
        together * (log[True, True] - log[False, False]) + apart * (log[True, False] - log[False, True])
        for log in rounds.values()
    ]


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
