"""The workers as Locust's master sees them: who is there, what each has said, and whether it is still alive."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent.queue import Empty, Queue
from locust.runners import STATE_MISSING

from harness import __version__
from harness.errors import InfrastructureError, UsageError
from harness.generator.clocks import SAME, Offset, Ping, identity, offset_from
from harness.generator.member import POOLBENCH
from harness.signals import error_of, failure

PINGS = 15
GATHER_S = float(os.environ.get("POOLBENCH_GATHER_S", "45"))
"""Less than what the orchestrator has patience for, so that the reason is told and not that it took long."""
LOOK_S = 0.1
"""how often a worker that is waited for is looked after; Locust takes one for lost after three seconds of silence"""


class WorkerLostError(Exception):
    """A worker is gone before it has said what it was expected to say."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """One worker. Its files are in `folder`, its clock is the coordinator's plus the offsets."""

    client_id: str
    host: str
    pid: int
    clock: str
    stripe: int = -1
    folder: Path = Path()
    offsets: list[Offset] = field(default_factory=list)
    heard: Queue = field(default_factory=Queue)

    @property
    def name(self) -> str:
        return f"{self.stripe + 1} (process {self.pid} on {self.host})"


class Fleet:
    """All workers of one load plan. Messages are kept until they are asked for, each worker's in their order."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._joined: dict[str, Worker] = {}
        runner.register_message(POOLBENCH, self._hear)

    def gather(self, count: int) -> list[Worker]:
        """Wait until `count` workers have joined, and number them; later ones are not needed.

        Raises InfrastructureError when they do not come.
        """
        deadline_s = time.monotonic() + GATHER_S
        while len(self._joined) < count:
            if time.monotonic() > deadline_s:
                raise InfrastructureError(
                    f"{len(self._joined)} of {count} workers of the load generator joined within {GATHER_S:g} s.",
                    next_step="Start the others: python -m harness.generator.worker HOST:PORT (docs/distributed.md).",
                )
            gevent.sleep(LOOK_S / 10)
        crew = sorted(self._joined.values(), key=lambda worker: self._runner.get_worker_index(worker.client_id))[:count]
        for stripe, worker in enumerate(crew):
            worker.stripe = stripe
        return crew

    def tell(self, worker: Worker, kind: str, **values: Any) -> None:
        self._runner.send_message(POOLBENCH, {"kind": kind, **values}, worker.client_id)

    def next_from(self, worker: Worker) -> Any:
        """The worker's next message. Raises WorkerLostError, or the error that the worker met."""
        while True:
            try:
                message = worker.heard.get(timeout=LOOK_S)
            except Empty:
                if self.is_lost(worker):
                    raise WorkerLostError(worker.name) from None
                continue
            if message["kind"] == "failed":
                raise error_of(message["failure"])
            return message

    def expect(self, worker: Worker, kind: str) -> Any:
        message = self.next_from(worker)
        if message["kind"] != kind:
            raise RuntimeError(f"worker {worker.name} said {message['kind']!r} where {kind!r} was due")
        return message

    def is_lost(self, worker: Worker) -> bool:
        node = self._runner.clients.get(worker.client_id)
        return node is None or node.state == STATE_MISSING

    def look_after(self, workers: Iterable[Worker]) -> None:
        """Raise WorkerLostError when one of them is gone, or what one has met."""
        for worker in workers:
            if worker.heard.qsize() and worker.heard.peek()["kind"] == "failed":
                self.next_from(worker)
            if self.is_lost(worker):
                raise WorkerLostError(worker.name)

    def compare_clocks(self, workers: Sequence[Worker]) -> None:
        """Note how far each worker's clock is from this one, now."""
        own = identity()
        for worker in workers:
            same = bool(own) and worker.clock == own
            worker.offsets.append(SAME if same else offset_from([self._ping(worker) for _ in range(PINGS)]))

    def _ping(self, worker: Worker) -> Ping:
        self.tell(worker, "ping", asked_ns=time.monotonic_ns())
        message = self.expect(worker, "pong")
        return Ping(
            asked_ns=message["asked_ns"],
            received_ns=message["received_ns"],
            answered_ns=message["answered_ns"],
            heard_ns=message["heard_ns"],
        )

    def _hear(self, msg: Any, **_: Any) -> None:
        """Called by Locust for each message."""
        heard_ns = time.monotonic_ns()
        kind, worker = msg.data["kind"], self._joined.get(msg.node_id)
        if kind == "hello":
            if worker is None:
                self._joined[msg.node_id] = self._welcome(msg.node_id, msg.data)
        elif worker is not None:
            worker.heard.put(msg.data | {"heard_ns": heard_ns} if kind == "pong" else msg.data)

    def _welcome(self, client_id: str, hello: Any) -> Worker:
        worker = Worker(client_id=client_id, host=hello["host"], pid=hello["pid"], clock=hello["clock"])
        if hello["version"] != __version__:
            error = UsageError(
                f"The worker on {worker.host} runs poolbench {hello['version']}, this is {__version__}.",
                next_step="Install the same version on both machines.",
            )
            worker.heard.put({"kind": "failed", "failure": failure(error)})
        return worker
