"""Seconds per launch outside warm-up and measured segments: what the orchestration itself costs.

Blocked and interleaved sittings alternate within one process, so that a slow minute of the machine touches both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import plan, run, schedule
from harness.domain.events import Event, SittingStarted
from harness.store import RunStore

EXPERIMENT = """
schema_version = 1
name = "overhead"
[matrix]
pool.pool_size = [2, 3, 4, 5, 6, 7]
[pool]
max_overflow = 0
[load]
scenario = "read_heavy"
rate_rps = 20
warmup_s = 0.5
measure_s = 1.0
[design]
kind = "{kind}"
launches = {launches}
"""
ROUNDS = 2
INTERLEAVED_LAUNCHES_A_ROUND = 1  # of six cells hot together


@dataclass
class Stopwatch:
    """Notes when each sitting begins; the end of a run closes the last one."""

    marks_s: list[float] = field(default_factory=list)

    def handle(self, event: Event) -> None:
        if isinstance(event, SittingStarted):
            self.marks_s.append(event.at_ns / 1e9)


def _overheads_s(kind: str, launches: int) -> list[float]:
    """One figure a sitting: its wall time less its warm-up and measured segments, divided by its launches."""
    experiment = plan.parse_experiment(EXPERIMENT.format(kind=kind, launches=launches), source="overhead")
    with tempfile.TemporaryDirectory() as folder:
        stopwatch, store = Stopwatch(), RunStore.create(Path(folder), kind)
        run.run_experiment(experiment, store, emit=stopwatch.handle)
        stopwatch.marks_s.append(time.monotonic())
        sittings = tuple(schedule.FixedDesign(experiment, plan.expand(experiment)).foreseen(()))
    spans_s = [end - start for start, end in zip(stopwatch.marks_s, stopwatch.marks_s[1:], strict=False)]
    return [
        (span_s - sum(segment.duration_s for segment in sitting.segments)) / len(sitting.launches)
        for span_s, sitting in zip(spans_s, sittings, strict=True)
    ]


def measure() -> Mapping[str, Any]:
    """Median overhead per launch; at least ten launches of each design."""
    blocked, interleaved = [], []
    for _ in range(ROUNDS):
        blocked += _overheads_s("blocked", 1)
        interleaved += _overheads_s("interleaved", INTERLEAVED_LAUNCHES_A_ROUND)
    return {
        "overhead_s_median": statistics.median(blocked),
        "overhead_s_range": [min(blocked), max(blocked)],
        "blocked_launches": len(blocked),
        "interleaved_overhead_s_median": statistics.median(interleaved),
        "interleaved_overhead_s_range": [min(interleaved), max(interleaved)],
        "interleaved_launches": len(interleaved) * 6,
    }
