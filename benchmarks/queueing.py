"""Whether poolbench tells the truth about services that queue, in both designs, through `poolbench run` alone.

Each case is a cell of a real run; what it says in summary.csv is compared with the same arrivals and holds run through
an exact queue without interruption, launch by launch (`queueing_truth`). The steady state stands beside it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.queueing_app import SERVICES
from benchmarks.queueing_truth import geometric_mean, launch_percentiles_ms, steady_percentiles_ms

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[1]
TOLERANCE_MS = 2.0
"""what a generator, a wire and a timer may add without being wrong"""
DESIGNS = ("interleaved", "blocked")
LAUNCHES = 2
ORDERED_FROM, TIED_UP_TO = 1.30, 1.05
"""Ratios of true p95: from the first on a pair has to be ordered, up to the second it has to tie."""
UNSETTLED_FROM = 1.5
LIGHT, STABLE, OVER = 0.5, 0.95, 1.3
"""Utilisations: up to the first nothing is marked, up to the second nothing is saturated, from the third on all is."""

EXPERIMENT = """
schema_version = 1
name = "queueing-{name}-{design}"
[matrix]
target.env.SERVICE = {services}
pool.pool_size = {permits}
[pool]
max_overflow = 0
[target]
app = "benchmarks.queueing_app:make_app"
[database]
rows = 1
[load]
scenario = "{scenario}"
rate_rps = {rate_rps}
warmup_s = 1
measure_s = {measure_s}
[design]
kind = "{design}"
launches = {launches}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Services that are measured in one run, and so compared with each other."""

    name: str
    services: tuple[str, ...]
    permits: tuple[int, ...]
    rate_rps: float
    measure_s: float


GROUPS = (
    Group(
        name="one-permit",
        services=("light", "even_80", "even_85", "even_90", "constant_90", "even_95", "rare_80", "over_130"),
        permits=(1,),
        rate_rps=40,
        measure_s=8,
    ),
    Group(name="several-permits", services=("short", "long"), permits=(4, 8), rate_rps=100, measure_s=8),
    Group(name="one-slow-in-fifty", services=("sleeping",), permits=(1, 10), rate_rps=20, measure_s=12),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One service in one design: what is true of it and what was said. Percentiles are p50, p95, p99."""

    name: str
    run: str
    design: str
    utilisation: float
    truth_ms: Sequence[float]
    measured_ms: Sequence[float]
    steady_ms: Sequence[float]
    marks: tuple[str, ...]
    place: int
    """in summary.csv, best first"""
    apart_from: frozenset[str]
    """cells it was told apart from"""
    cell: str

    @property
    def error_p95(self) -> float:
        """Relative, beyond TOLERANCE_MS."""
        return max(0.0, abs(self.measured_ms[1] - self.truth_ms[1]) - TOLERANCE_MS) / self.truth_ms[1]

    @property
    def mark_errors(self) -> list[str]:
        """Marks that are missing or wrong."""
        unsettled = self.steady_ms[1] >= UNSETTLED_FROM * self.measured_ms[1]
        found = []
        if unsettled and "from_empty" not in self.marks:
            found.append("from_empty is missing")
        if self.utilisation <= LIGHT and "from_empty" in self.marks:
            found.append("from_empty is wrong")
        if self.utilisation <= STABLE and "saturated" in self.marks:
            found.append("saturated is wrong")
        if self.utilisation >= OVER and "saturated" not in self.marks:
            found.append("saturated is missing")
        if STABLE < self.utilisation < OVER and not {"saturated", "near_its_limit"} & {*self.marks}:
            found.append("near_its_limit is missing")
        return [f"{self.run}: {self.name}: {error}" for error in found]


def measure() -> Mapping[str, Any]:
    """Every case of every group and design, and the largest error of a p95 among them."""
    cases = [case for group in GROUPS for design in DESIGNS for case in _measure(group, design)]
    runs = [[case for case in cases if case.run == run] for run in dict.fromkeys(case.run for case in cases)]
    wrong_marks = [error for case in cases for error in case.mark_errors]
    wrong_orders = [error for run in runs for pair in combinations(run, 2) for error in _order_errors(*pair)]
    return {
        "cases": [_as_dict(case) for case in cases],
        "max_error_p95": round(max(case.error_p95 for case in cases), 4),
        "ranking_errors": len(wrong_orders),
        "mark_errors": len(wrong_marks),
        "errors": wrong_orders + wrong_marks,
    }


def _measure(group: Group, design: str) -> Iterator[Case]:
    import pandas as pd

    with tempfile.TemporaryDirectory(prefix="poolbench-queueing-") as folder:
        run = _run(group, design, Path(folder))
        summary = pd.read_csv(run / "summary.csv")
        everything = summary[summary["endpoint"] == "*"].reset_index(drop=True)
        pairs = json.loads(_poolbench("report", str(run), "--json")).get("pairs", [])
        for place, row in everything.iterrows():
            yield _case(group, design, run, row, int(str(place)), pairs)


def _run(group: Group, design: str, folder: Path) -> Path:
    text = EXPERIMENT.format(
        name=group.name,
        services=list(group.services),
        permits=list(group.permits),
        scenario=Path(__file__).with_name("stock_locustfile.py"),
        rate_rps=group.rate_rps,
        measure_s=group.measure_s,
        design=design,
        launches=LAUNCHES,
    )
    (folder / "experiment.toml").write_text(text)
    _poolbench("run", str(folder / "experiment.toml"), "--results", str(folder / "results"), "--json")
    (run,) = (folder / "results").iterdir()
    return run


def _poolbench(*arguments: str) -> str:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def _case(  # noqa: PLR0917 -- one row of a run, with what is known around it
    group: Group, design: str, run: Path, row: pd.Series, place: int, pairs: Sequence[Mapping[str, Any]]
) -> Case:
    service, permits, cell = str(row["SERVICE"]), int(row["pool_size"]), str(row["cell"])
    launches = [launch_percentiles_ms(run / "trials" / f"b{block}-{cell}", permits) for block in range(1, LAUNCHES + 1)]
    apart = {
        other
        for pair in pairs
        if pair["told_apart"]
        for other in (pair["first"], pair["second"])
        if cell in (pair["first"], pair["second"])
    } - {cell}
    return Case(
        name=f"{service} x {permits}",
        run=f"{group.name} {design}",
        design=design,
        utilisation=group.rate_rps * SERVICES[service].mean_s / permits,
        truth_ms=[geometric_mean(figures) for figures in zip(*launches, strict=True)],
        measured_ms=[float(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms")],
        steady_ms=steady_percentiles_ms(SERVICES[service], group.rate_rps, permits),
        marks=tuple(
            mark for mark in str(row["findings"]).split(";") if mark in ("from_empty", "saturated", "near_its_limit")
        ),
        place=place,
        apart_from=frozenset(apart),
        cell=cell,
    )


def _order_errors(one: Case, other: Case) -> Iterator[str]:
    """A pair whose truths differ clearly and is not in that order, or that hardly differs and is told apart."""
    better, worse = sorted((one, other), key=lambda case: case.truth_ms[1])
    ratio = worse.truth_ms[1] / better.truth_ms[1]
    if ratio >= ORDERED_FROM and worse.place < better.place:
        yield f"{one.run}: {better.name} is better than {worse.name} by {ratio:.2f}, and stands below it"
    if ratio <= TIED_UP_TO and other.cell in one.apart_from:
        yield f"{one.run}: {better.name} and {worse.name} differ by {ratio:.2f}, and are told apart"


def _as_dict(case: Case) -> Mapping[str, Any]:
    pairs = zip(("p50", "p95", "p99"), zip(case.truth_ms, case.measured_ms, strict=True), strict=True)
    return {
        "name": case.name,
        "design": case.design,
        "utilisation": round(case.utilisation, 3),
        **{name: [round(truth, 2), round(measured, 2)] for name, (truth, measured) in pairs},
        "steady_p95": round(case.steady_ms[1], 2) if math.isfinite(case.steady_ms[1]) else None,
        "error_p95": round(case.error_p95, 4),
        "marks": list(case.marks),
    }
