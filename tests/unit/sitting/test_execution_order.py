"""The order in which a sitting happens, told by fakes; and that whatever was started is stopped, come what may."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import Story, in_place_of_rooms, no_folder

import harness.run
import harness.steps
from harness import plan, schedule
from harness.domain.events import LoadTick, Note, SittingFinished, SittingStarted, TargetsUp
from harness.domain.experiment import Experiment
from harness.domain.load import Launch, Sitting
from harness.domain.strategy import Outcome
from harness.errors import InfrastructureError, Interrupted, UsageError
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
    return next(schedule.FixedDesign(experiment, plan.expand(experiment)).foreseen(()))


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

    run_id = "x"

    def __init__(self, story: Story, folder: Path) -> None:
        self._story = story
        self._folder = folder
        self.kept: dict[str, Any] = {}

    def sitting_dir(self, index: int) -> Path:
        return self._folder / str(index)

    def set_aside(self, trials: Any) -> None:
        names = sorted(set(trials) & set(self.kept))
        self._story.step(f"set aside {names}")

    def save_trial(self, evidence: Any, _logs: object) -> None:
        self._story.step(f"save {evidence.trial.id}")
        self.kept[evidence.trial.id] = evidence

    def complete(self) -> list[str]:
        return list(self.kept)

    def read_trial(self, trial_id: str) -> Any:
        return self.kept[trial_id]


@pytest.fixture
def measure_all(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Take all steps of the experiment on fakes; the instrument fails beside the launches named."""

    def measure(story: Story, *, kept: dict[str, Any] | None = None, broken: tuple[str, ...] = ()) -> FakeStore:
        def sat(sitting: Sitting, *_: object, rest_s: float) -> Sitting:
            story.step(f"measure {sitting.index}, then {'more' if rest_s > 10 else 'nothing'}")
            return sitting

        def outcome(evidence: Any, *_: object, **__: object) -> Outcome:
            launch = evidence.trial.launch
            codes = ("sampler_gap",) if launch.id in broken else ()
            return Outcome(launch=launch, sitting=evidence.trial.sitting, broken=codes)

        monkeypatch.setattr(harness.run, "run_sitting", sat)
        monkeypatch.setattr(harness.run, "trials", lambda raw, *_, **__: map(partial(kept_of, raw), raw.launches))
        monkeypatch.setattr("harness.steps.analyse.outcome_of", outcome)
        store: Any = FakeStore(story, tmp_path)
        store.kept |= kept or {}
        cells = plan.expand(experiment)
        begun: Any = SimpleNamespace(strategy="fixed", profile=None)
        harness.run._measure_all(experiment, cells, lambda _cell: None, store, story.emit, begun, [])  # type: ignore[arg-type, return-value]
        return store

    return measure


def kept_of(sitting: Sitting, launch: Launch) -> Any:
    """What a sitting adds for one launch."""
    segments = tuple(own for own in sitting.segments if own.launch_id == launch.id)
    trial = SimpleNamespace(id=launch.id, launch=launch, sitting=sitting.index, segments=segments)
    return SimpleNamespace(evidence=SimpleNamespace(trial=trial), logs=None)


def measured(story: Story) -> list[str]:
    return [step for step in story.steps if step.startswith("measure")]


def test_a_sitting_is_finished_once_all_its_trials_are_kept(measure_all: Any) -> None:
    story = Story()
    measure_all(story)
    one, two = ([f"b{block}-c{cell}" for cell in (1, 2)] for block in (1, 2))
    assert [sorted(story.steps[3:5]), sorted(story.steps[9:11])] == [
        [f"save {name}" for name in names] for names in (one, two)
    ]
    assert [step for step in story.steps if not step.startswith("save")] == [
        "tell SittingStarted",
        "measure 1, then more",
        "set aside []",
        "tell SittingFinished",
        "tell SittingStarted",
        "measure 2, then nothing",
        "set aside []",
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


def test_a_trial_that_cannot_be_kept_ends_the_run_before_its_sitting_is_called_finished(measure_all: Any) -> None:
    story = Story(fails={"save b2-c1": OSError("full")})
    with pytest.raises(OSError, match="full"):
        measure_all(story)
    assert [event.index for event in story.events if isinstance(event, SittingFinished)] == [1]


def test_what_is_kept_is_not_measured_again_and_a_sitting_that_lacks_a_trial_is_as_a_whole(measure_all: Any) -> None:
    whole = measure_all(Story()).kept
    story = Story()
    measure_all(story, kept=whole)
    assert story.steps == []
    del whole["b1-c2"]
    measure_all(story, kept=whole)
    assert measured(story) == ["measure 1, then nothing"]
    assert "set aside ['b1-c1']" in story.steps
    assert [(event.index, event.count) for event in story.events if isinstance(event, SittingStarted)] == [(1, 2)]


def test_a_sitting_beside_which_an_instrument_failed_is_measured_afresh_right_away_and_once(measure_all: Any) -> None:
    story = Story()
    store = measure_all(story, broken=("b1-c2", "b1-c1-again"))
    assert [step.partition(",")[0] for step in measured(story)] == ["measure 1", "measure 3", "measure 2"]
    again = ["b1-c1-again", "b1-c2-again"]
    assert sorted(store.kept) == ["b1-c1", *again[:1], "b1-c2", *again[1:], "b2-c1", "b2-c2"]
    begun = [event for event in story.events if isinstance(event, SittingStarted)]
    assert [(event.index, event.count, event.again) for event in begun] == [(1, 2, False), (2, 3, True), (3, 3, False)]
    same, fresh = (store.kept[name].trial.segments for name in ("b1-c1", "b1-c1-again"))
    assert [(own.seed, own.rate_rps) for own in same] == [(own.seed, own.rate_rps) for own in fresh]


def test_a_trial_that_was_measured_otherwise_is_refused(measure_all: Any) -> None:
    kept = measure_all(Story()).kept
    kept["b2-c1"].trial.segments = kept["b1-c1"].trial.segments
    with pytest.raises(UsageError, match=r"trial b2-c1 .* measured otherwise than its experiment says"):
        measure_all(Story(), kept=kept)
