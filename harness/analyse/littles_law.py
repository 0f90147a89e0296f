"""Little's law: connections in use on average = checkouts a second x time a checkout lasts.

Multiplied by the time observed, it says that the integral of connections in use is the sum of the hold times. Three
parties count: the probe's integral, which it keeps as the number changes; the probe's hold times, which it adds at
each checkin; and Postgres, with the time its backends were active or idle in a transaction. All are taken over the
launch's whole life, from a fresh pool and a fresh database to the last reading, so that no edge cuts a checkout in two;
what is still checked out at the end has an integral but no hold time yet, and is allowed for.

Postgres can only see less than the hold time: a checkout begins before BEGIN arrives and ends after the answer to
COMMIT is read. How much less is the way there and back, and the time the application takes to notice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyse.arrays import Floats, Times

BIN_NS = 1_000_000_000
LEAST_HELD_S = 0.1
"""with less connection time than this, a single checkout decides"""
SHARE_MAX = 0.05
STANDARD_ERRORS = 3.0
TRANSIT_MS_MAX = 10.0
"""per transaction, on its way to Postgres and back; the event loop's lag comes on top"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the probes of a launch's processes counted over their whole lives."""

    integral_s: float
    use_s: float
    open_s: float
    """at most that long were the connections held that are still checked out at the end"""
    transaction_s: float
    checkouts: int
    loop_lag_s: float
    """the largest seen: as late may the application have noticed each answer"""
    standard_error_s: float
    """of integral - use, from how it scatters between seconds"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By what share two counts differ beyond what is explained, and by what share they may."""

    share: float
    allowed: float


def held(probe: pd.DataFrame) -> Held | None:
    """None without two lines, or when connections were hardly used."""
    lines = [own.sort_values("t_ns") for _, own in probe.groupby("pid", observed=True)]
    lines = [own for own in lines if len(own) > 1]
    last = [own.iloc[-1] for own in lines]
    integral_s = sum(float(line["connection_used_integral_s"]) for line in last)
    if integral_s < LEAST_HELD_S:
        return None
    return Held(
        integral_s=integral_s,
        use_s=sum(float(line["connection_use_time_s"]) for line in last),
        open_s=sum(_open_s(own) for own in lines),
        transaction_s=sum(float(line["transaction_time_s"]) for line in last),
        checkouts=sum(int(line["connection_checkouts"]) for line in last),
        loop_lag_s=float(probe["loop_lag_max_ms"].max()) / 1000,
        standard_error_s=math.hypot(*(_standard_error_s(own) for own in lines)),
    )


def probe_difference(counted: Held) -> Difference:
    """The probe's integral against its own hold times."""
    more_s = counted.integral_s - counted.use_s
    unexplained_s = max(more_s - counted.open_s, -more_s, 0.0)
    return _difference(unexplained_s, counted.use_s + counted.open_s, counted.standard_error_s)


def postgres_difference(counted: Held, postgres_s: float, *, rtt_ms: float = 0.0, queue: bool = False) -> Difference:
    """Postgres's time in use against the probe's: more than all hold times, or less than its transactions explain.

    `rtt_ms` is a round trip between the two that was added on purpose. With a `queue` between them (PgBouncer) a
    transaction may wait for Postgres for as long as it likes, and only more time than the pool's is wrong.
    """
    most_s = counted.use_s + counted.open_s
    transit_s = counted.checkouts * ((TRANSIT_MS_MAX + rtt_ms) / 1000 + counted.loop_lag_s)
    missing_s = 0.0 if queue else counted.transaction_s - transit_s - postgres_s
    unexplained_s = max(postgres_s - most_s, missing_s, 0.0)
    return _difference(unexplained_s, most_s, counted.standard_error_s)


def _difference(unexplained_s: float, whole_s: float, standard_error_s: float) -> Difference:
    allowed = max(SHARE_MAX, STANDARD_ERRORS * standard_error_s / whole_s) if whole_s else SHARE_MAX
    return Difference(share=unexplained_s / whole_s if whole_s else math.inf, allowed=allowed)


def _open_s(lines: pd.DataFrame) -> float:
    """A connection out at the end was held since any time before, at the longest since the first line."""
    t_ns = lines["t_ns"].to_numpy()
    return float(lines["connection_count_used"].iloc[-1]) * float(t_ns[-1] - t_ns[0]) / 1e9


def _standard_error_s(lines: pd.DataFrame) -> float:
    t_ns: Times = lines["t_ns"].to_numpy()
    drift: Floats = (lines["connection_used_integral_s"] - lines["connection_use_time_s"]).to_numpy(dtype=np.float64)
    ends = np.searchsorted(t_ns, np.arange(t_ns[0], t_ns[-1] + 1, BIN_NS))
    steps = np.diff(drift[ends])
    return float(np.std(steps, ddof=1)) * math.sqrt(len(steps)) if len(steps) > 1 else 0.0
