"""At how many requests at once a process may stand still, foreseen from what its requests do with their connections.

A deadlock of a pool needs all its connections in hands that wait. What they wait for decides how many that takes:

- a thread of the threadpool, while all threads are taken by requests that wait for a connection: as many requests as
  there are threads and connections together;
- a further connection: with c at once in each request, u requests hold u (c - 1) of them when each waits for its last;
- the event loop, which one that waits for a connection stops: one request more than there are connections.

docs/causes.md has what was measured on either side of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.domain.cliffs import Cliff, CliffKind
from harness.domain.evidence import Trial
from harness.domain.holds import EndpointHolds

UNLIMITED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class OneProcess:
    """What a process of the service has for its requests."""

    pool: int
    """connections"""
    waits_in_threads: bool
    """its driver keeps a thread while it waits for a connection"""
    threads: int | None
    """None without a limit, or where it was not seen"""
    used: int
    """connections that were seen out at once"""


def process_of(trial: Trial, used: int) -> OneProcess | None:
    """What the launch's processes said they have; None unless each has one engine with a limit, and all are alike."""
    serving = {process.pid: process.threadpool_tokens for process in trial.processes if process.serving}
    engines = [pool for pool in trial.applied if pool.pid in serving]
    sizes = {(pool.pool_size, pool.max_overflow, pool.is_async) for pool in engines}
    if len(engines) != len(serving) or len(sizes) != 1:
        return None
    ((size, overflow, is_async),) = sizes
    if size is None or overflow is None or overflow == UNLIMITED:
        return None
    threads = [tokens for tokens in serving.values() if tokens is not None and tokens != UNLIMITED]
    return OneProcess(
        pool=size + overflow, waits_in_threads=is_async is False, threads=min(threads, default=None), used=used
    )


def foresee(process: OneProcess, holds: Sequence[EndpointHolds]) -> tuple[Cliff, ...]:
    """The cliffs of a process with such requests, the nearest first."""
    return tuple(sorted(_cliffs(process, holds), key=lambda cliff: cliff.requests))


def _cliffs(process: OneProcess, holds: Sequence[EndpointHolds]) -> Iterator[Cliff]:
    pool, threads = process.pool, process.threads
    again = [own for own in holds if own.threads and own.on_loop < own.holds]
    if again and threads is not None and process.waits_in_threads:
        yield _cliff("threads", threads + pool, pool, again, threads=threads)
    several = [own for own in holds if own.connections > 1]
    if several:
        most = max(own.connections for own in several)
        yield _cliff("connections", -(-pool // (most - 1)), pool, several)
    # Two out at once, both taken on the loop, means that one was kept while the loop went on with another request.
    loop = [own for own in holds if own.on_loop]
    if loop and process.used > 1:
        yield _cliff("loop", pool + 1, pool, loop)


def _cliff(kind: CliffKind, requests: int, pool: int, holds: Sequence[EndpointHolds], threads: int = 0) -> Cliff:
    return Cliff(
        kind=kind,
        requests=requests,
        pool=pool,
        threads=threads,
        connections=max(own.connections for own in holds),
        endpoints=tuple(own.endpoint for own in holds),
    )
