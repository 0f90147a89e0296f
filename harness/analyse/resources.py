"""What a launch used while it was measured: connections of its database, CPU time of its target."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyse.arrays import Floats, Times
from harness.analyse.measured import category_codes
from harness.analyse.windows import Windows
from harness.domain.columns import names_and_codes


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionReadings:
    """Connections of a launch's database, reading by reading, while it was measured."""

    time_s: Floats
    """of the launch's own measured time"""
    states: tuple[str, ...]
    counts: Times
    """one row a reading, one column a state"""

    @property
    def peak(self) -> int:
        """Most connections at one reading; 0 without a reading."""
        return int(self.counts.sum(axis=1).max(initial=0))

    @property
    def active_mean(self) -> float:
        """Mean number of active ones; NaN without a reading."""
        if len(self.time_s) == 0:
            return math.nan
        return float(self.counts[:, self.states.index("active")].mean()) if "active" in self.states else 0.0

    @property
    def means(self) -> dict[str, float]:
        """Mean number by state; empty without a reading."""
        return dict(zip(self.states, self.counts.mean(axis=0).tolist(), strict=True)) if len(self.time_s) else {}


def connection_readings(activity: pd.DataFrame, windows: Windows) -> ConnectionReadings:
    """The readings of pg_stat_activity within the measured stretches.

    A state that a reading does not name had no connection then; the state "" stands for a reading without any.
    """
    states = tuple(sorted(state for state in names_and_codes(activity["state"])[0] if state))
    state = category_codes(activity["state"], {name: place for place, name in enumerate(states)})
    inside, time_s = windows.locate(activity["t_ns"].to_numpy(dtype=np.int64))
    readings, reading = np.unique(time_s[inside], return_inverse=True)
    counts = np.zeros((len(readings), len(states) + 1), dtype=np.int64)  # the last column takes the state ""
    np.add.at(counts, (reading, state[inside]), activity["connections"].to_numpy(dtype=np.int64)[inside])
    return ConnectionReadings(time_s=readings, states=states, counts=counts[:, :-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """What ran beside the target on its machine while it was measured, as shares of all its cores' time."""

    cores: float
    """that the machine has"""
    busy: float
    """used by anybody"""
    by_role: Mapping[str, float]
    """by what a measurement brings along: load generator, samplers, relay, and Postgres where it is on this machine"""


BESIDE_THE_TARGET = ("generator", "harness", "relay", "postgres")


def neighbours(process: pd.DataFrame, server: pd.DataFrame, windows: Windows) -> Neighbours | None:
    """None where the machine did not tell what of its cores' time was used, or nothing was measured."""
    if server.empty:
        return None
    host = {
        key: increase(server[(server["key"] == key).to_numpy()], "value", windows)
        for key in ("host_cpu_s", "host_idle_s")
    }
    if not host["host_cpu_s"] > 0 or math.isnan(host["host_idle_s"]):
        return None
    used_s = {role: role_cpu_s(process, role, windows) for role in BESIDE_THE_TARGET}
    return Neighbours(
        cores=host["host_cpu_s"] / windows.seconds,
        busy=1 - host["host_idle_s"] / host["host_cpu_s"],
        by_role={role: own_s / host["host_cpu_s"] for role, own_s in used_s.items() if own_s > 0},
    )


def role_cpu_s(process: pd.DataFrame, role: str, windows: Windows) -> float:
    """CPU time of the processes of a role over the measured stretches; NaN without a reading."""
    return increase(of_role(process, role), "cpu_s", windows)


def of_role(process: pd.DataFrame, role: str) -> pd.DataFrame:
    """The readings of a role's processes."""
    return process if process.empty else process[(process["role"] == role).to_numpy()]


def cores_of(process: pd.DataFrame, role: str, loaded: Windows) -> list[float]:
    """How much of a core each process of a role used while its launch had its turns, which are the only time it works.

    Readings lie a tenth of a second apart. What grew between the last one before a turn and the first one after it is
    the turn's; interpolated at its bounds, a turn of half a second would lose a fifth of it to the idle time around.
    """
    if not loaded.seconds:
        return []
    begins = np.append(True, loaded.start_ns[1:] != loaded.end_ns[:-1])
    start_ns, end_ns = loaded.start_ns[begins], loaded.end_ns[np.append(begins[1:], True)]
    used = []
    for t_ns, cpu_s in _by_process(of_role(process, role), "cpu_s"):
        first = np.maximum(np.searchsorted(t_ns, start_ns, side="right") - 1, 0)
        last = np.minimum(np.searchsorted(t_ns, end_ns), len(t_ns) - 1)
        used.append(float((cpu_s[last] - cpu_s[first]).sum()) / loaded.seconds)
    return used


def pool_used_mean(probe: pd.DataFrame, windows: Windows) -> float:
    """Connections that were out on average over the measured stretches, all processes together; NaN without a probe."""
    return increase(probe, "connection_used_integral_s", windows) / windows.seconds if windows.seconds else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTimes:
    """What the probe's counters grew by while a launch was measured, all its processes together."""

    wait_s: float
    """waiting in the queue of a pool"""
    dial_s: float
    ping_s: float
    gc_s: float
    """the interpreter stood still to collect garbage"""
    loop_lag_ms: float
    """by how much the event loop ran a timer late, on average; NaN where that was not recorded"""
    threads_waiting: float
    """tasks that waited for a thread, on average; NaN likewise"""
    seconds: float
    """measured"""
    connects: float
    """connections that were opened"""
    checkouts: float
    loop_lag_max_ms: float
    """by how much the event loop ran a timer late, at most; NaN without a reading, as the next"""
    gc_pause_max_ms: float
    """for how long the interpreter stood still at most"""

    @property
    def connects_per_s(self) -> float:
        return self.connects / self.seconds

    @property
    def connects_per_checkout(self) -> float:
        return self.connects / self.checkouts if self.checkouts else math.nan


def probe_times(probe: pd.DataFrame, windows: Windows) -> ProbeTimes | None:
    """None without a probe, or where nothing was measured."""
    if probe.empty or not windows.seconds:
        return None

    def grown(name: str) -> float:
        return increase(probe, name, windows)

    measured = probe[windows.contain(probe["t_ns"].to_numpy(dtype=np.int64))]
    beats = grown("loop_beats")
    return ProbeTimes(
        wait_s=grown("connection_wait_time_s"),
        dial_s=grown("connection_create_time_s"),
        ping_s=grown("connection_ping_time_s"),
        gc_s=grown("gc_pause_s"),
        loop_lag_ms=1000 * grown("loop_lag_s") / beats if beats else math.nan,
        threads_waiting=float(
            measured.groupby("pid", observed=True)["threadpool_tasks_waiting"].mean().sum(skipna=False)
        ),
        seconds=windows.seconds,
        connects=grown("connection_connects"),
        checkouts=grown("connection_checkouts"),
        loop_lag_max_ms=float(measured["loop_lag_max_ms"].max()),
        gc_pause_max_ms=float(measured["gc_pause_max_ms"].max()),
    )


def most_open(probe: pd.DataFrame) -> int | None:
    """Connections that the pools of all processes may hold together, as the probe last saw them; None: any number."""
    if probe.empty:
        return 0
    last = [most[-1] for _, most in _by_process(probe, "connection_max")]
    return None if min(last) < 0 else int(sum(last))


def unaccounted(probe: pd.DataFrame, activity: pd.DataFrame) -> int:
    """Connections that most readings show beyond what any of the service's engines held at any time."""
    if not len(probe) or not len(activity):
        return 0
    held = probe["connection_count_used"] + probe["connection_count_idle"]
    most_held = int(held.groupby(probe["pid"], observed=True).max().sum())
    opened = activity.groupby("t_ns")["connections"].sum()
    return max(0, int(opened.quantile(0.5, interpolation="lower")) - most_held)


def increase(readings: pd.DataFrame, column: str, windows: Windows) -> float:
    """By how much a figure that each process counts up grew over the stretches, all processes together, interpolated
    at the bounds; NaN without a reading."""
    if readings.empty or len(windows.start_ns) == 0:
        return math.nan
    grown = (
        np.interp(windows.end_ns, t_ns, values) - np.interp(windows.start_ns, t_ns, values)
        for t_ns, values in _by_process(readings, column)
    )
    return sum(float(own.sum()) for own in grown)


def _by_process(readings: pd.DataFrame, column: str) -> Iterator[tuple[Times, Floats]]:
    """The times and values of each process's readings, in their order; of one where they do not say whose they are."""
    t_ns, values = readings["t_ns"].to_numpy(), readings[column].to_numpy(dtype=np.float64)
    order = np.argsort(t_ns, kind="stable")
    pids = readings["pid"].to_numpy()[order] if "pid" in readings else np.zeros(len(order))
    for pid in np.unique(pids):
        own = order[pids == pid]
        yield t_ns[own], values[own]
