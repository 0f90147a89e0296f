"""A run as notebooks and scripts want it: plain frames, and the same figures that the report shows."""

from __future__ import annotations

import html
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import analyse, plan, present
from harness.analyse.launches import Launches, measure_launches
from harness.analyse.measured import ALL
from harness.analyse.metrics import METRICS, metric_named
from harness.domain.evidence import Evidence, Run, RunInfo
from harness.errors import UsageError
from harness.store import RunStore

if TYPE_CHECKING:
    import pandas as pd

    from harness.domain.capacity import CellCapacity
    from harness.domain.capacity_plan import CapacityPlan
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
    def capacity(self) -> tuple[CellCapacity, ...]:
        """What a search for a capacity found of each cell, with every launch that led there.

        Raises:
            UsageError: the run did not search for one.
        """
        if self.info.strategy != "capacity":
            raise UsageError(
                f"The run {self.info.run_id} did not search for a capacity.",
                next_step="Search for one: poolbench capacity EXPERIMENT.",
            )
        return analyse.capacities(self._run)

    @property
    def capacity_steps(self) -> pd.DataFrame:
        """Every launch of the search: a row each, connections by state in columns of their own."""
        import pandas as pd

        return pd.json_normalize(
            [{"cell": cell.cell.id, **asdict(step)} for cell in self.capacity for step in cell.steps]
        )

    def capacity_plan(self, *, peak_rps: float | None = None, headroom: str = "30%", **given: Any) -> Planned:
        """Plan a fleet with what the search found, as `poolbench capacity RUN --report` does.

        Args:
            peak_rps: the load that the fleet is to carry; None for as large a fleet as the limits take.
            headroom: share of what the fleet carries that is to stay free at the peak.
            given: replicas, workers, jobs, surge, max_connections, reserved; default_pool_size and max_client_conn
                of a PgBouncer.

        Raises:
            UsageError: the run did not search for a capacity, or what is given makes no sense.
        """
        wanted = plan.wanted_of(given, peak_rps=peak_rps, headroom=headroom)
        return Planned(self.info, analyse.plan_capacity(self.capacity, wanted))

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


class Planned:
    """A capacity plan: its answer, its tables as frames, and the page to hand in, which a notebook shows."""

    def __init__(self, info: RunInfo, capacity_plan: CapacityPlan) -> None:
        self.plan = capacity_plan
        self._info = info

    @property
    def answer(self) -> str:
        """Which fleet to run, what it carries and what it may open."""
        return present.plan_text(self.plan, self._info.experiment)

    @property
    def situations(self) -> pd.DataFrame:
        """What the fleet carries and may open in steady running, with a replica lost and in a rolling deploy."""
        import pandas as pd

        return pd.DataFrame([asdict(own) for fleet in self.plan.fleets[:1] for own in fleet.situations])

    @property
    def fleets(self) -> pd.DataFrame:
        """A fleet of each cell that has a capacity, the one to run first."""
        import pandas as pd

        rows = present.capacity_plan_dict(self.plan, self._info.experiment)["fleets"]
        return pd.DataFrame(rows).drop(columns=["situations", "budget"], errors="ignore")

    @property
    def assumptions(self) -> pd.DataFrame:
        """What the plan takes for granted, and what would break it."""
        import pandas as pd

        return pd.DataFrame(present.assumptions(self.plan, self._info), columns=["assumed", "what would break it"])

    @property
    def page(self) -> bytes:
        """plan.html, as `poolbench capacity --report` writes it."""
        return present.render_plan(self._info, self.plan)

    def _repr_html_(self) -> str:
        page = html.escape(self.page.decode())
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 60em; border: 0"></iframe>'
