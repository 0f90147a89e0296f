"""Jobs of a gate that were recorded with a change that is known, and the files that keep them, a recording a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness import plan
from harness.domain.cell import Cell
from harness.domain.experiment import Experiment, Gate, Rule
from harness.domain.gate import BASE, BASE_AGAIN, HEAD, Figure, Figures, Taken
from harness.domain.load import launch_of
from harness.domain.strategy import Outcome

RECORDED = Path(__file__).with_name("gate_jobs.jsonl")
COUNTS_RECORDED = Path(__file__).with_name("gate_counts.jsonl")
NOTHING = "none"
KINDS = ("p95+5%", "p95+10%", "p95+20%", "cpu+5%", "cpu+10%", "cpu+20%", "statement")
GATE = Gate(rule=(Rule(metric="cpu_ms_per_request"),))
RATE_RPS = 120.0
EXPERIMENT = """
schema_version = 1
name = "gate"
[arms.base]
[arms.head]
[target]
app = "benchmarks.slowed_app:create_app"
gc_freeze = true # as a comparison does of itself
[database]
prepare = ["{{python}}", "-m", "target_app.prepare", "--rows", "10000"]
[pool]
pool_size = 8
max_overflow = 0
pool_prewarm = true
[load]
scenario = "mixed"
rate_rps = {rate_rps}
warmup_s = 1
measure_s = 5
[design]
seed = {seed}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was measured at one sitting of this benchmark: a base, twice, and heads with a known change each."""

    recorded_utc: str
    machine: Mapping[str, Any]
    load_average: float
    """of the minute before it began: what others did on the machine"""
    seconds: float
    rate_rps: float
    measure_s: float
    live: bool
    """whether a gate decided how many blocks there are"""
    most: int
    """blocks that a stage had time for"""
    injected: Mapping[str, Mapping[str, str]]
    """kind -> what its head overrides"""
    outcomes: tuple[Outcome, ...]
    """of arms base, base' and the kinds"""

    def job(self, kind: str) -> Job:
        """Return the launches of the base and of one head, as one gate measures them."""
        arms = {BASE: BASE, BASE_AGAIN: BASE_AGAIN, kind: HEAD}
        return Job(
            kind=kind,
            recording=self,
            outcomes=tuple(
                replace(own, launch=launch_of(replace(own.launch.cell, arm=arms[arm]), own.launch.block))
                for own in self.outcomes
                if (arm := own.launch.cell.arm) in arms
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One gate's launches."""

    kind: str
    recording: Recording
    outcomes: tuple[Outcome, ...]


def read_recordings(path: Path) -> Iterator[Recording]:
    """The recordings in a file, one a line."""
    for line in path.read_text().splitlines() if path.is_file() else ():
        raw = json.loads(line)
        cells = cells_of(tuple(raw["injected"]))
        launches = tuple(
            Outcome(launch=launch_of(cells[own["arm"]], own["block"]), sitting=own["block"], figures=_figures(own))
            for own in raw.pop("launches")
        )
        yield Recording(outcomes=launches, **raw)


def cells_of(kinds: Sequence[str]) -> Mapping[str, Cell]:
    """The arms of a recording of these kinds -> their cells."""
    arms: dict[str, Mapping[str, Any]] = {BASE: {}, BASE_AGAIN: {}, **{kind: {} for kind in kinds}}
    return {cell.arm: cell for cell in plan.expand(replace(experiment_of(seed=1), arms=arms))}


def _figures(launch: Mapping[str, Any]) -> Figures:
    return {
        metric: {
            endpoint: Figure(value=value, raised=raised, leg=leg, taken=_taken(*counted))
            for endpoint, (value, raised, leg, *counted) in by_endpoint.items()
        }
        for metric, by_endpoint in launch["figures"].items()
    }


def _taken(*counted: Sequence[Sequence[float]]) -> Taken | None:
    """How many requests took how many; of what was recorded before that was kept, and of times, None."""
    used, fresh = (tuple((value, int(requests)) for value, requests in own) for own in counted or ((), ()))
    return Taken(used=used, fresh=fresh) if counted else None


def as_line(recording: Recording) -> str:
    """A recording as one line of the file."""
    launches = [
        {
            "arm": own.launch.cell.arm,
            "block": own.launch.block,
            "figures": {
                metric: {
                    endpoint: [
                        *(round(part, 5) for part in (figure.value, figure.raised, figure.leg)),
                        *([] if figure.taken is None else [figure.taken.used, figure.taken.fresh]),
                    ]
                    for endpoint, figure in by_endpoint.items()
                }
                for metric, by_endpoint in own.figures.items()
            },
        }
        for own in recording.outcomes
    ]
    kept = {field.name: getattr(recording, field.name) for field in fields(recording) if field.name != "outcomes"}
    return json.dumps({**kept, "launches": launches})


def experiment_of(seed: int, more: str = "") -> Experiment:
    """Return the experiment whose launches are recorded, without arms."""
    return plan.parse_experiment(EXPERIMENT.format(rate_rps=RATE_RPS, seed=seed) + more, source="gate")
