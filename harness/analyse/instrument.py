"""Reasons why the figures are not the target's: counts do not add up, a sampler was silent, the generator was starved.

That the generator was late is none of them: by how much it can have moved a figure is known and stands beside it
(`lateness`), so that no launch is left out for how slow or fast its target was.

One function a reason, from Judged to a Reason or None; INSTRUMENT lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.analyse.estimate import quantile
from harness.analyse.judged import Judged
from harness.analyse.littles_law import SHARE_MAX, postgres_share, probe_share
from harness.analyse.reasons import above, first_death, last_reading, longest_standstill, percent
from harness.domain.certificate import Reason
from harness.domain.observed import SamplerGap
from harness.domain.profile import CEILING_SHARE_MAX

GENERATOR_CPU_SHARE_MAX = 0.9
STALL_SHARE_MAX = 0.05
SCHEDULE_SHARE_MIN = 0.98
SCHEDULE_SIGMAS = 5.0
"""Arrivals are random: a schedule falls short only beyond this many standard deviations of a Poisson count."""
CLOCK_UNCERTAINTY_MS_MAX = 1.0
RELAY_LATE_MS_MAX = 1.0
ASKS_POSTGRES = ("postgres", "server", "postgres processes")
"""samplers whose readings Postgres gives"""


def generator_cpu(evidence: Judged) -> Reason | None:
    """The generator had no CPU to spare for a tenth of the time."""
    value = quantile(np.sort(evidence.generator["cpu_share"].to_numpy(dtype=np.float64)), 0.9)
    message = f"the load generator used {percent(value)} of its core or more for a tenth of the time"
    return above("instrument", "generator_cpu", value, GENERATOR_CPU_SHARE_MAX, message)


def schedule(evidence: Judged) -> Reason | None:
    """Fewer arrivals were offered than the plan asks for."""
    open_segments = [segment for segment in evidence.segments if segment.rate_rps is not None]
    planned = sum(segment.duration_s * (segment.rate_rps or 0.0) for segment in open_segments)
    if planned <= 0:
        return None
    numbers = {segment.index for segment in open_segments}
    offered = sum(t.done + t.dropped + t.unfinished for t in evidence.known.ledger.tasks if t.segment in numbers)
    threshold = min(SCHEDULE_SHARE_MIN, 1 - SCHEDULE_SIGMAS / math.sqrt(planned))
    if offered / planned >= threshold:
        return None
    message = f"{offered} arrivals were offered where the plan asks for about {planned:.0f}"
    return Reason(kind="instrument", code="schedule", message=message, value=offered / planned, threshold=threshold)


def ledger_mismatch(evidence: Judged) -> Reason | None:
    """What was counted is not what was recorded."""
    return ledger_reason(evidence.known.ledger_problems)


def sampler_gap(evidence: Judged) -> Reason | None:
    """A sampler was silent while the trial was measured."""
    gaps = [gap for gap in evidence.gaps if not _explained(gap, evidence)]
    if not gaps:
        return None
    longest = max(gaps, key=lambda gap: gap.length_s)
    why = f" ({longest.reason})" if longest.reason else ""
    lacks = f"gave nothing for {longest.length_s:.1f} s" if longest.length_s else "lacks readings"
    message = f"the {longest.sampler} sampler {lacks}{why}"
    return Reason(kind="instrument", code="sampler_gap", message=message, value=longest.length_s, threshold=0.0)


def _explained(gap: SamplerGap, evidence: Judged) -> bool:
    """Whether it was Postgres that gave nothing, because it had died or was stopped: that is found, no reason."""
    end_ns = gap.t_ns + gap.length_s * 1e9
    return gap.sampler in ASKS_POSTGRES and (
        any(
            death.role in ("postgres", "checkpointer") and gap.t_ns <= death.t_ns <= end_ns
            for death in evidence.known.deaths
        )
        or any(
            still.role in ("postgres", "backend")
            and gap.t_ns <= still.t_ns + still.length_s * 1e9
            and still.t_ns <= end_ns
            for still in evidence.known.standstills
        )
    )


def stopped(evidence: Judged) -> Reason | None:
    """The load generator or the relay was stopped, and the service with nothing to do."""
    still = longest_standstill(evidence, ("generator", "relay"))
    if still is None:
        return None
    return Reason(kind="instrument", code="stopped", message=still[0], value=still[1], threshold=0.0)


def relay_died(evidence: Judged) -> Reason | None:
    """What stood between target and Postgres ended."""
    death = first_death(evidence, ("relay",))
    if death is None:
        return None
    return Reason(kind="instrument", code="relay_died", message=death[0], value=death[1], threshold=0.0)


def ledger_reason(problems: tuple[str, ...]) -> Reason | None:
    """What was counted is not what was recorded, if so."""
    first = f"the generator's counts and its rows disagree: {problems[0]}" if problems else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return above("instrument", "ledger", len(problems), 0, first + more)


def stalled(evidence: Judged) -> Reason | None:
    """The generator's event loop stood still, for as long as the longest stalls of each second add up to."""
    stalls_ms = evidence.generator["stall_max_ms"].to_numpy(dtype=np.float64)
    value = float(stalls_ms.mean()) / 1000 if len(stalls_ms) else math.nan
    message = f"the load generator stood still for {percent(value)} of the time or more"
    return above("instrument", "stall", value, STALL_SHARE_MAX, message)


def ceiling(evidence: Judged) -> Reason | None:
    """The load is more than this machine's generator can send, as calibration measured it."""
    most_rps = evidence.known.generator_ceiling_rps
    if not most_rps:
        return None
    rate_rps = max((segment.rate_rps or 0.0 for segment in evidence.segments), default=0.0)
    message = (
        f"{rate_rps:.0f} arrivals/s were asked of a load generator that was calibrated to send {most_rps:.0f} at most"
    )
    return above("instrument", "ceiling", rate_rps, CEILING_SHARE_MAX * most_rps, message)


def lost_worker(evidence: Judged) -> Reason | None:
    """A worker of the generator ended before its counts were acknowledged."""
    lost = evidence.known.lost_workers
    count, names = len(lost), ", ".join(lost)
    message = f"the generator lost its worker{'s' if count > 1 else ''} {names}"
    return above("instrument", "lost_worker", count, 0, message)


def clock(evidence: Judged) -> Reason | None:
    """Times of different processes cannot be compared to a fraction of a latency."""
    value = evidence.known.clock_uncertainty_ms
    message = f"the clock is only known to {value:.2g} ms"
    return above("instrument", "clock", value, CLOCK_UNCERTAINTY_MS_MAX, message)


def relay_late(evidence: Judged) -> Reason | None:
    """Postgres was further away than asked for: the relay did not keep up with what was due.

    By the median: on a busy machine the slowest pieces wait for a core, as those of service and Postgres do.
    """
    relay = evidence.known.relay
    if relay is None:
        return None
    value = relay.late_ms_p50
    message = f"the network relay passed on half of the pieces {value:.2g} ms late or more"
    return above("instrument", "relay_late", value, RELAY_LATE_MS_MAX, message)


def littles_law_probe(evidence: Judged) -> Reason | None:
    """The probe's integral of connections in use is not the sum of its hold times."""
    counted = evidence.held
    if counted is None:
        return None
    message = (
        f"the probe's connections were in use for {counted.integral_s:.2f} s, but held for {counted.use_s:.2f} s in "
        f"{counted.checkouts} checkouts"
    )
    return above("instrument", "littles_law_probe", probe_share(counted), SHARE_MAX, message)


def littles_law_postgres(evidence: Judged) -> Reason | None:
    """Postgres saw more, or far less, connection time than the probe.

    Not looked at where a process died: what it had counted and not yet written, or kept in memory, went with it. Where
    Postgres was stopped, what was sent to it waited outside, as before a PgBouncer.
    """
    known = evidence.known
    counted = None if known.deaths else evidence.held
    postgres_s = sum(last_reading(evidence, key) for key in ("active_s", "idle_in_transaction_s"))
    if counted is None or math.isnan(postgres_s):
        return None
    rtt_ms = 0.0 if known.relay is None else known.relay.rtt_ms
    outlasting = known.outlasting or any(still.role in ("postgres", "backend") for still in known.standstills)
    share = postgres_share(counted, postgres_s, rtt_ms=rtt_ms, prepared=known.prepared_at_most, outlasting=outlasting)
    message = (
        f"Postgres saw connections busy for {postgres_s:.2f} s, the pool held them for {counted.use_s:.2f} s, "
        f"{counted.transaction_s:.2f} s of that in transactions"
    )
    return above("instrument", "littles_law_postgres", share, SHARE_MAX, message)


INSTRUMENT: tuple[Callable[[Judged], Reason | None], ...] = (
    generator_cpu,
    stalled,
    schedule,
    ceiling,
    ledger_mismatch,
    sampler_gap,
    lost_worker,
    clock,
    relay_late,
    relay_died,
    stopped,
    littles_law_probe,
    littles_law_postgres,
)
