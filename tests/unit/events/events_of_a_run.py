"""One of each event, as a run would tell them."""

from __future__ import annotations

import math

from harness.domain.events import (
    CellTick,
    DatabaseFilling,
    Event,
    LoadTick,
    Note,
    RateChosen,
    RunStarted,
    ServerStarting,
    SittingFinished,
    SittingStarted,
    StageStarted,
    TargetsUp,
)

TICK = LoadTick(
    at_ns=6,
    done_s=12.2,
    expected_s=30.0,
    rest_s=32.0,
    cells=(
        CellTick(
            launch_id="b1-c1",
            label="pool_size 1",
            offered=120,
            answered=100,
            failed=8,
            dropped=4,
            p95_ms=math.inf,
            pool_used=1,
            pool_waiting=12,
        ),
        CellTick(
            launch_id="b1-c2",
            label="pool_size [4]",
            offered=118,
            answered=118,
            failed=0,
            dropped=0,
            p95_ms=21.34,
            pool_used=None,
            pool_waiting=None,
        ),
    ),
)
EVENTS: tuple[Event, ...] = (
    RunStarted(at_ns=1, run_id="r", path="results/r", cells={"c1": "pool_size 1", "c2": "pool_size [4]"}),
    ServerStarting(at_ns=2, provider="embedded", rows=10_000),
    DatabaseFilling(at_ns=2, elapsed_s=20.4, command="alembic upgrade head", last_line="Running upgrade"),
    SittingStarted(
        at_ns=3,
        index=0,
        count=0,
        purpose="staircase",
        launches={"b0-c2": "pool_size [4]"},
        expected_s=9.0,
        rest_s=60.0,
    ),
    RateChosen(at_ns=3, rate_rps=270.0, capacity_rps=449.6, share=0.6, label="pool_size [4]", pilots=3),
    SittingStarted(
        at_ns=4,
        index=1,
        count=3,
        purpose="measure",
        launches={"b1-c1": "pool_size 1", "b1-c2": "pool_size [4]"},
        expected_s=30.0,
        rest_s=32.0,
    ),
    TargetsUp(at_ns=5, index=1),
    TICK,
    Note(at_ns=7, text="wait_time does not apply in the open model."),
    SittingFinished(at_ns=8, index=1, trials=("b1-c1", "b1-c2")),
    StageStarted(at_ns=9, stage="generator", count=12),
    StageStarted(at_ns=10, stage="noise", count=5),
)
