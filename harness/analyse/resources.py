"""What a launch used while it was measured: connections of its database, CPU time of its target."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.analyse.arrays import Floats
from harness.analyse.rounds import Windows


def connection_readings(activity: pd.DataFrame, windows: Windows) -> pd.DataFrame:
    """One row per reading taken while the launch was measured, one column per state, and `t_s` of measured time.

    A state that a reading does not name had no connection then.
    """
    inside, time_s = windows.locate(activity["t_ns"].to_numpy())
    rows = pd.DataFrame(
        {
            "t_s": time_s[inside],
            "state": activity["state"].astype(str).to_numpy()[inside],
            "connections": activity["connections"].to_numpy(dtype=np.int64)[inside],
        }
    )
    table = rows.pivot_table(index="t_s", columns="state", values="connections", aggfunc="sum", fill_value=0)
    return table.drop(columns="", errors="ignore").rename_axis(columns=None).reset_index()


def connections_peak_and_active(activity: pd.DataFrame, windows: Windows) -> tuple[int, float]:
    """Most connections at one reading, and the mean number of active ones; 0 and NaN without a reading."""
    readings = connection_readings(activity, windows)
    if readings.empty:
        return 0, math.nan
    states = readings.drop(columns="t_s")
    active = float(states["active"].mean()) if "active" in states else 0.0
    return int(states.sum(axis=1).max()), active


def target_cpu_s(process: pd.DataFrame, windows: Windows) -> float:
    """CPU time of the target's processes over the measured stretches and their guards; NaN without a reading.

    Cumulative readings are interpolated at the bounds. The guard belongs to it: the stragglers' work is done there.
    """
    readings = process[(process["role"] == "target").to_numpy()]
    if readings.empty or len(windows.start_ns) == 0:
        return math.nan
    return sum(_cpu_s(own, windows) for _, own in readings.groupby("pid", observed=True))


def _cpu_s(readings: pd.DataFrame, windows: Windows) -> float:
    ordered = readings.sort_values("t_ns")
    t_ns: Floats = ordered["t_ns"].to_numpy(dtype=np.float64)
    cpu_s = ordered["cpu_s"].to_numpy(dtype=np.float64)
    spent = np.interp(windows.guard_end_ns, t_ns, cpu_s) - np.interp(windows.start_ns, t_ns, cpu_s)
    return float(spent.sum())
