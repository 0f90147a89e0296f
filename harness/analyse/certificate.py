"""Whether a trial's instrument worked, and what was found.

An *instrument* reason means that the figures are not the target's: the generator was late, counts do not add up, a
sampler was silent. Such a trial is invalid and feeds no verdict. A *finding* is a result: the target dropped, failed
or paused. A new reason is one function from Judged to a Reason or None, and one line in INSTRUMENT or FINDINGS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from harness.analyse.estimate import quantile
from harness.analyse.judged import Judged, judged
from harness.analyse.measured import OUTCOME_PLACES
from harness.analyse.rounds import UNDRAINED_SHARE_MAX, measured_segments, took_turns
from harness.domain.evidence import Certificate, Reason, SamplerGap
from harness.domain.experiment import Slo
from harness.domain.load import Ledger, Segment

LAG_MS_MAX = 5.0
LAG_SHARE_MAX = 0.05
"""Lag is part of every latency, so what is allowed grows with the median: 5 ms, or 5 % of it where that is more."""
GENERATOR_CPU_SHARE_MAX = 0.9
SCHEDULE_SHARE_MIN = 0.98
SCHEDULE_SIGMAS = 5.0
"""Arrivals are random: a schedule falls short only beyond this many standard deviations of a Poisson count."""
GC_PAUSE_MS_MAX = 20.0
LOOP_LAG_MS_MAX = 100.0


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
) -> Certificate:
    """The certificate of one trial.

    Args:
        rows: its requests, REQUEST_COLUMNS.
        segments: its segments as planned, all phases.
        ledger: the counts of its own segments.
        ledger_problems: where ledger and rows disagree, one sentence each.
        gaps: stretches in which a sampler gave nothing.
        generator: t_ns, cpu_share, stall_max_ms, in_flight, lag_max_ms once a second; None when not recorded.
        probe: PROBE_COLUMNS; None without the probe.
        slo: for the error rate that is promised.
    """
    evidence = judged(
        rows=rows,
        segments=segments,
        ledger=ledger,
        ledger_problems=ledger_problems,
        gaps=gaps,
        generator=generator,
        probe=probe,
        slo=slo,
    )
    broken = tuple(reason for check in INSTRUMENT if (reason := check(evidence)))
    found = tuple(reason for check in FINDINGS if (reason := check(evidence)))
    return Certificate(valid=not broken, reasons=broken + found)


def lag(evidence: Judged) -> Reason | None:
    """Arrivals were sent late."""
    value = quantile(evidence.lag_ms, 0.99)
    median_ms = quantile(evidence.latency_ms, 0.5)
    threshold = LAG_MS_MAX if math.isnan(median_ms) else max(LAG_MS_MAX, LAG_SHARE_MAX * median_ms)
    message = f"one arrival in a hundred was sent {value:.1f} ms late or later; up to {threshold:.1f} ms is fine"
    return _above("instrument", "lag", value, threshold, message)


def generator_cpu(evidence: Judged) -> Reason | None:
    """The generator had no CPU to spare for a tenth of the time."""
    value = quantile(np.sort(evidence.generator["cpu_share"].to_numpy(dtype=np.float64)), 0.9)
    message = f"the load generator used {value:.0%} of its core or more for a tenth of the time"
    return _above("instrument", "generator_cpu", value, GENERATOR_CPU_SHARE_MAX, message)


def schedule(evidence: Judged) -> Reason | None:
    """Fewer arrivals were offered than the plan asks for."""
    skipped = {run.segment for run in evidence.ledger.segments if run.skipped}
    open_segments = [s for s in evidence.segments if s.rate_rps is not None and s.index not in skipped]
    planned = sum(segment.duration_s * (segment.rate_rps or 0.0) for segment in open_segments)
    if planned <= 0:
        return None
    numbers = {segment.index for segment in open_segments}
    offered = sum(t.done + t.dropped + t.unfinished for t in evidence.ledger.tasks if t.segment in numbers)
    threshold = min(SCHEDULE_SHARE_MIN, 1 - SCHEDULE_SIGMAS / math.sqrt(planned))
    if offered / planned >= threshold:
        return None
    message = f"{offered} arrivals were offered where the plan asks for about {planned:.0f}"
    return Reason(kind="instrument", code="schedule", message=message, value=offered / planned, threshold=threshold)


def ledger_mismatch(evidence: Judged) -> Reason | None:
    """What was counted is not what was recorded."""
    return _ledger(evidence.ledger_problems)


def reread(certificate: Certificate, problems: tuple[str, ...]) -> Certificate:
    """The certificate once the stored rows have been compared with the ledger again."""
    reason = _ledger(problems)
    if reason is None or any(known.code == reason.code for known in certificate.reasons):
        return certificate
    return Certificate(valid=False, reasons=(reason, *certificate.reasons))


def _ledger(problems: tuple[str, ...]) -> Reason | None:
    first = f"the generator's counts and its rows disagree: {problems[0]}" if problems else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _above("instrument", "ledger", len(problems), 0, first + more)


def sampler_gap(evidence: Judged) -> Reason | None:
    """A sampler was silent while the trial was measured."""
    if not evidence.gaps:
        return None
    longest = max(evidence.gaps, key=lambda gap: gap.length_s)
    why = f" ({longest.reason})" if longest.reason else ""
    span = f" for {longest.length_s:.1f} s" if longest.length_s else " at times"
    message = f"the {longest.sampler} sampler gave nothing{span}{why}"
    return Reason(kind="instrument", code="sampler_gap", message=message, value=longest.length_s, threshold=0.0)


def undrained(evidence: Judged) -> Reason | None:
    """Most segments began while requests of another launch were still in flight."""
    numbers = {segment.index for segment in measured_segments(evidence.segments)}
    if not took_turns(evidence.segments):
        return None
    runs = [run for run in evidence.ledger.segments if run.segment in numbers and not run.skipped]
    value = sum(not run.drained for run in runs) / len(runs) if runs else 0.0
    message = f"{value:.0%} of the segments began while requests of another launch were in flight; lengthen the guard"
    return _above("instrument", "undrained", value, UNDRAINED_SHARE_MAX, message)


def dropped(evidence: Judged) -> Reason | None:
    """Arrivals found the in-flight cap reached although the generator was on time: the target is saturated."""
    if lag(evidence):  # a late generator sends in bunches: what it drops then is not the target's doing
        return None
    value = _share(evidence, "dropped")
    message = f"saturated: {value:.1%} of the arrivals were dropped because too many were in flight"
    return _above("finding", "dropped", value, 0.0, message)


def errors(evidence: Judged) -> Reason | None:
    """More failed than the SLO allows, in whatever way."""
    offered = len(evidence.ok)
    value = (offered - int(evidence.ok.sum())) / offered if offered else 0.0
    message = f"{value:.1%} of what was offered failed; the SLO allows {evidence.slo.error_rate:.1%}"
    return _above("finding", "errors", value, evidence.slo.error_rate, message)


def timeouts(evidence: Judged) -> Reason | None:
    """Requests ran into the request timeout."""
    value = _share(evidence, "timeout")
    return _above("finding", "timeouts", value, 0.0, f"{value:.1%} of what was offered timed out")


def unfinished(evidence: Judged) -> Reason | None:
    """Requests never came back."""
    value = _share(evidence, "unfinished")
    return _above("finding", "unfinished", value, 0.0, f"{value:.1%} of what was offered never came back")


def gc_pause(evidence: Judged) -> Reason | None:
    """The target's garbage collector stopped it."""
    value = _largest(evidence.probe["gc_pause_max_ms"])
    message = f"a garbage collection stopped the target for {value:.0f} ms"
    return _above("finding", "gc_pause", value, GC_PAUSE_MS_MAX, message)


def loop_lag(evidence: Judged) -> Reason | None:
    """The target's event loop was blocked."""
    value = _largest(evidence.probe["loop_lag_max_ms"])
    message = f"the target's event loop was blocked for {value:.0f} ms"
    return _above("finding", "loop_lag", value, LOOP_LAG_MS_MAX, message)


def pool_timeouts(evidence: Judged) -> Reason | None:
    """Requests waited for a connection until the pool gave up."""
    counters = evidence.probe.groupby("pid", observed=True)["connection_timeouts"]
    value = float((counters.max() - counters.min()).sum())
    message = f"the pool gave up on {value:.0f} waits for a connection (pool_timeout)"
    return _above("finding", "pool_timeouts", value, 0.0, message)


def _above(
    kind: Literal["instrument", "finding"], code: str, value: float, threshold: float, message: str
) -> Reason | None:
    """A reason when the value is above its threshold; NaN, no data, is not."""
    if not value > threshold:
        return None
    return Reason(kind=kind, code=code, message=message, value=float(value), threshold=float(threshold))


def _share(evidence: Judged, outcome: str) -> float:
    offered = len(evidence.outcome)
    return float((evidence.outcome == OUTCOME_PLACES[outcome]).sum()) / offered if offered else 0.0


def _largest(column: pd.Series) -> float:
    return float(column.max()) if len(column) else math.nan


Check = Callable[[Judged], Reason | None]
INSTRUMENT: tuple[Check, ...] = (lag, generator_cpu, schedule, ledger_mismatch, sampler_gap, undrained)
FINDINGS: tuple[Check, ...] = (dropped, errors, timeouts, unfinished, gc_pause, loop_lag, pool_timeouts)
