"""The measuring launches of a run: those that count, with their figures, and those that do not.

Launches are taken one after the other, and of each its figures stay, with twelve bytes for each of its arrivals (when
it was due, and its latency): a run may be larger than memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from harness.analyse.applied import NotApplied
from harness.analyse.launch_figures import LaunchFigures, launch_figures
from harness.analyse.measured import MEASURED_COLUMNS, OWNER_COLUMNS, endpoint_owners
from harness.analyse.windows import measured_segments
from harness.domain.certificate import Certificate
from harness.domain.evidence import Evidence, Run, Trial
from harness.domain.experiment import Slo

LAUNCHES_AT_ONCE = 2
ENOUGH_FOR_THREADS = 100_000
"""arrivals; with fewer, threads wait for each other more than they save"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A launch that feeds no figure."""

    trial: Trial
    certificate: Certificate
    codes: tuple[str, ...]
    """why: the codes of what failed in its instrument, or "nothing_sent" """
    not_applied: tuple[NotApplied, ...]
    failures: Counter[tuple[str, str, int, str]]
    logged: Counter[str]
    """both as of LaunchFigures"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """The measuring launches of a run, those that count and those that do not."""

    counted: tuple[LaunchFigures, ...]
    excluded: tuple[Excluded, ...]
    replaced: tuple[Excluded, ...]
    """those whose sitting was measured again; fresh launches stand in their place"""

    @property
    def certificates(self) -> dict[str, Certificate]:
        """By trial id."""
        counted = {launch.trial.id: launch.certificate for launch in self.counted}
        return counted | {launch.trial.id: launch.certificate for launch in (*self.excluded, *self.replaced)}

    def of(self, cell_id: str) -> list[LaunchFigures]:
        """The cell's launches that count."""
        return [launch for launch in self.counted if launch.cell_id == cell_id]

    def excluded_of(self, cell_id: str) -> list[Excluded]:
        """The cell's launches that do not count."""
        return [launch for launch in self.excluded if launch.trial.launch.cell.id == cell_id]


def measure_launches(run: Run) -> Launches:
    """Every measuring launch of the run, with its figures where its instrument worked."""
    trials = [evidence for evidence in run.trials if measured_segments(evidence.trial.segments)]
    owners = endpoint_owners(evidence.table("requests", OWNER_COLUMNS) for evidence in trials)
    measure = partial(_measure, owners=owners, slo=run.info.experiment.slo)
    if sum(count.offered for own in trials for count in own.trial.ledger.tasks) < ENOUGH_FOR_THREADS:
        found = list(map(measure, trials))
    else:
        # reading and sorting leave Python's lock alone; few at a time, so that few tables are in memory at once
        with ThreadPoolExecutor(max_workers=LAUNCHES_AT_ONCE) as pool:
            found = list(pool.map(measure, trials))
    fresh = {launch.trial.place for launch in found if launch.trial.launch.again}
    replaced = [own for own in found if own.trial.place in fresh and not own.trial.launch.again]
    standing = [own for own in found if own not in replaced]
    return Launches(
        counted=tuple(launch for launch in standing if isinstance(launch, LaunchFigures)),
        excluded=tuple(launch for launch in standing if isinstance(launch, Excluded)),
        replaced=tuple(_excluded(own, own.certificate.broken) for own in replaced),
    )


def _measure(evidence: Evidence, owners: Mapping[str, str], slo: Slo) -> LaunchFigures | Excluded:
    rows = evidence.table("requests", MEASURED_COLUMNS)
    figures = launch_figures(evidence, rows, owners, slo)
    codes = figures.certificate.broken
    if not codes and not figures.all.requests:
        codes = ("nothing_sent",)
    if not codes:
        return figures
    return _excluded(figures, codes)


def _excluded(own: LaunchFigures | Excluded, codes: tuple[str, ...]) -> Excluded:
    return Excluded(
        trial=own.trial,
        certificate=own.certificate,
        codes=codes,
        not_applied=own.not_applied,
        failures=own.failures,
        logged=own.logged,
    )


def median_launch(of_cell: Sequence[LaunchFigures]) -> LaunchFigures:
    """The launch in the middle by p95: the one to show when only one can be."""
    return sorted(of_cell, key=lambda launch: (launch.p95_ms, launch.block))[(len(of_cell) - 1) // 2]
