"""Since when an answer may have been there: what the event loop serves in one round came in since the round before.

An event loop serves sockets one after the other, and meanwhile does not see what else comes in. So an answer that is
taken up in this round may have lain there since the loop last asked the system which sockets are ready: at worst since
it got its last list. Where it had to wait for its new list, nothing was there before that wait was over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gevent import get_hub

WAITED_NS = 50_000
"""The loop had to wait for its list if asking took longer than this; asking alone takes a few µs."""


class Rounds:
    """The rounds of this process's event loop, while they are followed; `since_ns` is CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.since_ns = 0
        """nothing that is served in the present round had come in before"""
        self._asked_ns = 0
        self._listed_ns = 0

    def asking(self) -> None:
        """Note that the loop is about to ask for ready sockets."""
        self._asked_ns = time.monotonic_ns()

    def listed(self) -> None:
        """Note that it has its list, and serves it from now on."""
        now_ns = time.monotonic_ns()
        self.since_ns = now_ns if now_ns - self._asked_ns > WAITED_NS else self._listed_ns
        self._listed_ns = now_ns

    def uptake_ns(self, started_ns: int, finished_ns: int) -> int:
        """Return how long the answer taken up just now may have lain there at most.

        A request that was sent in this round has no answer from before.
        """
        return finished_ns - max(self.since_ns, started_ns)


@contextmanager
def follow_rounds() -> Iterator[Rounds]:
    """Follow the event loop within the block."""
    loop, rounds = get_hub().loop, Rounds()
    # after all else that is done before asking, and before anything of the list is served
    before = loop.prepare(ref=False, priority=loop.MINPRI)
    after = loop.check(ref=False, priority=loop.MAXPRI)
    before.start(rounds.asking)
    after.start(rounds.listed)
    try:
        yield rounds
    finally:
        for watcher in (before, after):
            watcher.stop()
            watcher.close()
