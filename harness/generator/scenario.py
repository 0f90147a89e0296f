"""Loads a scenario for one launch and finds out what the chosen load model can do with its user classes."""

from __future__ import annotations

import difflib
import inspect
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import locust
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately
from locust.user.task import TaskSet, filter_tasks_by_tags

from harness.domain.experiment import LoadModel
from harness.domain.load import LaunchLoad
from harness.errors import UsageError
from harness.generator.arguments import parse_arguments
from harness.generator.arrivals import WHOLE, Share
from harness.generator.events import make_events
from harness.generator.loading import import_scenario
from harness.generator.runner import ScenarioEnvironment, StandIn
from harness.generator.waiting import calls_wait

CLOSED_INSTEAD = 'Use the closed model for it (model = "closed"), which runs every Locust class as it comes.'
NAMES_SHOWN = 3
ENDS_TASK = (RescheduleTask, RescheduleTaskImmediately, InterruptTaskSet)
"""What a task raises to end itself early without anything having gone wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioTask:
    """What one arrival of the open model executes on an instance of `user_class`."""

    name: str
    user_class: type[locust.User]
    weight: float
    run: Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario as loaded for one launch: its classes, bound to the launch's host, and their environment."""

    user_classes: tuple[type[locust.User], ...]
    environment: ScenarioEnvironment
    runner: StandIn
    """the environment's, as what it is"""
    tasks: tuple[ScenarioTask, ...]
    """of the open model; empty in the closed one"""
    notes: tuple[str, ...]
    """what of it does not apply"""

    def expect_users(self, count: int) -> None:
        """Say how many users this process will begin with, where scenarios look for it."""
        self.runner.target_user_count = count
        setattr(self.environment.parsed_options, "num_users", count)  # noqa: B010 -- Locust types it as a Namespace or None


def load_scenario(
    launch: LaunchLoad, models: Set[LoadModel], parsed_options: Any = None, share: Share = WHOLE
) -> Scenario:
    """Load the launch's scenario into modules of its own, so that no global leaks from launch to launch.

    Raises UsageError when the file is missing or cannot be imported, needs arguments that it is not given, has no user
    class or not those that are asked for, decides the load itself, or has a class that the open model cannot run
    honestly.
    """
    events = make_events()
    module = import_scenario(launch.scenario, launch.launch_id, events)
    _refuse_shapes(module, launch.scenario)
    found = _chosen(module, launch)
    own = parse_arguments(launch.arguments, events, launch.scenario)
    classes = [_bind(user_class, launch) for user_class in found]
    classes, left_out = _with_tasks(classes, launch)
    chosen = {"host": launch.host, "tags": list(launch.tags), "exclude_tags": list(launch.exclude_tags)}
    environment = ScenarioEnvironment(
        user_classes=classes,
        events=events,
        host=launch.host,
        locustfile=launch.scenario.name,
        parsed_options=Namespace(**{**vars(own), **vars(parsed_options or Namespace()), **chosen}),
    )
    runner = StandIn(environment, str(launch.scenario), share)
    setattr(environment, "runner", runner)  # noqa: B010 -- it is no Runner, it only passes for one
    tasks, notes = _open_tasks(classes, launch.scenario) if "open" in models else ((), ())
    return Scenario(
        user_classes=tuple(classes), environment=environment, runner=runner, tasks=tasks, notes=(*left_out, *notes)
    )


def silence(scenario: Path, arrivals: int) -> UsageError:
    """What is wrong with a scenario whose tasks send nothing."""
    return UsageError(
        f"The scenario {scenario} sent no request through Locust's HTTP clients and fired no sample in {arrivals} "
        "arrivals: there is nothing to measure.",
        next_step="Let its tasks call self.client, an HttpUser's or FastHttpUser's, or fire events.request.",
    )


def _refuse_shapes(module: ModuleType, path: Path) -> None:
    """A load shape decides how many users there are when; here the experiment does."""
    for name, value in vars(module).items():
        if inspect.isclass(value) and issubclass(value, locust.LoadTestShape) and not value.abstract:
            raise UsageError(
                f"The scenario {path} has the load shape {name}, which cannot apply: the load is the experiment's.",
                next_step=f"Set abstract = True in {name}, or keep it out of this file; [load] says what is sent.",
            )


def _chosen(module: ModuleType, launch: LaunchLoad) -> list[type[locust.User]]:
    """The classes that plain locust would run, or those of them that [load] user_classes names."""
    found: dict[str, type[locust.User]] = {}
    for value in vars(module).values():
        if not (inspect.isclass(value) and issubclass(value, locust.User)) or value.abstract:
            continue
        if found.setdefault(value.__name__, value) is not value:
            raise UsageError(
                f"The scenario {launch.scenario} has two user classes called {value.__name__}.",
                next_step="Rename one: locust refuses them too.",
            )
    found = {name: value for name, value in found.items() if value.weight > 0 or value.fixed_count > 0}
    if not found:
        raise UsageError(
            f"The scenario {launch.scenario} has no user class.",
            next_step="Define a class that derives from locust's FastHttpUser or HttpUser and has a @task.",
        )
    for name in launch.user_classes:
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1)
            raise UsageError(
                f"The scenario {launch.scenario} has no user class {name}.",
                next_step=f"Did you mean {near[0]}?" if near else f"Its user classes are {', '.join(found)}.",
            )
    return [value for name, value in found.items() if not launch.user_classes or name in launch.user_classes]


def _with_tasks(
    classes: Sequence[type[locust.User]], launch: LaunchLoad
) -> tuple[list[type[locust.User]], tuple[str, ...]]:
    """The classes that have a task, as far as tags leave them one, and what is to be said of the others."""
    idle = [user_class for user_class in classes if not user_class.tasks]
    if len(idle) == len(classes):
        raise UsageError(
            f"The user class {idle[0].__name__} in {launch.scenario} has no task.",
            next_step="Mark a method with @task, or set abstract = True if it is only a base class.",
        )
    _filter_by_tags(classes, launch)
    kept = [user_class for user_class in classes if user_class.tasks]
    if not kept:
        raise UsageError(
            f"The tags leave no task of {launch.scenario}.", next_step="Change load.tags or load.exclude_tags."
        )
    return kept, (
        *(f"{c.__name__} has no task: it takes no part." for c in idle),
        *(f"The tags leave {c.__name__} no task: it takes no part." for c in classes if c not in (*kept, *idle)),
    )


def _filter_by_tags(classes: Sequence[type[locust.User]], launch: LaunchLoad) -> None:
    """Take the tasks out that tags exclude. Raises UsageError for a tag that none has."""
    if not launch.tags and not launch.exclude_tags:
        return
    known = {tag for user_class in classes for tag in _tags(user_class)}
    for tag in (*launch.tags, *launch.exclude_tags):
        if tag not in known:
            raise UsageError(
                f"No task in {launch.scenario} has the tag {tag!r}.",
                next_step=f"Its tags are {', '.join(sorted(known))}." if known else "Its tasks have no tags.",
            )
    for user_class in classes:
        filter_tasks_by_tags(user_class, set(launch.tags) or None, set(launch.exclude_tags) or None)


def _tags(owner: Any) -> Iterator[str]:
    for task in owner.tasks:
        yield from getattr(task, "locust_tag_set", ())
        if _is_task_set(task):
            yield from _tags(task)


def _bind(user_class: type[locust.User], launch: LaunchLoad) -> type[locust.User]:
    """The class for one launch: its host, and one connection an instance, since an instance serves one arrival."""
    attributes: dict[str, Any] = {
        "host": launch.host,
        "__module__": user_class.__module__,
        "__qualname__": user_class.__qualname__,
        "__doc__": user_class.__doc__,
    }
    if issubclass(user_class, locust.FastHttpUser):
        attributes["concurrency"] = 1
    metaclass: Any = type(user_class)
    bound: type[locust.User] = metaclass(user_class.__name__, (user_class,), attributes)
    return bound


def _open_tasks(classes: Sequence[type[locust.User]], path: Path) -> tuple[tuple[ScenarioTask, ...], tuple[str, ...]]:
    """Every task of every class with its share of the arrivals: the class's weight, divided as its tasks weigh."""
    tasks: list[ScenarioTask] = []
    notes: list[str] = []
    for user_class in classes:
        _refuse_wait(user_class, path)
        counts: Mapping[Any, int] = Counter(user_class.tasks)
        for task, count in counts.items():
            tasks.append(
                ScenarioTask(
                    name=task_name(user_class, task, alone=len(classes) == 1),
                    user_class=user_class,
                    weight=user_class.weight * count / len(user_class.tasks),
                    run=_runner(user_class, task, path),
                )
            )
        if user_class.fixed_count:
            share = "its weight gives its share" if user_class.weight > 0 else "its weight of 0 leaves it no arrivals"
            notes.append(f"fixed_count of {user_class.__name__} does not apply in the open model: {share}.")
    waiting = [c.__name__ for c in classes if c.wait_time is not locust.User.wait_time]
    if waiting:
        notes.append(f"wait_time of {_listed(waiting)} does not apply in the open model: arrivals follow the rate.")
    if not any(task.weight > 0 for task in tasks):
        raise UsageError(f"No user class of {path} has a weight, and so none any arrivals.", next_step=CLOSED_INSTEAD)
    return tuple(task for task in tasks if task.weight > 0), tuple(notes)


def _listed(names: Sequence[str]) -> str:
    """ "A, B, C and 20 others" """
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} others"


def task_name(user_class: type[locust.User], task: Any, *, alone: bool) -> str:
    """The name of a task in rows and ledger: with its class's where the scenario has several."""
    name = getattr(task, "__name__", type(task).__name__)
    return name if alone else f"{user_class.__name__}.{name}"


def _runner(user_class: type[locust.User], task: Any, path: Path) -> Callable[[Any], object]:
    if not _is_task_set(task):
        runner: Callable[[Any], object] = task
        return runner
    if not issubclass(task, locust.SequentialTaskSet):
        raise UsageError(
            f"{user_class.__name__} in {path} nests the TaskSet {task.__name__}, "
            "which runs until it interrupts itself: the open model has no end for such an arrival.",
            next_step=CLOSED_INSTEAD,
        )
    for inner in task.tasks:
        if _is_task_set(inner):
            raise UsageError(
                f"The SequentialTaskSet {task.__name__} in {path} nests another TaskSet, "
                f"{getattr(inner, '__name__', inner)}, which the open model cannot run.",
                next_step=CLOSED_INSTEAD,
            )
    return _one_pass(task)


def _is_task_set(task: Any) -> bool:
    return inspect.isclass(task) and issubclass(task, TaskSet)


def _one_pass(task_set_class: type[locust.SequentialTaskSet]) -> Callable[[locust.User], None]:
    """One arrival of a SequentialTaskSet: every task once, in order, until one interrupts."""

    def run(user: locust.User) -> None:
        sequence: Any = task_set_class(user)
        sequence.on_start()
        try:
            for task in sequence.tasks:
                try:
                    sequence.execute_task(task)
                except (RescheduleTask, RescheduleTaskImmediately):
                    continue
        finally:
            sequence.on_stop()

    return run


def _refuse_wait(user_class: type[locust.User], path: Path) -> None:
    sets: list[Any] = [task for task in user_class.tasks if _is_task_set(task)]
    for owner in [user_class, *sets]:
        for method in _own_functions(owner):
            if calls_wait(method):
                raise UsageError(
                    f"{owner.__name__}.{method.__name__} in {path} calls self.wait(): in the open model nobody waits "
                    "between tasks, arrivals follow the rate.",
                    next_step=CLOSED_INSTEAD,
                )


def _own_functions(owner: type) -> Iterator[Callable[..., object]]:
    """The functions that the scenario's author wrote: the class's and its bases', but not Locust's."""
    for base in owner.__mro__:
        if base.__module__.partition(".")[0] != "locust":
            yield from (value for value in vars(base).values() if inspect.isfunction(value))
    yield from (task for task in getattr(owner, "tasks", ()) if inspect.isfunction(task))
