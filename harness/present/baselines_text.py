"""What `poolbench baseline list` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from harness.domain.baseline import Baseline
from harness.present.numbers import UNKNOWN
from harness.present.terminal import Column, FittingTable, bullet


def baseline_table(baselines: Sequence[Baseline], folder: str) -> RenderableType:
    """A row a baseline, and below what is wrong with those that cannot be read."""
    if not baselines:
        return Text(f"There is no baseline in {folder}.")
    sound = [own for own in baselines if not own.problem]
    rows = [
        (own.name, own.experiment, own.created_utc, str(own.launches), own.machine or UNKNOWN, own.run_id)
        for own in sound
    ]
    heads = ("baseline", "experiment", "measured", "launches", "machine", "run")
    needs = (100, 90, 80, 60, 70, 50)
    columns = tuple(
        Column(header=head, values=tuple(row[place] for row in rows), need=need, left=head != "launches")
        for place, (head, need) in enumerate(zip(heads, needs, strict=True))
    )
    damaged = [bullet("damaged", f"{own.name}: {own.problem}") for own in baselines if own.problem]
    return Group(*([FittingTable(columns=columns, label=0)] if sound else []), *damaged)


def baselines_dict(baselines: Sequence[Baseline]) -> Mapping[str, Any]:
    """For `--json`."""
    return {"baselines": [asdict(own) for own in baselines]}
