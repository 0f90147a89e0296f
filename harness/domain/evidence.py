"""What each launch of a run yielded, and the run: all that is kept, before anything is concluded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.domain.cell import Cell
from harness.domain.experiment import Experiment
from harness.domain.load import Launch, Ledger, Segment
from harness.domain.observed import AppliedPool, AppliedProcess, Death, RelayReadings, SamplerGap, Standstill
from harness.domain.profile import MachineProfile
from harness.domain.tables import (
    no_counts,
    no_generator_readings,
    no_holds,
    no_log_readings,
    no_null_requests,
    no_probe_user,
    no_server_readings,
    no_sites,
    none_unreturned,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which code of a service was started."""

    commit: str
    """full hash"""
    changes: str = ""
    """differs with what is changed and not committed; empty where nothing is"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What was known beside a sitting's tables: kept with each trial, so that a certificate can be made at any time."""

    probe: bool = True
    """whether the probe was on the target's path"""
    lost_workers: tuple[str, ...] = ()
    """names of the generator's workers that ended before their counts were acknowledged"""
    clock_uncertainty_ms: float | None = None
    """by how much times of different processes may be off; None when not known"""
    generator_ceiling_rps: float | None = None
    """what the generator sends at most on this machine; None when not calibrated"""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """fingerprint of machine, interpreter, packages and the server that this launch used"""
    scenario_notes: tuple[str, ...] = ()
    """what of the sitting's scenarios did not apply, or went wrong beside the load"""
    version: Version | None = None
    """of the service's code as it was started; None where git does not say"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one launch yielded, before anything is concluded from it.

    `segments` are the launch's own, as planned; the ledger holds only theirs.
    """

    id: str
    launch: Launch
    sitting: int
    start_ns: int
    segments: tuple[Segment, ...]
    ledger: Ledger
    context: Context = field(default_factory=Context)
    gaps: tuple[SamplerGap, ...] = ()
    relay: RelayReadings | None = None
    """None where nothing lay between target and Postgres"""
    applied: tuple[AppliedPool, ...] = ()
    """the engines of the service as its processes said; empty where they were not seen"""
    processes: tuple[AppliedProcess, ...] = ()
    """what else they said, likewise"""
    deaths: tuple[Death, ...] = ()
    """processes that ended while they were needed, the launch's own and those that concern every launch"""
    standstills: tuple[Standstill, ...] = ()
    """processes that were stopped meanwhile, likewise"""

    @property
    def place(self) -> tuple[int, str]:
        """Block and cell: what a fresh launch takes over from one that was spoilt."""
        return self.launch.block, self.launch.cell.id


class Evidence(Protocol):
    """A trial and its tables, wherever they are. Each access may read from disk: ask once, and only for what is needed.

    A run's requests can be more than memory holds, so whoever goes through several trials keeps no table of them.
    """

    @property
    def trial(self) -> Trial: ...
    @property
    def requests(self) -> pd.DataFrame: ...
    @property
    def activity(self) -> pd.DataFrame: ...
    @property
    def probe(self) -> pd.DataFrame: ...
    @property
    def process(self) -> pd.DataFrame: ...
    @property
    def server(self) -> pd.DataFrame: ...
    @property
    def generator(self) -> pd.DataFrame: ...
    @property
    def counts(self) -> pd.DataFrame: ...
    @property
    def null(self) -> pd.DataFrame: ...
    @property
    def probe_user(self) -> pd.DataFrame: ...
    @property
    def log(self) -> pd.DataFrame: ...
    @property
    def holds(self) -> pd.DataFrame: ...
    @property
    def unreturned(self) -> pd.DataFrame: ...
    @property
    def sites(self) -> pd.DataFrame: ...
    @property
    def target_log(self) -> bytes:
        """What the service wrote; nothing where it was not started here."""
        ...

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of one table ("requests"), or all of it where they are in memory anyway."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEvidence:
    """A trial with its tables in memory."""

    trial: Trial
    requests: pd.DataFrame
    activity: pd.DataFrame
    probe: pd.DataFrame
    process: pd.DataFrame
    server: pd.DataFrame = field(default_factory=no_server_readings)
    generator: pd.DataFrame = field(default_factory=no_generator_readings)
    counts: pd.DataFrame = field(default_factory=no_counts)
    log: pd.DataFrame = field(default_factory=no_log_readings)
    target_log: bytes = b""
    null: pd.DataFrame = field(default_factory=no_null_requests)
    probe_user: pd.DataFrame = field(default_factory=no_probe_user)
    holds: pd.DataFrame = field(default_factory=no_holds)
    unreturned: pd.DataFrame = field(default_factory=none_unreturned)
    sites: pd.DataFrame = field(default_factory=no_sites)

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:  # noqa: ARG002 -- the protocol's
        """The table: to copy some of its columns would cost more than the others do."""
        found: pd.DataFrame = getattr(self, name)
        return found


MAX_SEARCH_LAUNCHES = 1000
"""of a cell: no search comes near it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """run.json: everything known before the first launch, and nothing of what comes after it."""

    schema_version: int
    run_id: str
    created_utc: str
    poolbench_version: str
    experiment: Experiment
    strategy: Literal["fixed", "two_stage", "capacity", "tune"]
    """how it decides what to measure next; see `harness.domain.strategy`"""
    cells: tuple[Cell, ...]
    environment: Mapping[str, Any]
    """fingerprint: cpu, cores, memory, kernel, python, package versions, postgres, transport, settings"""
    profile: MachineProfile | None = None
    """what calibration knew of the machine as the run began; None where it was not calibrated"""

    @property
    def most_blocks(self) -> int:
        """Launches of each cell at most; a comparison measures a second stage only on an alarm."""
        if self.strategy in {"capacity", "tune"}:
            return MAX_SEARCH_LAUNCHES
        return self.experiment.design.launches * (2 if self.strategy == "two_stage" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as analysed: what is complete in its folder."""

    info: RunInfo
    trials: tuple[Evidence, ...]
    """of the launches that measure"""
    pilots: tuple[Evidence, ...] = ()
    """of the staircase's"""

    @property
    def planned_trials(self) -> int:
        """Launches that measure, as the experiment asks for them; those measured again are not counted twice."""
        return len(self.info.cells) * self.info.experiment.design.launches
