"""What a strategy may know of a stored launch."""

from __future__ import annotations

from harness.analyse.capacity import result_of
from harness.analyse.certificate import certificate_of
from harness.analyse.judges import wanted_figures
from harness.analyse.launch_figures import launch_figures
from harness.analyse.measured import MEASURED_COLUMNS, OWNER_COLUMNS, endpoint_owners
from harness.analyse.sides import figures_of
from harness.analyse.staircase import staircase_capacity_rps
from harness.analyse.tuning import carried_of
from harness.domain.evidence import Evidence
from harness.domain.experiment import Experiment, Gate, ProbeUser, Slo
from harness.domain.load import PILOT_BLOCK
from harness.domain.strategy import Outcome


def outcome_of(
    evidence: Evidence,
    slo: Slo,
    gate: Gate | None = None,
    *,
    searching: ProbeUser | None = None,
    tuning: Experiment | None = None,
) -> Outcome:
    """Of a pilot what it sustained, of every other launch what failed in its instrument.

    With a gate also the figures that it judges; `searching` for a capacity, with this probe user, whether the SLO was
    met; `tuning` an experiment how it carried the load.
    """
    trial = evidence.trial
    if trial.launch.block == PILOT_BLOCK:
        sustained_rps = staircase_capacity_rps(evidence.requests, trial.segments, trial.ledger)
        return Outcome(launch=trial.launch, sitting=trial.sitting, sustained_rps=sustained_rps)
    rows = evidence.table("requests", MEASURED_COLUMNS)
    if gate is not None or searching is not None or tuning is not None:
        figures = launch_figures(evidence, rows, endpoint_owners([evidence.table("requests", OWNER_COLUMNS)]), slo)
        return Outcome(
            launch=trial.launch,
            sitting=trial.sitting,
            broken=figures.certificate.broken or (("nothing_sent",) if tuning and not figures.all.requests else ()),
            figures={} if gate is None else figures_of(figures, wanted_figures(gate)),
            result=None if searching is None else result_of(figures, slo, searching)[0],
            carried=None if tuning is None else carried_of(figures, tuning),
        )
    certificate = certificate_of(evidence, rows, None, evidence.probe, slo)
    return Outcome(launch=trial.launch, sitting=trial.sitting, broken=certificate.broken)
