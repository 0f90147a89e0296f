"""Whether a trial's instrument worked, and what was found.

An *instrument* reason means that the figures are not the target's; such a trial is invalid and feeds no verdict. A
*finding* is a result: the target dropped, failed or paused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.analyse.applied import NotApplied
from harness.analyse.findings import FINDINGS
from harness.analyse.instrument import INSTRUMENT
from harness.analyse.judged import Evidence, judged
from harness.analyse.measured import Arrivals
from harness.analyse.resources import Neighbours
from harness.domain.evidence import Certificate, Death, RelayReadings, SamplerGap, Standstill
from harness.domain.evidence import Evidence as StoredEvidence
from harness.domain.experiment import Slo
from harness.domain.holds import Leak
from harness.domain.ledger import check_ledger
from harness.domain.load import Ledger, Segment


def certify(
    *,
    rows: pd.DataFrame,
    segments: Sequence[Segment],
    ledger: Ledger,
    ledger_problems: tuple[str, ...],
    gaps: tuple[SamplerGap, ...],
    generator: pd.DataFrame | None,
    probe: pd.DataFrame | None,
    slo: Slo,
    server: pd.DataFrame | None = None,
    lost_workers: tuple[str, ...] = (),
    clock_uncertainty_ms: float = math.nan,
    generator_ceiling_rps: float | None = None,
    relay: RelayReadings | None = None,
    outlasting: bool = False,
    prepared_at_most: float = 0.0,
    deaths: tuple[Death, ...] = (),
    standstills: tuple[Standstill, ...] = (),
    arrivals: Arrivals | None = None,
    wrong_settings: tuple[NotApplied, ...] = (),
    neighbours: Neighbours | None = None,
    leak: Leak | None = None,
) -> Certificate:
    """The certificate of one trial.

    Args:
        rows: its requests, REQUEST_COLUMNS.
        segments: its segments as planned, all phases.
        ledger: the counts of its own segments.
        ledger_problems: where ledger and rows disagree, one sentence each.
        gaps: stretches in which a sampler gave nothing, of this launch or of all.
        generator: t_ns, cpu_share, stall_max_ms, in_flight, lag_max_ms once a second; None when not recorded.
        probe: PROBE_COLUMNS, since the target's start; None without the probe.
        slo: for the error rate that is promised.
        server: SERVER_COLUMNS, until the target had stopped; None when not recorded.
        lost_workers: names of the generator's workers that ended before their counts were acknowledged.
        clock_uncertainty_ms: by how much times of different processes may be off; NaN when not known.
        generator_ceiling_rps: what the generator sends at most on this machine; None when not calibrated.
        relay: what lay between the target and Postgres; None when nothing did.
        outlasting: whether the service's transactions may last longer than Postgres knows of: they wait in a PgBouncer,
            or Postgres ended them by itself.
        prepared_at_most: statements that the driver prepared and executed in two steps, which Postgres does not time
            whole; NaN when not known.
        deaths: processes that ended while they were needed.
        standstills: processes that were stopped meanwhile.
        arrivals: of the rows, where they were worked out already.
        wrong_settings: settings that the service does not have.
        neighbours: what used the machine beside the target; None when not known.
        leak: of its connections; None where they came back, or nobody looked.
    """
    evidence = judged(
        Evidence(
            rows=rows,
            segments=segments,
            ledger=ledger,
            ledger_problems=ledger_problems,
            gaps=gaps,
            generator=generator,
            probe=probe,
            server=server,
            slo=slo,
            lost_workers=lost_workers,
            clock_uncertainty_ms=clock_uncertainty_ms,
            generator_ceiling_rps=generator_ceiling_rps,
            relay=relay,
            outlasting=outlasting,
            prepared_at_most=prepared_at_most,
            deaths=deaths,
            standstills=standstills,
            arrivals=arrivals,
            wrong_settings=wrong_settings,
            neighbours=neighbours,
            leak=leak,
        )
    )
    broken = tuple(reason for check in INSTRUMENT if (reason := check(evidence)))
    found = tuple(reason for check in FINDINGS if (reason := check(evidence)))
    return Certificate(valid=not broken, reasons=broken + found)


def certificate_of(
    evidence: StoredEvidence,
    rows: pd.DataFrame,
    arrivals: Arrivals | None,
    probe: pd.DataFrame,
    slo: Slo,
    *,
    wrong_settings: tuple[NotApplied, ...] = (),
    beside: Neighbours | None = None,
    leak: Leak | None = None,
) -> Certificate:
    """The certificate of a stored trial, made of nothing but what is stored.

    Args:
        evidence: the trial and its tables.
        rows: its requests, MEASURED_COLUMNS: read once for all that looks at them.
        arrivals: made of these rows, likewise; None where nobody has worked them out.
        probe: its PROBE_COLUMNS, likewise.
        beside: what used the machine beside the target, likewise.
        slo: for the error rate that is promised.
        wrong_settings: as in `certify`.
        leak: likewise.
    """
    trial = evidence.trial
    cell = trial.launch.cell
    context = trial.context
    return certify(
        rows=rows,
        segments=trial.segments,
        ledger=trial.ledger,
        ledger_problems=check_ledger(trial.ledger, rows),
        gaps=trial.gaps,
        generator=evidence.generator,
        probe=probe if context.probe else None,
        slo=slo,
        server=evidence.server,
        lost_workers=context.lost_workers,
        clock_uncertainty_ms=math.nan if context.clock_uncertainty_ms is None else context.clock_uncertainty_ms,
        generator_ceiling_rps=context.generator_ceiling_rps,
        relay=trial.relay,
        outlasting=cell.target.pgbouncer or cell.session.idle_in_transaction_session_timeout_ms > 0,
        prepared_at_most=_prepared_at_most(evidence),
        deaths=trial.deaths,
        standstills=trial.standstills,
        arrivals=arrivals,
        wrong_settings=wrong_settings,
        neighbours=beside,
        leak=leak,
    )


def _prepared_at_most(evidence: StoredEvidence) -> float:
    """Statements of asyncpg that took two steps: each takes two round trips. Other drivers' steps are timed apart."""
    if all(pool.driver != "asyncpg" for pool in evidence.trial.applied):
        return 0.0
    return float(evidence.counts["round_trips"].sum(skipna=False)) / 2
