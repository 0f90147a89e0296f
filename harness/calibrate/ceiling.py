"""How fast this machine's generator is: a staircase against a stub, and its lag on every rung."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import numpy as np

from harness import drive
from harness.analyse.estimate import quantiles
from harness.domain.load import LaunchLoad, LoadPlan, Segment, Turn, TurnRun
from harness.domain.profile import Rung
from harness.null import serving_nothing

if TYPE_CHECKING:
    import pandas as pd

RATES_RPS = (250, 500, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6500, 8000, 10_000, 13_000)
LAUNCH_ID = "stub"
GUARD_S = 0.2
MAX_IN_FLIGHT = 900
LAG_P99_MS_MAX = 5.0
"""what a certificate allows"""
SERVED_SHARE_MIN = 0.98
STUB_START_S = 60.0


def measure_ceiling(folder: Path, *, rung_s: float, rates_rps: Sequence[float] = RATES_RPS) -> tuple[Rung, ...]:
    """Every rung up to the first that saturates."""
    folder.mkdir(parents=True, exist_ok=True)
    with serving_nothing(folder / "stub.log") as url:
        plan = LoadPlan(
            launches=(
                LaunchLoad(
                    launch_id=LAUNCH_ID,
                    host=url,
                    scenario=Path(__file__).with_name("ping.py"),
                    request_timeout_s=5.0,
                    max_in_flight=MAX_IN_FLIGHT,
                ),
            ),
            segments=(segments := _segments(rung_s, rates_rps)),
            turns=(Turn(launch_id=LAUNCH_ID, duration_s=segments[-1].end_s + GUARD_S),),
            pause_s=GUARD_S,
            output_dir=folder,
        )
        with drive.start(plan) as generator:
            generator.targets_up()
            generator.wait_ready()
            _wait_for_answer(url)
            generator.go()
            output = generator.wait()
    rows = drive.read_rows(folder, LAUNCH_ID, plan.segments)
    (turn,) = output.ledger.turns
    return tuple(
        _rung(segment, rows, turn)
        for segment in plan.segments
        if segment.phase == "staircase" and round(segment.start_s * 1e9) < turn.load_end_ns
    )


def _segments(rung_s: float, rates_rps: Sequence[float]) -> tuple[Segment, ...]:
    """A warm-up at the first rate, then rung after rung."""
    rates = (rates_rps[0], *rates_rps)
    return tuple(
        Segment(
            index=index,
            launch_id=LAUNCH_ID,
            phase="staircase" if index else "warmup",
            start_s=index * (rung_s + GUARD_S),
            duration_s=rung_s,
            model="open",
            rate_rps=float(rate_rps),
            users=None,
            arrivals="poisson",
            seed=index,
        )
        for index, rate_rps in enumerate(rates)
    )


def _rung(segment: Segment, rows: pd.DataFrame, turn: TurnRun) -> Rung:
    own = rows[rows["segment"] == segment.index]
    sent = own[own["handed_ns"] >= 0]
    lag_ms = (sent["handed_ns"] - sent["intended_ns"]).to_numpy() / 1e6
    until_ns = turn.start_ns + round((segment.end_s + GUARD_S) * 1e9)
    served = int(((own["outcome"] == "ok") & (own["finished_ns"] <= until_ns)).sum())
    dropped = int((own["outcome"] == "dropped").sum())
    p50_ms, p99_ms = quantiles(np.sort(lag_ms), np.array([0.5, 0.99]))
    return Rung(
        rate_rps=segment.rate_rps or 0.0,
        offered=len(own),
        served=served,
        dropped=dropped,
        lag_p50_ms=float(p50_ms),
        lag_p99_ms=float(p99_ms),
        kept_up=bool(served >= SERVED_SHARE_MIN * len(own) and p99_ms <= LAG_P99_MS_MAX),
    )


def _wait_for_answer(url: str) -> None:
    """Until the stub has come up: on a busy machine that may take longer than the generator does."""
    with urlopen(url, timeout=STUB_START_S) as answer:
        answer.read()
