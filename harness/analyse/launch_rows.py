"""Every metric of every launch that counts, a row each: for programs that do their own statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from harness.analyse.launch_figures import LaunchFigures
from harness.analyse.launches import measure_launches
from harness.analyse.metrics import METRICS
from harness.domain.evidence import Run

COLUMNS = {
    "run": "str",
    "cell": "str",
    "label": "str",
    "arm": "str",
    "launch": "str",
    "block": "int64",
    "endpoint": "str",  # "*" is everything; of an exact metric as the app spells it, with a status behind it or without
    "metric": "str",
    "unit": "str",
    "value": "float64",  # infinite where it failed
}


def launch_rows(run: Run) -> pd.DataFrame:
    """The figures of each launch, without those that are not known."""
    rows = [row for launch in measure_launches(run).counted for row in _rows(run.info.run_id, launch)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _rows(run_id: str, launch: LaunchFigures) -> Iterator[tuple[Any, ...]]:
    cell = launch.trial.launch.cell
    for metric in METRICS.values():
        for endpoint in launch.exact if metric.exact else launch.by_endpoint:
            value = metric.of(launch, endpoint)
            if not math.isnan(value):
                named = (run_id, cell.id, cell.label, cell.arm, launch.trial.id, launch.block)
                yield (*named, endpoint, metric.name, metric.unit, float(value))
