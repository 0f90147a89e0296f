"""How far the monotonic clocks of two machines are apart, and how well that is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """The other clock shows `offset_ns` more than this one, give or take `uncertainty_ns`, when it shows `at_ns`."""

    offset_ns: int
    uncertainty_ns: int
    at_ns: int


SAME = Offset(offset_ns=0, uncertainty_ns=0, at_ns=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """One question and its answer: `asked` and `heard` on this clock, `received` and `answered` on the other."""

    asked_ns: int
    received_ns: int
    answered_ns: int
    heard_ns: int

    @property
    def on_the_way_ns(self) -> int:
        return (self.heard_ns - self.asked_ns) - (self.answered_ns - self.received_ns)


def offset_from(pings: Sequence[Ping]) -> Offset:
    """From the quickest of several pings: were one way instant and the other all of it, half of it is the error."""
    best = min(pings, key=lambda ping: ping.on_the_way_ns)
    there, back = best.received_ns - best.asked_ns, best.answered_ns - best.heard_ns
    return Offset(offset_ns=(there + back) // 2, uncertainty_ns=(best.on_the_way_ns + 1) // 2, at_ns=best.received_ns)


def identity() -> str:
    """Names this process's monotonic clock: the machine's start, and the time namespace. "" when neither is known."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{started} {os.readlink('/proc/self/ns/time')}"  # noqa: PTH115 -- no file is meant, only its name
    except OSError:
        return ""
