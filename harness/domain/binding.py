"""Which resource binds a cell: more of it would lower its p95 or let it carry more, and more of another would not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Resource = Literal[
    "load",
    "generator",
    "worker_cpu",
    "machine_cpu",
    "event_loop",
    "gc",
    "threads",
    "pool",
    "dial",
    "locks",
    "postgres_cpu",
    "postgres_io",
    "max_connections",
    "limiter",
    "unknown",
]
"""load: nothing binds at this load, which is carried with room to spare. event_loop: blocked by what does not compute.
machine_cpu: no core is left for a worker that could use one. unknown: cannot be told, `Binding.why` says why not."""
WhyUnknown = Literal["", "not_measured", "instrument", "no_probe", "unseen", "failures", "no_wait"]
"""unseen: slow requests waited within the service for something that nobody sees. failures: they fail for a reason of
their own. no_wait: less is carried than is offered, and yet no wait was seen."""

GENERATOR_FAILED = frozenset({"generator_cpu", "stall", "schedule", "ceiling"})
"""reasons of a certificate which say that the load generator could not do more"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What binds a cell at its load, and the figures that say so, means over its launches."""

    resource: Resource
    share: float = math.nan
    """of what its slow requests take, how much is waiting for this; NaN where nothing binds or it cannot be told"""
    queue: Resource | None = None
    """where most of that time is spent in a queue, if that is another resource: "pool", whose holders wait for it"""
    waits: Mapping[str, float] = field(default_factory=dict)
    """of what its slow requests take, how much they wait in each place"""
    used: Mapping[str, float] = field(default_factory=dict)
    """how much of each resource is in use, as a share of what there is"""
    next: Resource | None = None
    """where nothing binds: what is used most, so that it binds first when the load grows; None where none was seen"""
    why: WhyUnknown = ""
