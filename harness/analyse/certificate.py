"""Whether a trial's instrument worked, and what was found.

An *instrument* reason means that the figures are not the target's; such a trial is invalid and feeds no verdict. A
*finding* is a result: the target dropped, failed or paused.
"""

from __future__ import annotations

import math

import pandas as pd

from harness.analyse.applied import NotApplied
from harness.analyse.findings import FINDINGS
from harness.analyse.instrument import INSTRUMENT
from harness.analyse.judged import Known, judged
from harness.analyse.measured import Arrivals
from harness.analyse.resources import Neighbours
from harness.domain.certificate import Certificate
from harness.domain.evidence import Evidence
from harness.domain.experiment import Slo
from harness.domain.holds import Leak
from harness.domain.ledger import check_ledger


def certify(known: Known) -> Certificate:
    """The certificate of one trial."""
    evidence = judged(known)
    broken = tuple(reason for check in INSTRUMENT if (reason := check(evidence)))
    found = tuple(reason for check in FINDINGS if (reason := check(evidence)))
    return Certificate(valid=not broken, reasons=broken + found)


def certificate_of(
    evidence: Evidence,
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
        wrong_settings: settings that the service does not have.
        leak: of its connections; None where they came back, or nobody looked.
    """
    trial = evidence.trial
    target, session, context = trial.launch.cell.target, trial.launch.cell.session, trial.context
    return certify(
        Known(
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
            outlasting=target.pgbouncer or session.idle_in_transaction_session_timeout_ms > 0,
            prepared_at_most=_prepared_at_most(evidence),
            deaths=trial.deaths,
            standstills=trial.standstills,
            arrivals=arrivals,
            wrong_settings=wrong_settings,
            neighbours=beside,
            leak=leak,
        )
    )


def _prepared_at_most(evidence: Evidence) -> float:
    """Statements of asyncpg that took two steps: each takes two round trips. Other drivers' steps are timed apart."""
    if all(pool.driver != "asyncpg" for pool in evidence.trial.applied):
        return 0.0
    return float(evidence.counts["round_trips"].sum(skipna=False)) / 2
