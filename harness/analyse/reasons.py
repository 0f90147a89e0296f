"""How a reason of a certificate is made: a figure above its threshold."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal

import numpy as np
import pandas as pd

from harness.analyse.judged import Judged
from harness.analyse.measured import OUTCOME_PLACES
from harness.domain.certificate import Reason
from harness.domain.observed import NeededRole, StillRole


def above(
    kind: Literal["instrument", "finding"], code: str, value: float, threshold: float, message: str
) -> Reason | None:
    """A reason when the value is above its threshold; NaN, no data, is not."""
    if not value > threshold:
        return None
    return Reason(kind=kind, code=code, message=message, value=float(value), threshold=float(threshold))


def first_death(evidence: Judged, roles: Sequence[NeededRole]) -> tuple[str, float] | None:
    """What is to be said of the first process of these roles that ended, and how many seconds into the load it was."""
    deaths = [death for death in evidence.known.deaths if death.role in roles]
    if not deaths:
        return None
    first = min(deaths, key=lambda death: death.t_ns)
    at_s = (first.t_ns - evidence.began_ns) / 1e9
    more = f", and {len(deaths) - 1} more ended" if len(deaths) > 1 else ""
    if first.role == "checkpointer":  # whose end is Postgres's own doing
        return f"Postgres restarted {_when(at_s)}, as it does when one of its processes dies{more}", at_s
    return f"{_WHO[first.role]} (process {first.pid}) ended {_how(first.code)} {_when(at_s)}{more}", at_s


def longest_standstill(evidence: Judged, roles: Sequence[StillRole]) -> tuple[str, float] | None:
    """What is to be said of these roles' longest standstill, whichever turn it fell on, and how many seconds it was."""
    found = [still for still in evidence.known.standstills if still.role in roles]
    if not found:
        return None
    longest = max(found, key=lambda still: still.length_s)
    when = _when((longest.t_ns - evidence.began_ns) / 1e9)
    more = "" if len(found) == 1 else ", and once more" if len(found) == 2 else f", and {len(found) - 1} times more"
    who = f"{_WHO[longest.role]} (process {longest.pid})"
    return f"{who} was stopped for {longest.length_s:.1f} s, {when}{more}", longest.length_s


_WHO: Mapping[NeededRole | StillRole, str] = {
    "target": "the service",
    "generator": "the load generator",
    "backend": "one of Postgres's processes",
    "pgbouncer": "PgBouncer",
    "worker": "a worker of the service",
    "relay": "the network relay",
    "postgres": "Postgres",
}


def _when(at_s: float) -> str:
    return f"{at_s:.1f} s into the load" if at_s >= 0 else f"{-at_s:.1f} s before the load"


def _how(code: int | None) -> str:
    if code is None:
        return "for an unknown reason"
    if code >= 0:
        return f"with exit code {code}"
    with suppress(ValueError):
        return f"by signal {-code} ({signal.Signals(-code).name})"
    return f"by signal {-code}"


def percent(share: float) -> str:
    """A share in three digits; however small, it is not called none."""
    if 0 < share < 1e-5:
        return "less than 0.001 %"
    return f"{100 * share:.3g} %" if share < 10 else f"{100 * share:.0f} %"


def share_of(evidence: Judged, outcome: str) -> float:
    """The share of what was offered that had this outcome; 0 when nothing was offered."""
    offered = len(evidence.outcome)
    return float(np.count_nonzero(evidence.outcome == OUTCOME_PLACES[outcome])) / offered if offered else 0.0


def largest(column: pd.Series) -> float:
    """NaN without a value."""
    return float(column.max()) if len(column) else math.nan


def increase(evidence: Judged, key: str) -> float:
    """How much a cumulative figure of the server table grew over the judged time; NaN with fewer than two readings."""
    values = evidence.readings(key)
    return float(values[-1] - values[0]) if len(values) > 1 else math.nan


def last_reading(evidence: Judged, key: str) -> float:
    """The last reading of a cumulative figure, made when the targets had stopped; NaN without one."""
    return float(evidence.server[key][1][-1]) if key in evidence.server else math.nan
