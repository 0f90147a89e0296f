"""What `poolbench baseline list` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from harness.domain.baseline import Baseline
from harness.present.fitting_table import Column, FittingTable
from harness.present.numbers import UNKNOWN
from harness.present.terminal import bullet


def baseline_table(baselines: Sequence[Baseline], folder: str) -> RenderableType:
    """A row a baseline, and below what is wrong with those that cannot be read."""
    if not baselines:
        return Text(f"There is no baseline in {folder}.")
    sound = [own for own in baselines if not own.problem]
    columns: tuple[Column[Baseline], ...] = (
        Column(header="baseline", of=lambda own: own.name, need=100, left=True),
        Column(header="experiment", of=lambda own: own.experiment, need=90, left=True),
        Column(header="measured", of=lambda own: own.created_utc, need=80, left=True),
        Column(header="launches", of=lambda own: str(own.launches), need=60),
        Column(header="machine", of=lambda own: own.machine or UNKNOWN, need=70, left=True),
        Column(header="run", of=lambda own: own.run_id, need=50, left=True),
    )
    damaged = [bullet("damaged", f"{own.name}: {own.problem}") for own in baselines if own.problem]
    return Group(*([FittingTable(rows=sound, columns=columns, label=0)] if sound else []), *damaged)


def baselines_dict(baselines: Sequence[Baseline]) -> Mapping[str, Any]:
    """For `--json`."""
    return {"baselines": [asdict(own) for own in baselines]}
