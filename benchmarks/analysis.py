"""Ten million rows: how long a cold process takes from parquet to exact quantiles of every cell and endpoint.

The run is drawn by the project's own schedule and written by its own store; making it is not timed. What is timed is a
new interpreter that opens the run and analyses it as `poolbench report` does, figures' data included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import environment, plan, schedule
from harness.domain.evidence import RunInfo, Trial, TrialEvidence
from harness.domain.load import EndpointCount, Launch, Ledger, Segment, Sitting, TaskCount, TurnRun
from harness.domain.tables import ACTIVITY_COLUMNS, OUTCOMES, PROBE_COLUMNS, PROCESS_COLUMNS, REQUEST_COLUMNS
from harness.store import RUN_SCHEMA_VERSION, RunStore

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ROWS = 10_000_000
RATE_RPS = 1000.0
WARMUP_S = 15.0
EXPERIMENT = """
schema_version = 1
name = "analysis"
[matrix]
target.driver = ["asyncpg", "psycopg", "psycopg_sync"]
pool.pool_size = [5, 20]
[pool]
max_overflow = 0
[load]
scenario = "mixed"
rate_rps = {rate_rps}
warmup_s = {warmup_s}
measure_s = {measure_s}
[design]
launches = 3
segment_s = 5.0
[slo]
p95_ms = 50.0
"""
TASKS = ("read_hero", "list_heroes", "create_hero", "update_hero", "delete_hero")
ENDPOINTS = ("GET /heroes/{id}", "GET /heroes", "POST /heroes", "PATCH /heroes/{id}", "DELETE /heroes/{id}")
WEIGHTS = (0.6, 0.2, 0.1, 0.08, 0.02)
OUTCOME_SHARES = (0.995, 0.002, 0.001, 0.0015, 0.0005)
READINGS_PER_S = 10
ANALYSE = """
import sys
from pathlib import Path
from harness.analyse import analyse
from harness.store import RunStore
report = analyse(RunStore.open(Path(sys.argv[1])).read())
print(sum(cell.all.requests for cell in report.summary.cells))
"""


def measure(rows: int = ROWS) -> Mapping[str, Any]:
    """`seconds` from the start of the interpreter to its end, and the most memory it had resident."""
    with tempfile.TemporaryDirectory() as folder:
        store = make_run(Path(folder), rows)
        stored_bytes = sum(file.stat().st_size for file in store.path.rglob("*.parquet"))
        requests, seconds, peak_rss_mb = _analyse(store.path)
    return {
        "rows": rows,
        "seconds": seconds,
        "peak_rss_mb": peak_rss_mb,
        "measured_requests": requests,
        "parquet_mb": stored_bytes / 2**20,
    }


def _analyse(run: Path) -> tuple[int, float, float]:
    """Requests that the analysis counted, its seconds and its peak memory in MB, from a process of its own."""
    started_s = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", ANALYSE, str(run)], stdout=subprocess.PIPE, text=True) as process:
        output = "" if process.stdout is None else process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # of this process alone, unlike getrusage
        seconds = time.monotonic() - started_s
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the analysis ended with exit code {process.returncode}")
    return int(output), seconds, usage.ru_maxrss / 1024


def make_run(folder: Path, rows: int) -> RunStore:
    """A run of six cells, three launches each, with `rows` requests in all."""
    launches = 18
    measure_s = max(1.0, rows / launches / RATE_RPS - WARMUP_S)
    text = EXPERIMENT.format(rate_rps=RATE_RPS, warmup_s=WARMUP_S, measure_s=measure_s)
    experiment = plan.parse_experiment(text, source="analysis")
    cells = plan.expand(experiment)
    sittings = tuple(schedule.FixedDesign(experiment, cells).foreseen(()))
    store = RunStore.create(folder, experiment.name)
    store.write_info(
        RunInfo(
            schema_version=RUN_SCHEMA_VERSION,
            run_id=store.run_id,
            created_utc="2026-01-01T00:00:00Z",
            poolbench_version="0",
            experiment=experiment,
            strategy="fixed",
            cells=cells,
            environment=environment.fingerprint(None),
        )
    )
    drawn = [(sitting, launch) for sitting in sittings for launch in sitting.launches]
    for number, (sitting, launch) in enumerate(drawn):
        own_rows = rows * (number + 1) // launches - rows * number // launches
        store.save_trial(_trial(sitting, launch, own_rows, seed=number), {})
    return store


def _trial(sitting: Sitting, launch: Launch, rows: int, *, seed: int) -> TrialEvidence:
    import numpy as np

    draw = np.random.default_rng(seed)
    segments = tuple(segment for segment in sitting.segments if segment.launch_id == launch.id)
    start_ns = 10**12 + sitting.index * 10**13
    turns = tuple(turn for turn in _turns(sitting, start_ns) if turn.launch_id == launch.id)
    requests = _requests(segments, turns, rows, draw)
    trial = Trial(
        id=launch.id,
        launch=launch,
        sitting=sitting.index,
        start_ns=start_ns,
        segments=segments,
        ledger=_ledger(requests, turns),
    )
    return TrialEvidence(
        trial=trial,
        requests=requests,
        activity=_activity(sitting, start_ns),
        probe=_probe(sitting, start_ns),
        process=_process(sitting, start_ns),
    )


def _turns(sitting: Sitting, start_ns: int) -> Iterator[TurnRun]:
    """Every turn as planned: each service was clear when its turn was to end."""
    clocks_ns = {launch.id: 0 for launch in sitting.launches}
    for turn in sitting.turns:
        load_start_ns, length_ns = clocks_ns[turn.launch_id], round(turn.duration_s * 1e9)
        yield TurnRun(
            launch_id=turn.launch_id,
            start_ns=start_ns,
            end_ns=start_ns + length_ns,
            load_start_ns=load_start_ns,
            cut="clear",
            idle_ns=start_ns + length_ns,
            idle=True,
            in_flight_peak=9,
        )
        clocks_ns[turn.launch_id] += length_ns
        start_ns += length_ns + round(sitting.pause_s * 1e9)


def _requests(
    segments: tuple[Segment, ...], turns: tuple[TurnRun, ...], count: int, draw: np.random.Generator
) -> pd.DataFrame:
    """Poisson arrivals spread over the load clock, log-normal latencies that differ by endpoint, a few failures."""
    import numpy as np
    import pandas as pd

    at_ns = np.sort(draw.uniform(0, turns[-1].load_end_ns, count)).astype(np.int64)
    place = np.searchsorted([round(segment.end_s * 1e9) for segment in segments[:-1]], at_ns, side="right")
    turn = np.searchsorted([turn.load_end_ns for turn in turns[:-1]], at_ns, side="right")
    intended_ns = at_ns + np.array([turn.start_ns - turn.load_start_ns for turn in turns])[turn]
    task = draw.choice(len(TASKS), count, p=WEIGHTS)
    outcome = draw.choice(len(OUTCOMES), count, p=OUTCOME_SHARES)
    latency_ns = (draw.lognormal(np.log(4.0), 0.5, count) * (1 + 0.3 * task) * 1e6).astype(np.int64)
    sent, ended = outcome != OUTCOMES.index("dropped"), outcome < OUTCOMES.index("dropped")
    handed_ns = np.where(sent, intended_ns + draw.exponential(1e5, count).astype(np.int64), -1)
    started_ns = np.where(sent, handed_ns + draw.exponential(1e5, count).astype(np.int64), -1)
    phases = np.array([segment.phase for segment in segments])
    own_index = np.array([segment.index for segment in segments])
    columns = {
        "segment": own_index[place],
        "phase": _categorical(np.unique(phases, return_inverse=True)[1][place], np.unique(phases)),
        "arrival": np.arange(count) - np.searchsorted(place, place),
        "sequence": np.zeros(count),
        "task": _categorical(task, TASKS),
        "endpoint": _categorical(np.where(sent, task, len(ENDPOINTS)), (*ENDPOINTS, "")),
        "outcome": _categorical(outcome, OUTCOMES),
        "status": np.select([outcome == 0, outcome == 1], [200, 500]),
        "error": _categorical(np.where(ended, outcome, 0), ("", "HTTP 500", "timeout")),
        "intended_ns": intended_ns,
        "handed_ns": handed_ns,
        "started_ns": started_ns,
        "finished_ns": np.where(ended, intended_ns + latency_ns, -1),
        "uptake_ns": draw.exponential(2e4, count),
        "response_bytes": 180 + 40 * task,
        "pool_ms": draw.exponential(0.3, count),
        "db_ms": latency_ns * 4e-7,
        "app_ms": latency_ns * 4e-7,
        "pid": np.full(count, 4242),
    }
    rows = pd.DataFrame(columns)
    numbers = {name: kind for name, kind in REQUEST_COLUMNS.items() if kind != "category"}
    return rows.astype(numbers).iloc[np.argsort(np.where(ended, intended_ns + latency_ns, intended_ns))]


def _categorical(codes: Any, names: Any) -> Any:
    import pandas as pd

    return pd.Categorical.from_codes(codes, categories=pd.Index(list(names), dtype=str))


def _ledger(rows: pd.DataFrame, turns: tuple[TurnRun, ...]) -> Ledger:
    by_task: Any = rows.groupby(["segment", "task", "outcome"], observed=True).size().unstack(fill_value=0)
    by_endpoint: Any = rows.groupby(["segment", "endpoint", "outcome"], observed=True).size().unstack(fill_value=0)
    return Ledger(
        tasks=tuple(
            TaskCount(
                segment=int(segment),
                task=str(task),
                offered=sum(n.values()),
                done=n["ok"] + n["error"] + n["timeout"],
                dropped=n["dropped"],
                unfinished=n["unfinished"],
            )
            for (segment, task), n in zip(by_task.index, by_task.to_dict("records"), strict=True)
        ),
        endpoints=tuple(
            EndpointCount(
                segment=int(segment),
                endpoint=str(endpoint),
                requests=n["ok"] + n["error"] + n["timeout"],
                ok=n["ok"],
                error=n["error"],
                timeout=n["timeout"],
            )
            for (segment, endpoint), n in zip(by_endpoint.index, by_endpoint.to_dict("records"), strict=True)
            if endpoint
        ),
        turns=turns,
    )


def _readings_ns(sitting: Sitting, start_ns: int) -> Any:
    import numpy as np

    return start_ns + np.arange(round(sitting.duration_s * READINGS_PER_S)) * (10**9 // READINGS_PER_S)


def _activity(sitting: Sitting, start_ns: int) -> pd.DataFrame:
    import numpy as np

    states = ("active", "idle", "idle in transaction")
    t_ns = _readings_ns(sitting, start_ns)
    place = np.tile(np.arange(len(states)), len(t_ns))
    values = {"t_ns": np.repeat(t_ns, len(states)), "state": _categorical(place, states), "connections": 1 + place}
    return _table(ACTIVITY_COLUMNS, values)


def _probe(sitting: Sitting, start_ns: int) -> pd.DataFrame:
    import numpy as np

    t_ns = _readings_ns(sitting, start_ns)
    return _table(PROBE_COLUMNS, {"t_ns": t_ns, "pid": 4242, "connection_checkouts": np.arange(len(t_ns)) * 10})


def _process(sitting: Sitting, start_ns: int) -> pd.DataFrame:
    import numpy as np

    roles = ("target", "postgres", "generator", "harness")
    t_ns = _readings_ns(sitting, start_ns)
    place = np.tile(np.arange(len(roles)), len(t_ns))
    cpu_s = np.repeat((t_ns - start_ns) / 1e9 * 0.6, len(roles))
    values = {"t_ns": np.repeat(t_ns, len(roles)), "role": _categorical(place, roles), "pid": place, "cpu_s": cpu_s}
    return _table(PROCESS_COLUMNS, values)


def _table(columns: Mapping[str, str], values: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    count = len(values["t_ns"])
    filled = {name: values.get(name, "" if kind == "category" else 0) for name, kind in columns.items()}
    return pd.DataFrame(filled, index=range(count)).astype(dict(columns))
