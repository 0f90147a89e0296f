"""Connections that go out and do not come back: how many a second, and when the pool is empty.

A connection whose request is in progress is never counted, however slow the request or however many there are. One
whose request is over may be late: it counts as lost only when it has been out for several times as long as any that
came back late. A single one may be kept on purpose, as one that listens, and so may several that are taken as the load
begins: a leak goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyse.arrays import Floats
from harness.analyse.resources import most_open
from harness.domain.holds import Leak
from harness.domain.load import TurnRun

LEAST_LOST = 3
"""of one launch"""
LEAST_PATIENCE_S = 2.0
PATIENCE = 3.0
"""times the longest that a connection was late and came back"""
_TAIL = 0.025
_ENDS = ("start_ns", "end_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The connections that a launch lost."""

    taken_s: Floats
    """when, in seconds of its load, ascending"""
    exposed_s: float
    """in which a loss would have been seen: `Leak.exposed_s`"""
    pool: int | None
    endpoints: tuple[str, ...]
    """of each"""
    sites: tuple[str, ...]
    """that took them, where that is known"""

    @property
    def go_on(self) -> bool:
        """They are enough, and did not stop long before the end."""
        return len(self.taken_s) >= LEAST_LOST and float(self.taken_s[-1]) > self.exposed_s / 2


def losses_of(unreturned: pd.DataFrame, probe: pd.DataFrame, turns: Sequence[TurnRun]) -> Losses | None:
    """What a launch lost while its load went on; None without the probe, or without load.

    What comes back later does so as the service is stopped.
    """
    if probe.empty or not turns:
        return None
    last = max(turns, key=lambda turn: turn.end_ns)
    began_ns, ended_ns = min(turn.start_ns for turn in turns), last.end_ns
    # One that no request took may serve one all the same, from a thread that does not know it: until none is left.
    nobodys = unreturned["over_ns"] == unreturned["taken_ns"]
    until_ns = np.where(nobodys, last.idle_ns, ended_ns)
    back = (unreturned["back_ns"] >= 0) & (unreturned["back_ns"] <= until_ns)
    late = unreturned[back]
    longest_s = float(((late["back_ns"] - late["over_ns"]) / 1e9).max()) if len(late) else 0.0
    patience_s = max(LEAST_PATIENCE_S, PATIENCE * longest_s)
    out = unreturned[~back & (unreturned["taken_ns"] >= began_ns) & (last.idle | ~nobodys)].sort_values("taken_ns")
    lost = out[ended_ns - out["over_ns"] >= patience_s * 1e9]
    taken_s = _load_s(lost["taken_ns"].to_numpy(dtype=np.float64), turns)
    pool = most_open(probe)
    exposed_s = float(_load_s(np.array([ended_ns - patience_s * 1e9]), turns)[0])
    if pool is not None and len(taken_s) and len(taken_s) >= pool:
        exposed_s = float(taken_s[-1])  # no further connection can be lost
    endpoints = (lost["method"].astype(str) + " " + lost["route"].astype(str)).str.strip()
    return Losses(
        taken_s=taken_s,
        exposed_s=exposed_s,
        pool=pool,
        endpoints=tuple(endpoints),
        sites=tuple(filter(None, lost["site"].astype(str))),
    )


def _load_s(t_ns: Floats, turns: Sequence[TurnRun]) -> Floats:
    """How many seconds of load had gone by at these times: between its turns a launch has none."""
    start_ns, end_ns = (np.array([getattr(turn, name) for turn in turns], dtype=np.float64) for name in _ENDS)
    gone_s: Floats = (np.clip(t_ns[:, None], start_ns, end_ns) - start_ns).sum(axis=1) / 1e9
    return gone_s


def leak_of(launches: Sequence[Losses]) -> Leak | None:
    """What they lost together, where any of them shows a leak."""
    exposed_s = sum(own.exposed_s for own in launches)
    if not exposed_s or not any(own.go_on for own in launches):
        return None
    from scipy.special import gammaincinv

    lost = sum(len(own.taken_s) for own in launches)
    pools = [own.pool for own in launches if own.pool is not None]
    return Leak(
        lost=lost,
        exposed_s=exposed_s,
        low_per_s=float(gammaincinv(lost, _TAIL)) / exposed_s,
        high_per_s=float(gammaincinv(lost + 1, 1 - _TAIL)) / exposed_s,
        pool=max(pools, default=None),
        endpoints=_most_first(endpoint for own in launches for endpoint in own.endpoints),
        sites=_most_first(site for own in launches for site in own.sites),
    )


def _most_first(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, _ in Counter(names).most_common())
