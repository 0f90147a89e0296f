"""The order in which a sitting happens, told by fakes; and that whatever was started is stopped, come what may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import Story, in_place_of_rooms, no_folder

import harness.run
from harness import plan, schedule
from harness.domain.events import LoadTick, Note, SittingFinished, SittingStarted, TargetsUp
from harness.domain.experiment import Cell, Experiment
from harness.domain.load import Sitting
from harness.errors import InfrastructureError, Interrupted
from harness.sitting import run_sitting

EXPERIMENT = """
schema_version = 1
name = "x"
[matrix]
pool.pool_size = [1, 4]
[load]
rate_rps = 10
warmup_s = 0.5
measure_s = 1.0
[design]
kind = "interleaved"
launches = 2
guard_s = 0.0
"""
ROOMS = ["databases", "server log", "relays", "bouncers", "targets", "generator", "samplers"]


@pytest.fixture
def experiment() -> Experiment:
    return plan.parse_experiment(EXPERIMENT, source="x.toml")


@pytest.fixture
def sitting(experiment: Experiment) -> Sitting:
    """Its first: both cells hot together."""
    return schedule.sittings(experiment, plan.expand(experiment), None)[0]


def test_a_sitting_from_the_first_database_to_the_last_reading(
    sitting: Sitting, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story()
    place: Any = in_place_of_rooms(monkeypatch, story)
    raw = run_sitting(sitting, experiment, place, no_folder(tmp_path), story.emit, rest_s=7.0)
    assert story.steps == [
        "start databases",
        "start server log",
        "start relays",
        "start bouncers",
        "start targets",
        "start generator",  # it loads the scenario while the targets come up
        "targets answer",
        "tell TargetsUp",
        "generator makes its users",
        "generator is ready",
        "checkpoint",
        "start samplers",
        "count round trips from here",
        "generator begins",
        "tell LoadTick 0.25",
        "tell LoadTick 1.1",
        "generator is done",
        "samplers rest",
        "read relays",
        "stop samplers",
        "stop generator",
        "stop targets",  # before the log: what their connections did is known once they are closed
        "stop bouncers",
        "stop relays",
        "stop server log",
        "stop databases",
        "read what samplers and probes wrote",  # a target writes its last lines as it stops
        "read the server's log",
        "tell Note wait_time does not apply",
        "tell Note one user was lost",
    ]
    assert [target.launch_id for target in raw.targets] == [launch.id for launch in sitting.launches]
    assert raw.output.notes == ("wait_time does not apply", "one user was lost")


def test_a_sitting_tells_how_far_its_load_is(
    sitting: Sitting, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(ticks_s=(0.5, 3.5))
    place: Any = in_place_of_rooms(monkeypatch, story)
    run_sitting(sitting, experiment, place, no_folder(tmp_path), story.emit, rest_s=7.0)
    assert story.events[0] == TargetsUp(at_ns=story.events[0].at_ns, index=1)
    ticks = [event for event in story.events if isinstance(event, LoadTick)]
    # two launches of 1.5 s of load each
    assert [(tick.done_s, tick.expected_s, tick.rest_s, tick.cells) for tick in ticks] == [
        (0.5, 3.0, 7.0, ()),
        (3.5, 3.0, 7.0, ()),
    ]
    assert [event.text for event in story.events if isinstance(event, Note)] == [
        "wait_time does not apply",
        "one user was lost",
    ]


@pytest.mark.parametrize(
    "error", [InfrastructureError("the generator ended"), Interrupted("Ctrl-C"), KeyboardInterrupt()], ids=repr
)
def test_a_driver_that_fails_in_the_middle_leaves_nothing_running(
    sitting: Sitting, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    story = Story(fails={"generator is done": error})
    place: Any = in_place_of_rooms(monkeypatch, story)
    with pytest.raises(type(error)):
        run_sitting(sitting, experiment, place, no_folder(tmp_path), story.emit)
    assert story.started == ROOMS
    assert story.steps[-8:] == [
        "tell LoadTick 1.1",
        "stop samplers",
        "stop generator",
        "stop targets",
        "stop bouncers",
        "stop relays",
        "stop server log",
        "stop databases",
    ]
    assert not any(isinstance(event, Note) for event in story.events)


@pytest.mark.parametrize(
    "step",
    [
        *(f"start {room}" for room in ROOMS),
        "targets answer",
        "generator makes its users",
        "generator is ready",
        "checkpoint",
        "count round trips from here",
        "generator begins",
        "samplers rest",
        "read relays",
    ],
)
def test_whatever_fails_what_was_started_is_stopped_in_reverse(
    sitting: Sitting, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    story = Story(fails={step: InfrastructureError(step)})
    place: Any = in_place_of_rooms(monkeypatch, story)
    with pytest.raises(InfrastructureError, match=step):
        run_sitting(sitting, experiment, place, no_folder(tmp_path), story.emit)
    assert story.stopped == story.started[::-1]
    assert story.started == ROOMS[: len(story.started)]


class FakeStore:
    """Keeps trials in the story."""

    def __init__(self, story: Story, folder: Path) -> None:
        self._story = story
        self._folder = folder

    def sitting_dir(self, index: int) -> Path:
        return self._folder / str(index)

    def set_aside(self, trials: Any) -> None:
        self._story.step(f"set aside {' '.join(trials)}")

    def save_trial(self, evidence: str, _logs: object) -> None:
        self._story.step(f"save {evidence}")


class Kept:
    """What a sitting adds for one launch."""

    logs = None

    def __init__(self, evidence: str) -> None:
        self.evidence = evidence


@pytest.fixture
def run_sittings(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Measure all sittings of the experiment, on fakes."""

    def run(story: Story) -> None:
        def sat(sitting: Sitting, *_: object, rest_s: float) -> Sitting:
            story.step(f"measure {sitting.index}, then {'more' if rest_s > 10 else 'nothing'}")
            return sitting

        monkeypatch.setattr(harness.run, "run_sitting", sat)
        monkeypatch.setattr(harness.run, "trials", lambda raw, *_, **__: [Kept(launch.id) for launch in raw.launches])
        planned = schedule.sittings(experiment, plan.expand(experiment), None)
        store: Any = FakeStore(story, tmp_path)

        def place_for(_cell: Cell) -> Any:
            return None

        harness.run._run_sittings(experiment, planned, place_for, store, story.emit, ceiling_rps=None)

    return run


def test_a_sitting_is_finished_once_all_its_trials_are_kept(run_sittings: Any) -> None:
    story = Story()
    run_sittings(story)
    one, two = ([f"b{block}-c{cell}" for cell in (1, 2)] for block in (1, 2))
    steps = [step if not step.startswith("set aside") else "set aside" for step in story.steps]
    assert [sorted(steps[3:5]), sorted(steps[9:11])] == [[f"save {name}" for name in names] for names in (one, two)]
    assert [step for step in steps if not step.startswith("save")] == [
        "tell SittingStarted",
        "measure 1, then more",
        "set aside",
        "tell SittingFinished",
        "tell SittingStarted",
        "measure 2, then nothing",
        "set aside",
        "tell SittingFinished",
    ]
    begun = [event for event in story.events if isinstance(event, SittingStarted)]
    assert [(event.index, event.count, event.purpose, event.expected_s) for event in begun] == [
        (1, 2, "measure", 3.0),
        (2, 2, "measure", 3.0),
    ]
    assert set(begun[0].launches.values()) == {"pool_size 1", "pool_size 4"}
    finished = [event for event in story.events if isinstance(event, SittingFinished)]
    assert [(event.index, sorted(event.trials)) for event in finished] == [(1, one), (2, two)]


def test_a_trial_that_cannot_be_kept_ends_the_run_before_its_sitting_is_called_finished(run_sittings: Any) -> None:
    story = Story(fails={"save b2-c1": OSError("full")})
    with pytest.raises(OSError, match="full"):
        run_sittings(story)
    assert [event.index for event in story.events if isinstance(event, SittingFinished)] == [1]
