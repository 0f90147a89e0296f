"""Whether a trial's instrument worked, and what was found.

An *instrument* reason means that the figures are not the target's; such a trial is invalid and feeds no verdict. A
*finding* is a result: the target dropped, failed or paused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.analyse.findings import FINDINGS
from harness.analyse.instrument import INSTRUMENT, ledger_reason
from harness.analyse.judged import Evidence, judged
from harness.domain.evidence import Certificate, Death, RelayReadings, SamplerGap
from harness.domain.experiment import Slo
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
    pgbouncer: bool = False,
    deaths: tuple[Death, ...] = (),
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
        pgbouncer: whether a PgBouncer did, where transactions may wait for Postgres.
        deaths: processes that ended while they were needed.
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
            pgbouncer=pgbouncer,
            deaths=deaths,
        )
    )
    broken = tuple(reason for check in INSTRUMENT if (reason := check(evidence)))
    found = tuple(reason for check in FINDINGS if (reason := check(evidence)))
    return Certificate(valid=not broken, reasons=broken + found)


def reread(certificate: Certificate, problems: tuple[str, ...]) -> Certificate:
    """The certificate once the stored rows have been compared with the ledger again."""
    reason = ledger_reason(problems)
    if reason is None or any(known.code == reason.code for known in certificate.reasons):
        return certificate
    return Certificate(valid=False, reasons=(reason, *certificate.reasons))
