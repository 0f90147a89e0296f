"""Little's law: connections in use on average = checkouts a second x time a checkout lasts.

Multiplied by the time observed, it says that the integral of connections in use is the sum of the hold times. Three
parties count: the probe's integral, which it keeps as the number changes; the probe's hold times, which it adds at
each checkin; and Postgres, with the time its backends were active or idle in a transaction. All are taken over the
launch's whole life, from a fresh pool and a fresh database to the last reading, so that no edge cuts a checkout in two;
what is still checked out at the end has an integral but no hold time yet, and is allowed for. So nothing here is a
sample, and nothing scatters: what is allowed for is what the parties do not mean alike, and SHARE_MAX for the rest.

Postgres can see more than the hold times by what a connection does before it is handed out: the first words on a new
one, and pings (asyncpg pings in a transaction). It sees less by the way there and back: a transaction begins before
BEGIN arrives, and ends when the application has noticed the answer to COMMIT. And it forgets the time between the two
steps in which asyncpg prepares and executes a statement: a backend's state is then active twice in a row, and only
the second time is added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEAST_HELD_S = 0.1
"""with less connection time than this, a single checkout decides"""
SHARE_MAX = 0.05
TRANSIT_MS_MAX = 10.0
"""of a step on its way to Postgres and back, on a machine with others at work; the event loop's lag comes on top"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the probes of a launch's processes counted over their whole lives."""

    integral_s: float
    use_s: float
    open_s: float
    """at most that long were the connections held that are still checked out at the end"""
    before_s: float
    """spent on connections before they were handed out: dialled, spoken to for the first time, pinged"""
    transaction_s: float
    checkouts: int
    lag_s: float
    """mean over the checkouts of the event loop's largest lag while they ended: so late an answer may be noticed"""


def held(probe: pd.DataFrame) -> Held | None:
    """None without two lines, or when connections were hardly used."""
    if len(probe) < 2:
        return None
    lines = [own.sort_values("t_ns") for _, own in probe.groupby("pid", observed=True)]
    lines = [own for own in lines if len(own) > 1]
    last = pd.DataFrame([own.iloc[-1] for own in lines], columns=probe.columns).sum()
    if last["connection_used_integral_s"] < LEAST_HELD_S:
        return None
    return Held(
        integral_s=float(last["connection_used_integral_s"]),
        use_s=float(last["connection_use_time_s"]),
        open_s=sum(_open_s(own) for own in lines),
        before_s=float(last["connection_create_time_s"] + last["connection_ping_time_s"]),
        transaction_s=float(last["transaction_time_s"]),
        checkouts=int(last["connection_checkouts"]),
        lag_s=sum(_lags_s(own) for own in lines) / max(1.0, last["connection_checkouts"]),
    )


def probe_share(counted: Held) -> float:
    """By what share of them the probe's hold times differ from its integral, beyond what is still checked out."""
    more_s = counted.integral_s - counted.use_s
    return max(more_s - counted.open_s, -more_s, 0.0) / (counted.use_s + counted.open_s)


def postgres_share(
    counted: Held, postgres_s: float, *, rtt_ms: float = 0.0, prepared: float = 0.0, outlasting: bool = False
) -> float:
    """By what share of the hold times Postgres's time in use is more than these explain, or less than transactions do.

    Args:
        counted: what the probes say.
        postgres_s: time of the launch's backends, active or idle in a transaction.
        rtt_ms: a round trip between the two that was added on purpose.
        prepared: statements that took two steps, at most; NaN where nobody can say.
        outlasting: a transaction may have lasted longer than Postgres knows of: PgBouncer stands between, Postgres
            stood still, or ended it by itself (idle_in_transaction_session_timeout). Then, or where steps are not
            known, only more time than the pool's is wrong.
    """
    most_s = counted.use_s + counted.open_s
    transit_s = (counted.checkouts + prepared) * ((TRANSIT_MS_MAX + rtt_ms) / 1000 + counted.lag_s)
    missing_s = 0.0 if outlasting or math.isnan(prepared) else counted.transaction_s - transit_s - postgres_s
    return max(postgres_s - most_s - counted.before_s, missing_s, 0.0) / most_s


def _open_s(lines: pd.DataFrame) -> float:
    """A connection out at the end was held since any time before, at the longest since the first line."""
    t_ns = lines["t_ns"].to_numpy()
    return float(lines["connection_count_used"].iloc[-1]) * float(t_ns[-1] - t_ns[0]) / 1e9


def _lags_s(lines: pd.DataFrame) -> float:
    """Summed over the checkouts of a process."""
    checkouts = np.diff(lines["connection_checkouts"].to_numpy(), prepend=0)
    return float(checkouts @ lines["loop_lag_max_ms"].to_numpy(dtype=np.float64)) / 1000
