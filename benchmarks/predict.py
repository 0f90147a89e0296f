"""Whether pools that were measured are what was predicted of them, from cells of another size and at other rates.

Each group is one run of the reference service through `poolbench run`: sizes of the pool times rates, hot together.
Two of its cells, of one size at the lowest and the highest rate, are what is predicted from; all others are predicted
and then looked at. Predicted and measured are the p95 of the wait for a connection and that of the latency; both have
to be within 20 % or 1 ms of what was measured.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.analyse.whatif import fit, predict
from harness.analyse.whatif_source import setting_of
from harness.domain.prediction import Prediction, Setting, is_near
from harness.store import RunStore

ROOT = Path(__file__).parents[1]
WAITING_MS = 10.0

EXPERIMENT = """
schema_version = 1
name = "predict-{hold_ms}"
[matrix]
pool.pool_size = {sizes}
load.rate_rps = {rates_rps}
[pool]
max_overflow = 0
pool_prewarm = true
[target]
lab = true
[load]
scenario = "{scenario}"
warmup_s = 1
measure_s = {measure_s}
[load.arguments]
hold_ms = {hold_ms}
[design]
launches = 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cells with one hold time; those of `source` at the lowest and the highest rate are predicted from."""

    hold_ms: int
    sizes: tuple[int, ...]
    rates_rps: tuple[float, ...]
    source: int
    measure_s: float = 14


GROUPS = (
    Group(hold_ms=5, sizes=(1, 2, 3), rates_rps=(60, 90, 120), source=3),
    Group(hold_ms=20, sizes=(2, 3, 4), rates_rps=(50, 70, 90), source=4),
    Group(hold_ms=60, sizes=(2, 3, 4), rates_rps=(20, 28, 36), source=4),
)


def measure() -> Mapping[str, Any]:
    """Measure every group, predict what was not predicted from, and compare."""
    with tempfile.TemporaryDirectory(prefix="poolbench-predict-") as folder:
        return judge([case for group in GROUPS for case in _cases(run_group(group, Path(folder)), group)])


def run_group(group: Group, folder: Path) -> Path:
    """Measure a group's cells; returns the run's folder."""
    experiment = folder / f"predict-{group.hold_ms}.toml"
    scenario = Path(__file__).with_name("holding_locustfile.py")
    experiment.write_text(
        EXPERIMENT.format(
            hold_ms=group.hold_ms,
            sizes=list(group.sizes),
            rates_rps=list(group.rates_rps),
            scenario=scenario,
            measure_s=group.measure_s,
        )
    )
    results = folder / f"results-{group.hold_ms}"
    command = [sys.executable, "-m", "harness", "run", str(experiment), "--results", str(results), "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (run,) = results.iterdir()
    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A cell that was predicted, and what it was."""

    name: str
    predicted: Prediction
    wait_ms: float
    latency_ms: float

    @property
    def is_within(self) -> bool:
        return is_near(self.predicted.wait_ms_p95, self.wait_ms) and is_near(
            self.predicted.latency_ms_p95, self.latency_ms
        )


def _cases(folder: Path, group: Group) -> Iterator[Case]:
    run = RunStore.open(folder).read()
    by_setting = {setting_of(own.trial): own for own in measure_launches(run).counted}
    known = [own for setting, own in by_setting.items() if _is_source(setting, group)]
    fitted = fit(run, known)
    for setting, own in by_setting.items():
        if own not in known:
            yield _case(group, setting, own, predict(fitted, setting))


def _is_source(setting: Setting, group: Group) -> bool:
    return setting.pool_size == group.source and setting.rate_rps in (min(group.rates_rps), max(group.rates_rps))


def _case(group: Group, setting: Setting, own: LaunchFigures, predicted: Prediction) -> Case:
    return Case(
        name=f"{group.hold_ms} ms, {setting.pool_size} connections, {setting.rate_rps:g}/s",
        predicted=predicted,
        wait_ms=own.all.pool_p95_ms,
        latency_ms=own.p95_ms,
    )


def judge(cases: Sequence[Case]) -> Mapping[str, Any]:
    """The shares that are promised, and each cell."""
    told = [case for case in cases if case.predicted.declined is None]
    return {
        "cells": len(cases),
        "declined": (len(cases) - len(told)) / len(cases),
        "within_20_percent_or_1ms": sum(case.is_within for case in told) / len(told) if told else 0.0,
        "waiting_10_ms_or_more": sum(case.wait_ms >= WAITING_MS for case in cases) / len(cases),
        "each": [_as_dict(case) for case in cases],
    }


def _as_dict(case: Case) -> Mapping[str, Any]:
    own = case.predicted
    return {
        "name": case.name,
        "declined": own.declined,
        "utilisation": round(own.utilisation, 3),
        "wait_ms_p95": [round(own.wait_ms_p95, 2), round(case.wait_ms, 2)],
        "latency_ms_p95": [round(own.latency_ms_p95, 2), round(case.latency_ms, 2)],
        "within": case.is_within if own.declined is None else None,
    }
