"""The rooms that a sitting goes through, each as a fake that starts nothing and writes down what was asked of it.

`Story` is the diary they share. A step that is named in `fails` raises instead of happening.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness import deploy, sitting
from harness.domain.cell import Cell
from harness.domain.deployed import RunningTarget, Server
from harness.domain.events import Event, LoadTick, Note
from harness.domain.experiment import DatabaseSpec
from harness.domain.load import Launch, Ledger, LoadOutput, LoadPlan, Turn, TurnRun
from harness.domain.observed import Observed, RelayReadings
from harness.domain.tables import (
    ACTIVITY_COLUMNS,
    COUNT_COLUMNS,
    HOLD_COLUMNS,
    LOG_COLUMNS,
    PROBE_COLUMNS,
    PROCESS_COLUMNS,
    SERVER_COLUMNS,
    SITE_COLUMNS,
    UNRETURNED_COLUMNS,
)
from harness.observe.sampler import Row


@dataclass
class Story:
    """What happened, in order."""

    steps: list[str] = field(default_factory=list)
    fails: Mapping[str, BaseException] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    ticks_s: Sequence[float] = (0.25, 1.1)

    def step(self, name: str) -> None:
        """Write it down, or fail."""
        if name in self.fails:
            raise self.fails[name]
        self.steps.append(name)

    @contextmanager
    def room(self, name: str, value: Any) -> Iterator[Any]:
        """Something that is started, and stopped whatever happens meanwhile."""
        self.step(f"start {name}")
        try:
            yield value
        finally:
            self.steps.append(f"stop {name}")

    def emit(self, event: Event) -> None:
        """Be told what happens."""
        detail = {LoadTick: "done_s", Note: "text"}.get(type(event), "")
        self.events.append(event)
        self.steps.append(" ".join(["tell", type(event).__name__, *([str(getattr(event, detail))] if detail else [])]))

    @property
    def started(self) -> list[str]:
        return [step.removeprefix("start ") for step in self.steps if step.startswith("start ")]

    @property
    def stopped(self) -> list[str]:
        return [step.removeprefix("stop ") for step in self.steps if step.startswith("stop ")]


class FakePlace:
    """A place without a server: its databases are names."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.server = None
        self.sides = deploy.Checkouts(folders={})

    def databases(self, launches: Sequence[Launch]) -> Any:
        urls = {launch.id: f"postgresql://localhost/{launch.id}" for launch in launches}
        return self._story.room("databases", urls)

    def checkpoint(self) -> None:
        self._story.step("checkpoint")


class FakeDistances:
    """A relay in front of each database."""

    def __init__(self, story: Story, urls: Mapping[str, str]) -> None:
        self._story = story
        self.urls = urls
        self.pids: Mapping[str, int] = dict.fromkeys(urls, 1)

    def begin(self) -> None:
        self._story.step("count round trips from here")

    def readings(self) -> Mapping[str, RelayReadings]:
        self._story.step("read relays")
        return {
            launch_id: RelayReadings(
                rtt_ms=0.0,
                rtt_ms_measured=0.0,
                late_ms_p50=0.0,
                late_ms_p99=0.0,
                round_trips=0,
                connections=0,
                idle_drops=0,
                cpu_s=0.0,
            )
            for launch_id in self.pids
        }


class FakeTargets:
    """Targets whose addresses are known at once, and which answer when they are waited for."""

    def __init__(self, story: Story, launches: Sequence[Launch]) -> None:
        self._story = story
        self._launches = launches
        self.hosts = {launch.id: f"http://{launch.id}" for launch in launches}

    def wait(self) -> tuple[RunningTarget, ...]:
        self._story.step("targets answer")
        return tuple(
            RunningTarget(launch_id=name, host=host, database=name, pids=(), probe_dir=None, log=None)
            for name, host in self.hosts.items()
        )


class FakeProvider:
    """Servers that are up at once, since nobody connects to them."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def start(self, spec: DatabaseSpec) -> Any:
        server = Server(
            host="127.0.0.1",
            port=5432,
            user="poolbench",
            password="a password",
            version="18.0",
            transport="none",
            provider=spec.provider,
            max_connections=100,
            reserved_connections=3,
            pid=None,
            owned=spec.provider != "url",
        )
        return self._story.room(f"{spec.provider} {spec.image}", server)


class FakeDeploy:
    """In the place of harness.deploy."""

    TargetStart = deploy.TargetStart
    checkouts = staticmethod(deploy.checkouts)

    def __init__(self, story: Story) -> None:
        self._story = story
        self.others = 0

    def others_at_work(self) -> int:
        return self.others

    def importing(self, _cell: Cell) -> Any:
        return self._story.room("import of the app", None)

    def start_database(self, spec: DatabaseSpec) -> Any:
        return FakeProvider(self._story).start(spec)

    def template(
        self, _server: Server, spec: DatabaseSpec, commands: Sequence[Sequence[str]] | None, *, cell: Cell, say: Any
    ) -> Any:
        say(11.0, "fill", "at work")
        own = "" if commands is None else f" by [{', '.join(map(' '.join, commands))}] in {cell.target.dir}"
        return self._story.room(f"template of {spec.rows}{own}", f"template_{spec.rows}")

    def clone(self, _server: Server, template: str, name: str) -> Any:
        return self._story.room(f"{name} from {template}", name)

    def checkpoint(self, server: Server) -> None:
        self._story.step(f"checkpoint of {server.provider}")

    def distances(self, _server: None, _launches: Sequence[Launch], urls: Mapping[str, str]) -> Any:
        return self._story.room("relays", FakeDistances(self._story, urls))

    def bouncers(self, _launches: Sequence[Launch], urls: Mapping[str, str]) -> Any:
        return self._story.room("bouncers", deploy.Bouncers(urls=urls, pids={}))

    def start_all(self, starts: Sequence[deploy.TargetStart], *, probe: bool) -> Any:
        assert probe
        return self._story.room("targets", FakeTargets(self._story, [start.launch for start in starts]))


class FakeGenerator:
    """Executes a load plan in no time."""

    pid = 1

    def __init__(self, story: Story, plan: LoadPlan) -> None:
        self.story = story
        self._plan = plan

    def targets_up(self) -> None:
        self.story.step("generator makes its users")

    def wait_ready(self) -> tuple[str, ...]:
        self.story.step("generator is ready")
        return ("wait_time does not apply",)

    def go(self) -> int:
        self.story.step("generator begins")
        return 1

    def wait(self, on_tick: Callable[[float], None]) -> LoadOutput:
        for done_s in self.story.ticks_s:
            on_tick(done_s)
        self.story.step("generator is done")
        return LoadOutput(
            ledger=Ledger(tasks=(), endpoints=(), turns=tuple(map(_run, self._plan.turns))),
            start_ns=1,
            output_dir=self._plan.output_dir,
            notes=("wait_time does not apply", "one user was lost"),
        )


def _run(turn: Turn) -> TurnRun:
    """A turn that took no time."""
    return TurnRun(
        launch_id=turn.launch_id,
        start_ns=1,
        end_ns=1,
        load_start_ns=0,
        cut="end",
        idle_ns=1,
        idle=True,
        in_flight_peak=0,
    )


class FakeDrive:
    """In the place of harness.drive."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def start(self, plan: LoadPlan) -> Any:
        return self._story.room("generator", FakeGenerator(self._story, plan))


class FakeLog:
    """What the server did; known for good once the targets are gone."""

    gaps = ()

    def __init__(self, story: Story) -> None:
        self._story = story

    def table(self) -> pd.DataFrame:
        self._story.step("read the server's log")
        return empty(SERVER_COLUMNS)


class FakeObservation:
    """Samplers at work."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def stop(self) -> None:
        self._story.step("samplers rest")

    def finish(self) -> Observed:
        self._story.step("read what samplers and probes wrote")
        return Observed(
            activity=empty(ACTIVITY_COLUMNS),
            probe=empty(PROBE_COLUMNS),
            process=empty(PROCESS_COLUMNS),
            counts=empty(COUNT_COLUMNS),
            log=empty(LOG_COLUMNS),
            holds=empty(HOLD_COLUMNS),
            unreturned=empty(UNRETURNED_COLUMNS),
            sites=empty(SITE_COLUMNS),
        )


def empty(columns: Iterable[str]) -> pd.DataFrame:
    """A table of readings before there is one."""
    return pd.DataFrame(columns=[*columns, "launch_id"])


class FakeSampler:
    """Counts its readings; `act` decides what each one does."""

    name = "fake"

    def __init__(self, act: Callable[[int], None] = lambda _: None) -> None:
        self.act = act
        self.readings = 0
        self.reached = threading.Condition()

    def read(self) -> Sequence[Row]:
        with self.reached:
            self.readings += 1
            self.reached.notify_all()
        self.act(self.readings)
        return [{"number": self.readings}]

    def wait_for(self, readings: int) -> None:
        with self.reached:
            assert self.reached.wait_for(lambda: self.readings >= readings, timeout=20)


class FakeObserve:
    """In the place of harness.observe."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def server_log(self, _server: None, databases: Mapping[str, str]) -> Any:
        assert set(databases.values()) == {name.replace("_", "-") for name in databases}
        return self._story.room("server log", FakeLog(self._story))

    def observe(self, **_watched: Any) -> Any:
        return self._story.room("samplers", FakeObservation(self._story))


def in_place_of_rooms(monkeypatch: Any, story: Story) -> FakePlace:
    """Put the fakes where `run_sitting` looks for its rooms, and return a place for it."""
    for name, fake in (("deploy", FakeDeploy(story)), ("drive", FakeDrive(story)), ("observe", FakeObserve(story))):
        monkeypatch.setattr(sitting, name, fake)
    return FakePlace(story)


def no_folder(tmp_path: Path) -> Path:
    """Where processes would write."""
    folder = tmp_path / "sitting"
    folder.mkdir(exist_ok=True)
    return folder
