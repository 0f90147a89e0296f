"""What came of sending each task of a scenario once: answers, what they took, and what would go wrong in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.domain.observed import AppliedPool

ProblemKind = Literal[
    "failed", "unfinished", "silent", "not_sent", "ended", "no_connection", "not_applied", "unaccounted"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """One request. `endpoint` is empty for a task that sent none, or that failed beside its requests."""

    endpoint: str
    outcome: str
    """one of OUTCOMES"""
    status: int
    """0 when there was none"""
    error: str
    latency_ms: float | None
    pool_ms: float | None
    """of it for a connection; None without the probe"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTask:
    """A task, sent once; its counts are None where the probe did not see any."""

    name: str
    requests: tuple[SentRequest, ...]
    statements: int | None = None
    checkouts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that would go wrong in a run."""

    kind: ProblemKind
    about: str = ""
    """the task and its endpoint, the setting or the process that it is about"""
    status: int = 0
    """HTTP status of a request that failed, 0 when there was none"""
    detail: str = ""
    """what the client, the service's log or its process says of it"""
    count: int = 0
    """of connections"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One target, started once. All is well without problems."""

    target: str
    tasks: tuple[SentTask, ...]
    engines: tuple[AppliedPool, ...]
    problems: tuple[Problem, ...]
    driver_pools: tuple[str, ...] = ()
    """pools of the drivers' own, which no engine accounts for"""
    notes: tuple[str, ...] = ()
    """what of the scenario does not apply: to be known, and no problem"""
