"""A run as notebooks and scripts want it: plain frames, and the same figures that the report shows."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness import analyse
from harness.analyse.launches import Launches, measure_launches
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS, metric_named
from harness.domain.evidence import Evidence, Run, RunInfo
from harness.errors import UsageError
from harness.store import RunStore

if TYPE_CHECKING:
    import pandas as pd

    from harness.domain.verdict import CellSummary, Report

METRIC_NAMES = tuple(METRICS)


class OpenRun:
    """A run's folder. Nothing is read before it is asked for; figures are computed once."""

    def __init__(self, store: RunStore) -> None:
        self.path = store.path
        self._run: Run = store.read()

    @classmethod
    def at(cls, path: Path | None, results: Path) -> OpenRun:
        return cls(RunStore.latest(results) if path is None else RunStore.open(path))

    def __repr__(self) -> str:
        return f"<run {self.info.run_id}: {len(self.cells)} cells, {len(self._run.trials)} trials>"

    @property
    def info(self) -> RunInfo:
        """The experiment as resolved, its cells, its environment."""
        return self._run.info

    @cached_property
    def report(self) -> Report:
        """What `poolbench report` shows, as values."""
        return analyse.analyse(self._run)

    @property
    def cells(self) -> tuple[CellSummary, ...]:
        """Every cell, best first."""
        return self.report.summary.cells

    @cached_property
    def summary(self) -> pd.DataFrame:
        """summary.csv: one row per cell and endpoint ("*" is everything)."""
        return analyse.summary_rows(self._run, self.report.summary)

    @property
    def trials(self) -> tuple[Evidence, ...]:
        """Every complete trial; its tables are read when asked for: requests, activity, probe, process, server."""
        return self._run.trials

    def requests(self, *, cell: str | None = None, phase: str | None = "measure") -> pd.DataFrame:
        """Every request of one cell, or of all, with its trial, its cell and `latency_ms` from the intended time.

        Args:
            cell: a cell's id; None for all.
            phase: setup, warmup or measure; None for all.

        Raises:
            UsageError: no trial of such a cell.
        """
        import numpy as np
        import pandas as pd

        parts = []
        for evidence in self._of(cell):
            rows = evidence.requests
            rows = rows if phase is None else rows[rows["phase"] == phase]
            latency_ms = (rows["finished_ns"] - rows["intended_ns"]) / 1e6
            parts.append(
                rows.assign(
                    trial=evidence.trial.id,
                    cell=evidence.trial.launch.cell.id,
                    latency_ms=latency_ms.where(rows["outcome"] == "ok", np.inf),
                )
            )
        return pd.concat(parts, ignore_index=True)

    def metric(self, name: str, *, endpoint: str = ALL) -> pd.DataFrame:
        """One metric of every launch that counts: cell, block and value.

        Endpoints are those of the report; of exact metrics those of the app, with a status behind them or without
        ("GET /heroes/{hero_id} 404").

        Raises:
            UsageError: there is no such metric; the nearest name is told.
        """
        import pandas as pd

        metric = metric_named(name)
        rows = [(own.cell_id, own.block, metric.of(own, endpoint)) for own in self._launches.counted]
        return pd.DataFrame(rows, columns=["cell", "block", name])

    @cached_property
    def _launches(self) -> Launches:
        return measure_launches(self._run)

    def _of(self, cell: str | None) -> tuple[Evidence, ...]:
        found = tuple(own for own in self._run.trials if cell in (None, own.trial.launch.cell.id))
        if not found:
            known = ", ".join(dict.fromkeys(own.trial.launch.cell.id for own in self._run.trials))
            raise UsageError(
                f"The run {self.info.run_id} has no trial of cell {cell!r}.",
                next_step=f"It has trials of {known or 'no cell'}.",
            )
        return found
