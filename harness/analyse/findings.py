"""What was found of the target and its surroundings: results, never excuses.

One function a finding, from Judged to a Reason or None; FINDINGS lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from harness.analyse.applied import CONNECTIONS, ENGINE, NotApplied
from harness.analyse.judged import Judged
from harness.analyse.reasons import (
    above,
    first_death,
    increase,
    largest,
    last_reading,
    longest_standstill,
    percent,
    share_of,
)
from harness.analyse.steady import BIN_S, settled_after_s
from harness.domain.certificate import Reason

GC_PAUSE_MS_MAX = 20.0
EMPTY_SHARE_MAX = 0.01
STILL_AT_WORK_S_MAX = 1.0
"""What a service does within this time after its last answer is tidying up."""
FAILING_SHARE = 0.01
"""of the arrivals; more than this is no service to run, whether anything was promised or not"""
BREAKDOWNS = ("died", "stood_still")
"""Codes of what no setting to be run with shows."""
LOOP_LAG_MS_MAX = 100.0
MACHINE_BUSY_SHARE_MIN = 0.9
HARNESS_CPU_SHARE_MAX = 0.05
"""both of all cores: what a busy machine gives to the measurement it does not give to the service"""
STEAL_SHARE_MAX = 0.02
THROTTLED_SHARE_MAX = 0.01
IMBALANCE_MAX = 1.5
IMBALANCE_SIGMAS = 4.0
"""Requests find their workers by chance: uneven is what chance alone would hardly make."""
UNSETTLED_SHARE_MIN = 0.1
"""How much slower or quicker than later what follows the warm-up must be to matter."""
UNSETTLED_STANDARD_ERRORS = 4.0
"""And how much more than the tenths of a second later on scatter by chance."""


def dropped(evidence: Judged) -> Reason | None:
    """Arrivals found as many in flight as may be: the target does not keep up, or stood still."""
    value = share_of(evidence, "dropped")
    message = f"{percent(value)} of the arrivals were dropped because as many were in flight as may be"
    return above("finding", "dropped", value, 0.0, message)


def errors(evidence: Judged) -> Reason | None:
    """More failed than the SLO allows, or than anybody would accept, in whatever way."""
    offered, promised = len(evidence.ok), evidence.known.slo.error_rate
    value = (offered - int(evidence.ok.sum())) / offered if offered else 0.0
    allowed = "" if promised is None else f"; the SLO allows {percent(promised)}"
    message = f"{percent(value)} of what was offered failed{allowed}"
    return above("finding", "errors", value, FAILING_SHARE if promised is None else promised, message)


def timeouts(evidence: Judged) -> Reason | None:
    """Requests ran into the request timeout."""
    value = share_of(evidence, "timeout")
    return above("finding", "timeouts", value, 0.0, f"{percent(value)} of what was offered timed out")


def unfinished(evidence: Judged) -> Reason | None:
    """Requests never came back."""
    value = share_of(evidence, "unfinished")
    return above("finding", "unfinished", value, 0.0, f"{percent(value)} of what was offered never came back")


def died(evidence: Judged) -> Reason | None:
    """The service, one of its workers, PgBouncer or Postgres ended while it was needed, whichever turn it was."""
    death = first_death(evidence, ("target", "worker", "pgbouncer", "postgres", "checkpointer"))
    if death is None:
        return None
    return Reason(kind="finding", code="died", message=death[0], value=death[1], threshold=0.0)


def stood_still(evidence: Judged) -> Reason | None:
    """One of them was stopped while the rest of the machine went on."""
    still = longest_standstill(evidence, ("target", "pgbouncer", "postgres", "backend"))
    if still is None:
        return None
    return Reason(kind="finding", code="stood_still", message=still[0], value=still[1], threshold=0.0)


def setting_not_applied(evidence: Judged) -> Reason | None:
    """The service has other settings than the cell asks for."""
    wrong = evidence.known.wrong_settings
    if not wrong:
        return None
    said = "; ".join(map(_instead, wrong))
    return Reason(kind="finding", code="setting_not_applied", message=said, value=float(len(wrong)), threshold=0.0)


def _instead(wrong: NotApplied) -> str:
    found = " and ".join(map(str, wrong.found))
    if wrong.key == CONNECTIONS:
        return f"up to {found} connections were open where there may be {wrong.asked}"
    if wrong.key == ENGINE:
        return f"""{wrong.key} = "{wrong.asked}" fits none of the service's engines: {found}"""
    return f"{wrong.key} is {found} in the service, not {wrong.asked} as the experiment has it"


def still_at_work(evidence: Judged) -> Reason | None:
    """The service went on with requests long after its load, and others had their turn meanwhile."""
    busy = [turn for turn in evidence.known.ledger.turns if not turn.idle]
    value = max(((turn.idle_ns - turn.end_ns) / 1e9 for turn in busy), default=0.0)
    message = f"the service was still at work {value:.0f} s after its load had ended"
    return above("finding", "still_at_work", value, STILL_AT_WORK_S_MAX, message)


def empty_tasks(evidence: Judged) -> Reason | None:
    """Tasks returned without having sent a request."""
    arrivals = len(evidence.outcome) + evidence.empty
    value = evidence.empty / arrivals if arrivals else 0.0
    message = f"{percent(value)} of the arrivals sent no request: they are neither success nor failure"
    return above("finding", "empty_tasks", value, EMPTY_SHARE_MAX, message)


def no_connection(evidence: Judged) -> Reason | None:
    """The service answered without its database: it was never connected to, or another one was."""
    # over the whole life: Postgres may count a transaction only once its connection is closed
    if last_reading(evidence, "transactions") != 0 or not len(evidence.outcome):
        return None
    message = "the service opened no connection to the database it was given"
    return Reason(kind="finding", code="no_connection", message=message, value=0.0, threshold=0.0)


def gc_pause(evidence: Judged) -> Reason | None:
    """The target's garbage collector stopped it."""
    value = largest(_while_running(evidence)["gc_pause_max_ms"])
    message = f"a garbage collection stopped the target for {value:.0f} ms"
    return above("finding", "gc_pause", value, GC_PAUSE_MS_MAX, message)


def loop_lag(evidence: Judged) -> Reason | None:
    """The target's event loop did not come round."""
    value = largest(_while_running(evidence)["loop_lag_max_ms"])
    message = f"the target's event loop came round {value:.0f} ms late: something blocked it, or it had no core"
    return above("finding", "loop_lag", value, LOOP_LAG_MS_MAX, message)


def _while_running(evidence: Judged) -> pd.DataFrame:
    """The probe's lines without those that tell of a time in which their process was stopped: it was not blocked."""
    lines = evidence.probe
    if not evidence.known.standstills:
        return lines
    stopped = np.zeros(len(lines), dtype=np.bool_)
    for still in evidence.known.standstills:
        lag_ns = (lines["loop_lag_max_ms"].to_numpy(dtype=np.float64) * 1e6).astype(np.int64)
        until_ns = still.t_ns + still.length_s * 1e9
        overlaps = (lines["t_ns"] >= still.t_ns) & (lines["t_ns"] - lag_ns <= until_ns)
        stopped |= ((lines["pid"] == still.pid) & overlaps).to_numpy()
    return lines[~stopped]


def pool_timeouts(evidence: Judged) -> Reason | None:
    """Requests waited for a connection until the pool gave up."""
    pids, timeouts = (evidence.probe[name].to_numpy() for name in ("pid", "connection_timeouts"))
    value = float(sum(np.ptp(timeouts[pids == pid]) for pid in np.unique(pids)))
    waits = "1 wait" if value == 1 else f"{value:.0f} waits"
    message = f"the pool gave up on {waits} for a connection (pool_timeout)"
    return above("finding", "pool_timeouts", value, 0.0, message)


def leak(evidence: Judged) -> Reason | None:
    """Connections were taken and not given back."""
    found = evidence.known.leak
    if found is None:
        return None
    message = (
        f"{found.lost} connections that were taken in {found.exposed_s:.3g} s never came back: {found.per_s:.2g}/s"
    )
    return Reason(kind="finding", code="leak", message=message, value=found.per_s, threshold=0.0)


def steal(evidence: Judged) -> Reason | None:
    """The hypervisor gave the machine's time to somebody else."""
    value = increase(evidence, "host_steal_s") / (increase(evidence, "host_cpu_s") or math.nan)
    message = f"the hypervisor took {percent(value)} of the machine's time"
    return above("finding", "steal", value, STEAL_SHARE_MAX, message)


def throttled(evidence: Judged) -> Reason | None:
    """The control group's CPU limit made its processes stand still."""
    value = increase(evidence, "cgroup_throttled_s") / evidence.seconds
    message = f"a CPU limit held poolbench's processes up for {percent(value)} of the time"
    return above("finding", "throttled", value, THROTTLED_SHARE_MAX, message)


def imbalance(evidence: Judged) -> Reason | None:
    """One worker of the target got far more than its share; a worker that answered nothing has its probe's lines."""
    counts = evidence.answered_by
    workers = len({*counts, *evidence.probe["pid"].tolist()})
    if workers < 2 or not counts:
        return None
    fair = sum(counts.values()) / workers
    value = max(counts.values()) / fair
    threshold = max(IMBALANCE_MAX, 1 + IMBALANCE_SIGMAS / math.sqrt(fair))
    message = f"one of {workers} workers answered {value:.1f} times its share of the requests"
    return above("finding", "imbalance", value, threshold, message)


def harness_cpu(evidence: Judged) -> Reason | None:
    """What the measurement brought along used cores that the target could have used: none was left."""
    beside = evidence.known.neighbours
    if beside is None or beside.busy < MACHINE_BUSY_SHARE_MIN:
        return None
    shares = beside.by_role
    each = ", ".join(f"{_BESIDE[role]} {percent(share)}" for role, share in shares.items() if share >= 0.005)
    value = sum(shares.values())
    message = (
        f"{percent(beside.busy)} of the machine's CPU time was in use; what runs beside the service to "
        f"measure it used {percent(value)} of the time of all cores ({each}): alone on the machine the "
        "service would have more"
    )
    return above("finding", "harness_cpu", value, HARNESS_CPU_SHARE_MAX, message)


_BESIDE = {"generator": "load generator", "harness": "samplers", "relay": "relay", "postgres": "Postgres"}


def checkpoint(evidence: Judged) -> Reason | None:
    """A checkpoint was under way."""
    busy = evidence.readings("checkpointer_busy")
    value = increase(evidence, "checkpoints")
    value = max(0.0 if math.isnan(value) else value, float(busy.max(initial=0)))
    return above("finding", "checkpoint", value, 0, "Postgres wrote a checkpoint during the measurement")


def autovacuum(evidence: Judged) -> Reason | None:
    """Autovacuum was at work."""
    workers = evidence.readings("autovacuum_workers")
    value = float(np.count_nonzero(workers)) / len(workers) if len(workers) else math.nan
    return above("finding", "autovacuum", value, 0, f"autovacuum was at work in {percent(value)} of the readings")


def warmup(evidence: Judged) -> Reason | None:
    """What was measured began before latency had settled."""
    settled_s = settled_after_s(evidence.bins_ms)
    planned, settled = round(evidence.warmup_s / BIN_S), round(settled_s / BIN_S)
    early, later = evidence.bins_ms[planned:settled], evidence.bins_ms[settled:]
    if not len(early) or not len(later):
        return None
    usual_ms = float(np.median(later))
    chance_ms = UNSETTLED_STANDARD_ERRORS * float(np.std(later)) / math.sqrt(len(early))
    if abs(float(np.median(early)) - usual_ms) < max(UNSETTLED_SHARE_MIN * usual_ms, chance_ms):
        return None
    message = (
        f"latency settled after {settled_s:.1f} s of load, but the warm-up was {evidence.warmup_s:.1f} s: "
        "lengthen load.warmup_s"
    )
    return above("finding", "warmup", settled_s, evidence.warmup_s, message)


def unchecked(evidence: Judged) -> Reason | None:
    """The generator writes a line a second: of a shorter measurement nobody knows whether it had a core to itself."""
    message = (
        f"{evidence.measured_s:.2g} s are too short to see whether the load generator kept up: lengthen load.measure_s"
    )
    return above("finding", "unchecked", float(evidence.generator_unseen), 0.0, message)


FINDINGS: tuple[Callable[[Judged], Reason | None], ...] = (
    dropped,
    errors,
    timeouts,
    unfinished,
    died,
    stood_still,
    setting_not_applied,
    still_at_work,
    empty_tasks,
    no_connection,
    gc_pause,
    loop_lag,
    pool_timeouts,
    leak,
    harness_cpu,
    steal,
    throttled,
    imbalance,
    checkpoint,
    autovacuum,
    warmup,
    unchecked,
)
