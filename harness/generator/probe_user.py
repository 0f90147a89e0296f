"""Asks for one thing at a fixed rate beside a launch's load, as a readiness check does, whatever becomes of the load.

Its requests are due evenly on the launch's load clock, so that a launch is asked while it has its turn and as often as
any other. Each has a connection of its own, as kubelet's have: one that is kept open would pass by a full backlog. Its
rows are kept beside the launch's, and it is in no count of the load.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import locust
from locust.env import Environment

from harness.domain.load import SETUP_SEGMENT, ProbeRequest
from harness.domain.rows import probe_user_of
from harness.generator.arrivals import NS_PER_S
from harness.generator.book import Book, Execution, SegmentAccount
from harness.generator.client import RequestLog
from harness.generator.launch import HotLaunch
from harness.generator.loading import RAISED
from harness.generator.recorder import Recorder
from harness.generator.tally import Tally

TASK = "probe_user"
MAX_AT_ONCE = 1000
"""connections, while nothing is answered"""


class ProbeUser:
    """Asks one launch."""

    def __init__(self, hot: HotLaunch, request: ProbeRequest, recorder: Recorder) -> None:
        self._request = request
        self._timeout_s = hot.load.request_timeout_s
        self._account = SegmentAccount(SETUP_SEGMENT)
        self._client = _client(hot.load.host)
        book = Book(recorder, Tally())
        self._log = RequestLog(book, hot.deadlines, hot.rounds, book.setup(0))
        self._log.attach(self._client)
        self._asked = 0
        self._in_flight: set[gevent.Greenlet] = set()

    @contextmanager
    def asking(self, *, zero_ns: int, begin_ns: int) -> Iterator[None]:
        """Ask while a turn that begins at `begin_ns` lasts; its launch's load clock would have begun at `zero_ns`."""
        greenlet = gevent.spawn(self._ask, zero_ns, begin_ns)
        try:
            yield
        finally:
            greenlet.kill()

    def wait(self) -> None:
        """Wait for the answers that are to come, no longer than a request may take."""
        gevent.joinall(list(self._in_flight), timeout=self._timeout_s)

    def _ask(self, zero_ns: int, begin_ns: int) -> None:
        while True:
            due_ns = zero_ns + round((self._asked + 0.5) / self._request.rate_rps * NS_PER_S)
            due_ns = max(due_ns, begin_ns)  # what was due as the turn before ended, and was not sent any more
            gevent.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
            self._asked += 1
            one = gevent.spawn(self._send, self._asked, due_ns)
            self._in_flight.add(one)
            one.link(self._in_flight.discard)

    def _send(self, number: int, due_ns: int) -> None:
        self._log.execution = Execution(self._account, number, TASK, due_ns, time.monotonic_ns())
        try:
            self._client.request(self._request.method, self._request.path, headers={"Connection": "close"})
        except RAISED:
            return  # it has its row


@contextmanager
def probe_user(output_dir: Path, hot: HotLaunch, request: ProbeRequest, *, asks: bool) -> Iterator[Recorder]:
    """Give the launch a probe user within the block, and wait for its last answers. Yields the recorder of its rows.

    Of several generator processes one `asks`; the others keep an empty file.
    """
    with Recorder(output_dir, probe_user_of(hot.id)) as recorder:
        if asks:
            hot.probe_user = ProbeUser(hot, request, recorder)
        yield recorder
        if hot.probe_user is not None:
            hot.probe_user.wait()


def _client(host: str) -> Any:
    values = {"host": host, "tasks": [], "concurrency": MAX_AT_ONCE, "abstract": True}
    return type("ProbeUser", (locust.FastHttpUser,), values)(Environment()).client
