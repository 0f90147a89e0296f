"""What the machine took away: time stolen by a hypervisor, time a control group was held up, or stood still."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_STAT = Path("/proc/stat")
_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def host_values() -> Mapping[str, float]:
    """Cumulative seconds by key of `SERVER_KEYS`; keys that this machine does not tell are left out."""
    return {**cpu_times(_read(_STAT)), **throttling(_cpu_stat())}


def cpu_times(stat: str) -> Mapping[str, float]:
    """From /proc/stat: seconds over all cores, those of them that nobody used, and those that a hypervisor took."""
    fields = next((line.split()[1:] for line in stat.splitlines() if line.startswith("cpu ")), [])
    if len(fields) < 8:
        return {}
    ticks = [int(field) for field in fields[:8]]  # guest time after these is part of user time already
    idle = ticks[3] + ticks[4]  # waiting for a disk is idle, too
    return {"host_cpu_s": sum(ticks) * _TICK_S, "host_idle_s": idle * _TICK_S, "host_steal_s": ticks[7] * _TICK_S}


def throttling(stat: str) -> Mapping[str, float]:
    """From a control group's cpu.stat, of either version: seconds its processes were not allowed to run."""
    values = dict(line.split() for line in stat.splitlines() if len(line.split()) == 2)
    if "throttled_usec" in values:
        return {"cgroup_throttled_s": int(values["throttled_usec"]) / 1e6}
    if "throttled_time" in values:
        return {"cgroup_throttled_s": int(values["throttled_time"]) / 1e9}
    return {}


def freezers(pid: int) -> list[Path]:
    """The files that say whether a process's control group is frozen, of either version; the root group has none."""
    found = []
    for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            found += [root / path.lstrip("/") / "cgroup.events" for root in (_CGROUPS, _CGROUPS / "unified")]
        elif controllers == "freezer":
            found.append(_CGROUPS / "freezer" / path.lstrip("/") / "freezer.state")
    return [file for file in found if file.exists()]


def says_frozen(content: bytes) -> bool:
    """Whether such a file says so; a process that is frozen (docker pause) shows as one that sleeps."""
    return b"frozen 1" in content or b"FROZEN" in content


def is_frozen(pid: int) -> bool:
    """Whether a process's control group is frozen now."""
    return any(says_frozen(_read(file).encode()) for file in freezers(pid))


def _cpu_stat() -> str:
    """The cpu.stat nearest to this process; a container sees its own group at the root."""
    for line in _read(_MEMBERSHIP).splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS if number == "0" else _CGROUPS / "cpu"
        found = _read(root / path.lstrip("/") / "cpu.stat") or _read(root / "cpu.stat")
        if throttling(found):
            return found
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
