"""How many requests at once a service stops at: each of them waits for another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CliffKind = Literal["threads", "connections", "loop"]
"""threads: requests that have a connection need a thread, and the threads wait for connections. connections: requests
that have a connection need another one. loop: one that waits for a connection stops the loop that others need to give
theirs back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cliff:
    """In one process of a service."""

    kind: CliffKind
    requests: int
    """from so many at once on it is possible, with one less it is not"""
    pool: int
    """connections that the process may have"""
    threads: int
    """of its threadpool; 0 where they do not matter"""
    connections: int
    """that one request wants at once, at most"""
    endpoints: tuple[str, ...]
    """whose requests may stand still"""
