"""A worker: executes its share of a load plan, which comes by message, and sends back what came of it.

Messages are those of docs/formats.md, each a dictionary with a `kind`, in Locust's own messages of type POOLBENCH.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
from gevent.queue import Empty, Queue

from harness import __version__
from harness.errors import UsageError
from harness.generator.arrivals import Share
from harness.generator.book import SegmentAccount
from harness.generator.clocks import identity
from harness.generator.exchange import plan_of
from harness.generator.session import Users, execute, reporting

POOLBENCH = "poolbench"
HELLO_INTERVAL_S = 0.3
CHUNK_BYTES = 256 * 1024


def join(environment: Any) -> Callable[[], int]:
    """Listen to the coordinator from now on. Returns what to run in a greenlet of its own."""
    coordinator = _Coordinator(environment.runner)
    environment.runner.register_message(POOLBENCH, coordinator.hear)
    return lambda: reporting(lambda: _serve(coordinator, environment.parsed_options), coordinator.failed)


def _serve(coordinator: _Coordinator, parsed_options: Any) -> None:
    orders = coordinator.say_hello()
    share = Share(stripe=orders["stripe"], stripes=orders["stripes"])
    os.environ.update(orders["plan"]["environment"])
    with ExitStack() as stack:
        shared = orders["folder"]
        folder = Path(shared or stack.enter_context(tempfile.TemporaryDirectory(prefix="poolbench-worker-")))
        raw = {**orders["plan"], "output_dir": str(folder)}
        if not shared:
            raw["launches"] = _with_scenarios(raw["launches"], orders["scenarios"], folder)
        result = execute(plan_of(raw), coordinator, parsed_options, share)
        files = [] if shared else [path for path in sorted(folder.iterdir()) if path.is_file()]
        coordinator.say("result", result=result, files={path.name: _fingerprint(path) for path in files})
        for path in files:
            _send_file(coordinator, path)
        coordinator.expect("acknowledged")


def _with_scenarios(launches: Any, texts: Mapping[str, str], folder: Path) -> list[dict[str, Any]]:
    """The launches with scenarios that are on this machine: the same file at the same path, else a copy."""
    return [{**launch, "scenario": str(_scenario(launch, texts[launch["scenario"]], folder))} for launch in launches]


def _scenario(launch: Mapping[str, Any], text: str, folder: Path) -> Path:
    path = Path(launch["scenario"])
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"The scenario {path} on {socket.gethostname()} is not the coordinator's.",
                next_step="Copy it there, or remove it: a scenario that is one file is sent along.",
            )
        return path
    copy: Path = folder / "scenarios" / launch["launch_id"] / path.name
    copy.parent.mkdir(parents=True)
    copy.write_text(text, encoding="utf-8")
    return copy


def _fingerprint(path: Path) -> list[int]:
    data = path.read_bytes()
    return [len(data), zlib.crc32(data)]


def _send_file(coordinator: _Coordinator, path: Path) -> None:
    """In pieces, each after the coordinator has stored the one before: nothing piles up on the way."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            coordinator.say("piece", name=path.name, data=piece)
            coordinator.expect("stored")


class _Coordinator:
    """The other side, by message."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._heard: Queue = Queue()

    def hear(self, msg: Any, **_: Any) -> None:
        """Called by Locust for each message; a question about the clock is answered at once."""
        received_ns = time.monotonic_ns()
        if msg.data["kind"] == "ping":
            self.say("pong", asked_ns=msg.data["asked_ns"], received_ns=received_ns, answered_ns=time.monotonic_ns())
        else:
            self._heard.put(msg.data)

    def say(self, kind: str, **values: Any) -> None:
        self._runner.send_message(POOLBENCH, {"kind": kind, **values})

    def expect(self, kind: str) -> Any:
        message = self._heard.get()
        if message["kind"] != kind:
            raise RuntimeError(f"the coordinator said {message['kind']!r} where {kind!r} was due")
        return message

    def say_hello(self) -> Any:
        """Until there is an answer: the coordinator may not listen yet."""
        hello = {"version": __version__, "clock": identity(), "host": socket.gethostname(), "pid": os.getpid()}
        while True:
            self.say("hello", **hello)
            try:
                orders = self._heard.get(timeout=HELLO_INTERVAL_S)
            except Empty:
                continue
            return orders

    def failed(self, raw: dict[str, str]) -> None:
        self.say("failed", failure=raw)
        gevent.sleep(1.0)  # the coordinator ends this process; meanwhile the message leaves

    def wait_for_targets(self) -> None:
        self.say("heated")
        self.expect("targets_up")

    def ready(self, users: Users, notes: Sequence[str]) -> int:
        self.say("ready", users=users, notes=list(notes))
        return int(self.expect("go")["start_ns"])

    def was_too_much(self, account: SegmentAccount) -> bool:
        """Nobody knows alone: the coordinator adds up what all have seen."""
        self.say("step", segment=account.index, offered=account.offered, served=account.served, dropped=account.dropped)
        return bool(self.expect("judged")["too_much"])

    def next_turn(self, at_ns: int) -> int:
        self.say("turn", at_ns=at_ns)
        return int(self.expect("begin")["at_ns"])
