"""Asks a service that does nothing, beside the load and through the scenario's own kind of client.

Of such a request all is the instrument's: client, way there and back, and the waking up of either side. Its rows are
kept beside the launches', and feed no figure but the instrument's interval.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import locust
from locust.env import Environment

from harness.domain.rows import NULL_LAUNCH
from harness.generator.book import Book
from harness.generator.client import RequestLog
from harness.generator.deadlines import Deadlines
from harness.generator.loading import RAISED
from harness.generator.recorder import Recorder
from harness.generator.rounds import Rounds
from harness.generator.tally import Tally

RATE_RPS = 20.0
"""of each generator process: half a hundredth of a core"""


@contextmanager
def asking_nothing(
    url: str,
    user_classes: Iterable[type[locust.User]],
    output_dir: Path,
    rounds: Rounds,
    *,
    timeout_s: float,
    seed: int,
) -> Iterator[Recorder]:
    """Ask the service at `url` about RATE_RPS times a second within the block, with random pauses.

    It has been asked once before, so that its connection is open. Yields the recorder of its rows.
    """
    with Recorder(output_dir, NULL_LAUNCH) as recorder:
        book = Book(recorder, Tally())
        client: Any = _client_like(user_classes, url)
        log = RequestLog(book, Deadlines(timeout_s), rounds, book.setup(0))
        log.attach(client)
        client.get("/")
        greenlet = gevent.spawn(_ask, client, log, book, random.Random(seed))
        try:
            yield recorder
        finally:
            greenlet.kill()


def _ask(client: Any, log: RequestLog, book: Book, draw: random.Random) -> None:
    number = 0
    while True:
        gevent.sleep(draw.uniform(0.5, 1.5) / RATE_RPS)
        number += 1
        log.execution = book.setup(number)
        try:
            client.get("/")
        except RAISED:
            continue  # it has its row; without an answer it says nothing


def _client_like(user_classes: Iterable[type[locust.User]], url: str) -> Any:
    """A client of the kind that the scenario's users have; FastHttpUser's where they have another."""
    kinds: tuple[Any, ...] = (locust.HttpUser, locust.FastHttpUser)
    kind = next((kind for kind in kinds for own in user_classes if issubclass(own, kind)), locust.FastHttpUser)
    user_class = type("Null", (kind,), {"host": url, "tasks": [], "concurrency": 1, "abstract": True})
    return user_class(Environment()).client
